/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_DM_IMAGE_H
#define VBLK_DM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm.h"

int dm_image_read(const char *device, uint64_t *bytes, char *image, size_t size);
bool dm_image_find(const char *image, struct dmdev *d);

#endif
