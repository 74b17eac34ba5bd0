// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmaps of a disk.
 *
 * The kernel changes the bits of an image while it is attached, but not the directory. How many of them are
 * set, it alone knows.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmaps.h"
#include "dm-qcow2/format/bitmap-entry.h"
#include "dm-qcow2/format/header-ext.h"
#include "dm.h"

#define ALIGN	4096

static struct bitmap *add(struct bitmaps *b)
{
	struct bitmap *list = reallocarray(b->list, b->n + 1, sizeof(*list));

	if (!list)
		return NULL;
	b->list = list;
	list += b->n++;
	*list = (struct bitmap){};
	return list;
}

/* From a place that is a multiple of ALIGN; behind the end of a file there are zeroes. */
static int read_at(int fd, uint64_t at, uint64_t bytes, void **buf)
{
	size_t size = round_up(bytes, (uint64_t)ALIGN), done = 0;
	ssize_t n = 1;

	if (posix_memalign(buf, ALIGN, size))
		return -ENOMEM;
	memset(*buf, 0, size);
	while (done < size && n) {
		n = pread(fd, (char *)*buf + done, size - done, at + done);
		if (n < 0) {
			free(*buf);
			return -errno;
		}
		done += n;
	}
	return 0;
}

static int read_header(int fd, struct qcow2_header *h)
{
	uint64_t next;
	const char *why;
	void *buf;
	int err;

	/* All of what may be the first cluster. */
	err = read_at(fd, 0, BIT_ULL(QCOW2_MAX_CLUSTER_BITS), &buf);
	if (err)
		return err;
	err = qcow2_header_parse(buf, BIT_ULL(QCOW2_MAX_CLUSTER_BITS), h, &why);
	next = h->length;
	if (!err)
		err = qcow2_header_ext_check(h, 0, buf, BIT_ULL(QCOW2_MAX_CLUSTER_BITS), &next, &why);
	free(buf);
	return err;
}

static int add_entry(struct bitmaps *b, const struct qcow2_bitmap_entry *e)
{
	struct bitmap *bitmap = add(b);

	if (!bitmap)
		return -ENOMEM;
	if (e->name_bytes < sizeof(bitmap->name))
		memcpy(bitmap->name, e->name, e->name_bytes);
	bitmap->granularity = e->granularity_bits < 64 ? BIT_ULL(e->granularity_bits) : 0;
	bitmap->state = e->flags & QCOW2_BITMAP_IN_USE ? BITMAP_IN_USE :
			qcow2_bitmap_records(e) ? BITMAP_RECORDS : BITMAP_DISABLED;
	bitmap->table_offset = e->table_offset;
	bitmap->table_entries = e->table_entries;
	return 0;
}

static int parse_directory(const struct qcow2_header *h, const char *dir, struct bitmaps *b,
			   const char **why)
{
	struct qcow2_bitmap_entry e;
	unsigned int nr_recording;
	uint64_t at = 0;
	int err;

	err = qcow2_bitmap_dir_check(h, dir, &nr_recording, why);
	for (uint32_t i = 0; i < h->nb_bitmaps && !err; i++, at += e.bytes)
		err = qcow2_bitmap_entry_parse(h, dir + at, h->bitmap_dir_bytes - at, &e, why) ?:
		      add_entry(b, &e);
	return err;
}

static int read_directory(int fd, const struct qcow2_header *h, struct bitmaps *b,
			  const char **why)
{
	void *dir;
	int err;

	*why = "bitmap directory cannot be read";
	if (!h->nb_bitmaps)
		return 0;
	err = read_at(fd, h->bitmap_dir_offset, h->bitmap_dir_bytes, &dir);
	if (err)
		return err;
	err = parse_directory(h, dir, b, why);
	free(dir);
	return err;
}

/**
 * bitmaps_check() - whether the kernel can record in the bitmaps of an image
 * @fd: of it
 * @h: its header, with where they are
 * @why: set to why not
 *
 * Return: 0 or -errno.
 */
int bitmaps_check(int fd, const struct qcow2_header *h, const char **why)
{
	struct bitmaps b = {};
	int err = read_directory(fd, h, &b, why);

	bitmaps_free(&b);
	return err;
}

/**
 * bitmaps_read_image() - the bitmaps that a qcow2 image has
 * @fd: of it
 * @b: filled in; bitmaps_free() is due in either case
 *
 * Return: 0 or -errno.
 */
int bitmaps_read_image(int fd, struct bitmaps *b)
{
	struct qcow2_header h;
	const char *why;
	int err;

	*b = (struct bitmaps){};
	err = read_header(fd, &h);
	return err ? err : read_directory(fd, &h, b, &why);
}

