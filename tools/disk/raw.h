/* SPDX-License-Identifier: GPL-2.0-only */
/* The length of a raw image, in a file or on a block device. */
#ifndef VBLK_RAW_H
#define VBLK_RAW_H

#include "live.h"

int raw_check(const struct live_image *img, uint64_t bytes, const char *name);
int raw_grow(const struct live_image *img, uint64_t bytes);

#endif
