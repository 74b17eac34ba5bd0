/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_GROW_H
#define VBLK_GROW_H

#include <stdbool.h>
#include <stdint.h>

#include "live.h"

/**
 * struct growth - an image that is to become larger
 * @chain: the images of its disk; it is the top
 * @fd: it, for writing, not for direct I/O
 * @old_bytes: size of the disk that it has
 * @new_bytes: the one that it is to have
 */
struct growth {
	const struct live_chain *chain;
	int fd;
	uint64_t old_bytes;
	uint64_t new_bytes;
};

int grow_read_size(const struct live_image *img, uint64_t *bytes);
int grow_check(const struct growth *g, const char *name);
int grow_image(const struct growth *g, const char *name);
int grow_undo(const struct growth *g);

#endif