/**
 * bitmap_is_clear() - whether no bit is set in a bitmap of an image that nobody writes to
 * @fd: of the image
 * @bitmap: from bitmaps_read_image(); not in use
 *
 * A table entry that is not 0 counts as set bits, as QEMU stores none that has none. Return: 1, 0, -errno.
 */
int bitmap_is_clear(int fd, const struct bitmap *bitmap)
{
	uint64_t *table;
	void *buf;
	int err, is_clear = 1;

	err = read_at(fd, bitmap->table_offset, bitmap->table_entries * sizeof(*table), &buf);
	if (err)
		return err;
	table = buf;
	for (uint32_t i = 0; i < bitmap->table_entries && is_clear; i++)
		is_clear = !table[i];
	free(buf);
	return is_clear;
}

/* The kernel gives in octal what would end a word. */
static void take_name(char *name, const char *word)
{
	size_t n = 0;

	while (*word && n + 1 < BITMAP_NAME_SIZE) {
		if (*word == '\\' && strlen(word) >= 4) {
			name[n++] = strtoul((char[]){ word[1], word[2], word[3], 0 }, NULL, 8);
			word += 4;
		} else {
			name[n++] = *word++;
		}
	}
	name[n] = '\0';
}

static int take_words(char *answer, struct bitmaps *b)
{
	char *save, *name = strtok_r(answer, " ", &save), *granularity, *dirty;
	struct bitmap *bitmap;

	for (; name; name = strtok_r(NULL, " ", &save)) {
		granularity = strtok_r(NULL, " ", &save);
		dirty = strtok_r(NULL, " ", &save);
		bitmap = dirty ? add(b) : NULL;
		if (!bitmap)
			return dirty ? -ENOMEM : -EPROTO;
		take_name(bitmap->name, name);
		bitmap->state = BITMAP_RECORDS;
		bitmap->granularity = strtoull(granularity, NULL, 10);
		bitmap->dirty_bytes = strtoull(dirty, NULL, 10);
		bitmap->is_counted = true;
	}
	return 0;
}

/**
 * bitmaps_ask() - the bitmaps that the kernel records in, or of a view: those of the instant
 * @device: a disk, or a view
 * @b: filled in; bitmaps_free() is due in either case
 *
 * Return: 0 or -errno.
 */
int bitmaps_ask(const char *device, struct bitmaps *b)
{
	char message[32], *answer;
	size_t before;
	int err;

	*b = (struct bitmaps){};
	do {
		before = b->n;
		snprintf(message, sizeof(message), "bitmaps %zu", before);
		err = dmdev_ask(device, message, &answer);
		if (err == -ENODATA)
			return 0;
		if (!err)
			err = take_words(answer, b);
		free(answer);
	} while (!err && b->n > before);
	return err;
}

/**
 * bitmaps_of_disk() - the bitmaps of a disk
 * @device: of it
 * @fd: its image
 * @b: filled in; bitmaps_free() is due in either case
 *
 * Return: 0 or -errno.
 */
int bitmaps_of_disk(const char *device, int fd, struct bitmaps *b)
{
	struct bitmaps live;
	int err;

	err = bitmaps_read_image(fd, b);
	if (err)
		return err;
	err = bitmaps_ask(device, &live);
	for (size_t i = 0; i < live.n && !err; i++)
		for (size_t j = 0; j < b->n; j++)
			if (!strcmp(b->list[j].name, live.list[i].name)) {
				b->list[j].dirty_bytes = live.list[i].dirty_bytes;
				b->list[j].is_counted = true;
			}
	bitmaps_free(&live);
	return err;
}

/**
 * bitmaps_have_room() - whether the kernel can record in one more
 * @bytes: size of the disk
 * @granularity: of the new one, in bytes
 */
bool bitmaps_have_room(const struct bitmaps *b, uint64_t bytes, uint64_t granularity)
{
	uint64_t memory = bytes / granularity / 8;
	size_t n = 1;

	for (size_t i = 0; i < b->n; i++) {
		if (b->list[i].state != BITMAP_RECORDS)
			continue;
		memory += bytes / b->list[i].granularity / 8;
		n++;
	}
	return n <= QCOW2_MAX_RECORDING && memory < QCOW2_MAX_RECORDING_BYTES;
}

/** bitmaps_find() - the one that is called so, or NULL */
const struct bitmap *bitmaps_find(const struct bitmaps *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->list[i].name, name))
			return &b->list[i];
	return NULL;
}

void bitmaps_free(struct bitmaps *b)
{
	free(b->list);
	*b = (struct bitmaps){};
}

/** bitmap_state_name() - for people and scripts */
const char *bitmap_state_name(enum bitmap_state state)
{
	static const char *const names[] = {
		[BITMAP_RECORDS] = "recording",
		[BITMAP_DISABLED] = "disabled",
		[BITMAP_IN_USE] = "in-use",
	};

	return names[state];
}
