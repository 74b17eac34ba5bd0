/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_DM_IMAGE_H
#define VBLK_DM_IMAGE_H

#include <stdbool.h>

#include "dm.h"

bool dm_image_find(const char *image, struct dmdev *d);

#endif
