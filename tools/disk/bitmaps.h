/* SPDX-License-Identifier: GPL-2.0-only */
/* The bitmaps of a disk: what its image has, and what the kernel says of those that it records in. */
#ifndef VBLK_BITMAPS_H
#define VBLK_BITMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcow2_header;

#define BITMAP_NAME_SIZE	1024

/* Of a new one, if nothing else is said. */
#define BITMAP_GRANULARITY	65536

/**
 * enum bitmap_state - what happens to a bitmap
 * @BITMAP_RECORDS: changes of the disk are recorded in it
 * @BITMAP_DISABLED: they are not
 * @BITMAP_IN_USE: whoever recorded in it last has not stored it: it says nothing any more
 */
enum bitmap_state {
	BITMAP_RECORDS,
	BITMAP_DISABLED,
	BITMAP_IN_USE,
};

/**
 * struct bitmap - one of them
 * @name: its name
 * @state: what happens to it
 * @granularity: bytes of the disk that a bit stands for
 * @dirty_bytes: what it says has changed, with @is_counted
 * @is_counted: the kernel records in it, and has said so
 * @table_offset: where its table is, in the image; 0: the kernel has said it
 * @table_entries: of that
 */
struct bitmap {
	char name[BITMAP_NAME_SIZE];
	enum bitmap_state state;
	uint64_t granularity;
	uint64_t dirty_bytes;
	bool is_counted;
	uint64_t table_offset;
	uint32_t table_entries;
};

struct bitmaps {
	struct bitmap *list;
	size_t n;
};

int bitmaps_check(int fd, const struct qcow2_header *h, const char **why);
int bitmaps_read_image(int fd, struct bitmaps *b);
int bitmaps_ask(const char *device, struct bitmaps *b);
int bitmaps_of_disk(const char *device, int fd, struct bitmaps *b);
int bitmap_is_clear(int fd, const struct bitmap *bitmap);
bool bitmaps_have_room(const struct bitmaps *b, uint64_t bytes, uint64_t granularity);
const struct bitmap *bitmaps_find(const struct bitmaps *b, const char *name);
void bitmaps_free(struct bitmaps *b);
const char *bitmap_state_name(enum bitmap_state state);

#endif
