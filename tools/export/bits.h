/* SPDX-License-Identifier: GPL-2.0-only */
/* Bitmaps of a frozen disk, in an image that QEMU reads. */
#ifndef VBLK_BITS_H
#define VBLK_BITS_H

#include <stddef.h>
#include <stdint.h>

int bits_check(const char *disk, const char *device, const char *const names[], size_t n);
int bits_make(const char *disk, const char *view, uint64_t size, const char *const names[],
	      size_t n, int *fd);

#endif
