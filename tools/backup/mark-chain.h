/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether backups that lie on each other belong together. */
#ifndef VBLK_MARK_CHAIN_H
#define VBLK_MARK_CHAIN_H

#include <limits.h>
#include <stdbool.h>

#include "mark.h"

#define MARK_WHY_BYTES	(PATH_MAX + 128)

bool mark_is_right(const struct mark *above, const char *namer, const struct mark *m, bool is_last,
		   char why[MARK_WHY_BYTES]);

#endif
