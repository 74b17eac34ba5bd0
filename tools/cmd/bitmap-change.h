/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_BITMAP_CHANGE_H
#define VBLK_BITMAP_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/bitmaps.h"
#include "snapshot.h"

/**
 * struct bitmap_request - something to do to a bitmap of a disk
 * @option: of qemu-img bitmap
 * @bitmap: the bitmap; of a merge, where it goes to
 * @from: of a merge, or NULL
 * @granularity: of a new one in bytes, 0: it makes none
 * @is_disabled: of a new one
 */
struct bitmap_request {
	const char *option;
	const char *bitmap;
	const char *from;
	uint64_t granularity;
	bool is_disabled;
};

/**
 * struct bitmap_new - one that begins with an instant
 * @bitmap: its name
 * @name: what those of such backups are called by, or NULL: it is for no backup of ours
 * @but: the one that is needed meanwhile, or ""
 * @there: all that there were when that was chosen: those of @name may go for it
 * @is_dry: it is not to be made, only whether it can be
 */
struct bitmap_new {
	const char *bitmap;
	const char *name;
	const char *but;
	const struct bitmaps *there;
	bool is_dry;
};

int bitmap_change(struct change *c, const struct bitmap_request *r);
int bitmap_check_space(const struct change *c);
int bitmap_make(const struct attached *a, const struct bitmap_new *new);
int bitmap_remove(const struct attached *a, const char *bitmap);
int bitmap_drop(const struct attached *a, const char *name, const char *but,
		const struct bitmaps *there);
int bitmap_use(const struct attached *a, const char *bitmap, const char *view);
int bitmap_resume(struct change *c);
int bitmap_take_over(struct change *c);
int bitmap_carry(struct change *c, const struct bitmap *bitmap);

#endif
