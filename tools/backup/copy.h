/* SPDX-License-Identifier: GPL-2.0-only */
/* The copying of a frozen disk. */
#ifndef VBLK_COPY_H
#define VBLK_COPY_H

#include "extents.h"
#include "target.h"

/**
 * struct copy - a backup under way
 * @disk: name of the disk
 * @view: name of the device that shows it
 * @bitmap: only what has changed by that is copied; or NULL
 * @fd: that device, open for direct I/O
 * @size: of the disk, in bytes
 * @bandwidth: bytes a second at most; 0: as many as there are
 * @is_read_twice: copy_verify() is to follow copy_run()
 * @data_bytes: set to how much was not known to be zero
 */
struct copy {
	const char *disk;
	const char *view;
	const char *bitmap;
	int fd;
	uint64_t size;
	uint64_t bandwidth;
	bool is_read_twice;
	uint64_t data_bytes;
};

int copy_run(struct copy *c, struct target *t);
int copy_verify(struct copy *c, struct target *t);

#endif
