/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk frozen, and thawed again. */
#ifndef VBLK_VIEW_USE_H
#define VBLK_VIEW_USE_H

#include <stdint.h>

#include "attached.h"

int view_parse_memory(const char *text, uint64_t *memory);
int view_check_disk(const struct attached *a);
int view_freeze(struct attached *a, uint64_t memory, struct dmdev *view);
int view_thaw(struct attached *a);

#endif
