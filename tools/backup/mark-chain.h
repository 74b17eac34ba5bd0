/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether backups that lie on each other belong together. */
#ifndef VBLK_MARK_CHAIN_H
#define VBLK_MARK_CHAIN_H

#include <limits.h>
#include <stdbool.h>

#include "mark.h"

#define MARK_WHY_BYTES	(2 * PATH_MAX + 256)

/* Of backups on each other. vblk-attach and vblk-restore take a few more. */
#define MARK_MAX_CHAIN	200

bool mark_is_right(const struct mark *above, const char *namer, const struct mark *m, bool is_last,
		   char why[MARK_WHY_BYTES]);
bool marks_are_right(const char *path, char why[MARK_WHY_BYTES]);

#endif
