/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_LOCK_H
#define VBLK_LOCK_H

#include <stdbool.h>

int lock_image(int fd, bool read_only);
int lock_image_too(int fd, bool read_only);

#endif
