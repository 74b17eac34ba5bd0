/* SPDX-License-Identifier: GPL-2.0-only */
/* NAME-frozen: a device that shows what a frozen one held. */
#ifndef VBLK_VIEW_H
#define VBLK_VIEW_H

#include "dm.h"

int view_find(const struct dmdev *origin, struct dmdev *view);
uint64_t view_passed(const struct dmdev *view);
int view_find_origin(const struct dmdev *view, struct dmdev *origin);
int view_create(const struct dmdev *origin, uint64_t sectors, struct dmdev *view);

#endif
