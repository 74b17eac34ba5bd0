/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a frozen disk has data. */
#ifndef VBLK_EXTENTS_H
#define VBLK_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct extent - a part of a disk
 * @offset: where it begins, in bytes
 * @bytes: its length
 * @is_zero: it reads as zero
 */
struct extent {
	uint64_t offset;
	uint64_t bytes;
	bool is_zero;
};

/**
 * struct extents - a walk over a frozen disk
 * @view: name of the device that shows it
 * @bitmap: what has changed by that bitmap is data, the rest counts as zero; NULL: what reads as zero
 * @size: of the disk, in bytes
 * @unit: a power of 2; extents begin and end with one, or with the disk
 * @offset: where the next extent begins
 * @known: the last that the kernel has said
 * @answer: what it has said, of that and of some behind it
 * @left: what is left of that
 */
struct extents {
	const char *view;
	const char *bitmap;
	uint64_t size;
	uint64_t unit;
	uint64_t offset;
	struct extent known;
	char *answer;
	const char *left;
};

int extents_next(struct extents *e, struct extent *extent);
void extents_seek(struct extents *e, uint64_t offset);
void extents_end(struct extents *e);

#endif
