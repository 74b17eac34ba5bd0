// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading the bitmaps of an image.
 *
 * Nothing that is read here is trusted: what bits are written to must be clusters of the image that
 * are no other metadata, and from here on they are in the index of tables.
 */
#include <linux/slab.h>

#include "format/bitmap-entry.h"
#include "format/header.h"
#include "meta/commit.h"
#include "meta/load.h"
#include "meta/tables.h"

#include "bitmaps.h"

#define BUF_BYTES	SZ_32K
#define BLOCK_BYTES	SZ_4K

static int refuse(const struct qcow2_image *img, const char *why, int err)
{
	DMERR("%s: %s", qcow2_name(img), why);
	return err;
}

static int read_bytes(struct qcow2_bitmaps *b, u64 host_off, void *to, u64 bytes)
{
	struct qcow2_iovec vec = { .buf = b->buf };
	int err = 0;
	u32 part;

	for (; bytes && !err; bytes -= part, to += part, host_off += part) {
		part = min_t(u64, bytes, b->buf_bytes);
		vec.host_off = host_off;
		vec.bytes = round_up(part, b->block_bytes);
		err = qcow2_file_rw(&b->img->file, REQ_OP_READ, &vec, 1);
		if (!err)
			memcpy(to, b->buf, part);
	}
	return err;
}

/* Clusters that are only bitmaps'. */
static int claim(struct qcow2_image *img, u64 host_off, u64 bytes)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	u64 first = host_off >> img->geo.cluster_bits;
	u64 count = DIV_ROUND_UP_ULL(bytes, cluster_bytes);

	if (host_off > img->host_bytes || bytes > img->host_bytes - host_off)
		return refuse(img, "a bitmap is outside of the image", -EUCLEAN);
	return qcow2_tables_check(img, first, count) ?: qcow2_tables_add(img, first, count);
}

static u64 chunk_bytes(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u32 chunk)
{
	u64 at = (u64)chunk << b->img->geo.cluster_bits;

	return min_t(u64, qcow2_cluster_bytes(&b->img->geo),
		     qcow2_bitmap_bytes(b, bm->nr_bits) - at);
}

/* Behind the last bit of the disk there is nothing that could have changed. */
static void clear_rest(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm)
{
	u64 end = qcow2_bitmap_bytes(b, bm->nr_bits) * BITS_PER_BYTE;

	for (u64 bit = bm->nr_bits; bit < end; bit++) {
		if (!(bit % BITS_PER_BYTE)) {
			memset((u8 *)bm->bits + bit / BITS_PER_BYTE, 0, (end - bit) / BITS_PER_BYTE);
			break;
		}
		__clear_bit_le(bit, bm->bits);
	}
}

static int load_chunk(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u32 chunk)
{
	u64 entry = bm->table[chunk], bytes = chunk_bytes(b, bm, chunk);
	struct qcow2_image *img = b->img;
	void *to = (u8 *)bm->bits + ((u64)chunk << img->geo.cluster_bits);

	if (!qcow2_bitmap_table_check(img->geo.cluster_bits, entry, img->host_bytes))
		return refuse(img, "an entry of a bitmap table is not valid", -EUCLEAN);
	if (entry == QCOW2_BITMAP_ALL_ONES)
		memset(to, 0xff, bytes);
	if (entry == QCOW2_BITMAP_ALL_ONES || entry == QCOW2_BITMAP_ALL_ZEROES)
		return 0;
	return claim(img, entry, qcow2_cluster_bytes(&img->geo)) ?:
	       read_bytes(b, entry, to, bytes);
}

static int load_table(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm)
{
	u64 bytes = (u64)bm->nr_chunks * QCOW2_ENTRY_BYTES;
	int err;

	err = claim(b->img, bm->table_offset, bytes);
	if (err)
		return err;
	bm->table = kvzalloc(round_up(bytes, b->block_bytes), GFP_KERNEL);
	if (!bm->table)
		return -ENOMEM;
	err = read_bytes(b, bm->table_offset, bm->table, bytes);
	for (u32 i = 0; i < bm->nr_chunks; i++)
		bm->table[i] = be64_to_cpu((__force __be64)bm->table[i]);
	return err;
}

static int load_one(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm,
		    const struct qcow2_bitmap_entry *e)
{
	int err;

	bm->granularity_bits = e->granularity_bits;
	bm->nr_bits = qcow2_bitmap_bits(b->img->geo.size, e->granularity_bits);
	bm->table_offset = e->table_offset;
	bm->nr_chunks = e->table_entries;
	bm->name = kmemdup_nul(e->name, e->name_bytes, GFP_KERNEL);
	bm->bits = kvzalloc(qcow2_bitmap_bytes(b, bm->nr_bits), GFP_KERNEL);
	if (!bm->name || !bm->bits)
		return -ENOMEM;
	err = load_table(b, bm);
	for (u32 i = 0; i < bm->nr_chunks && !err; i++)
		err = load_chunk(b, bm, i);
	if (!err)
		clear_rest(b, bm);
	return err;
}

static void free_bitmaps(struct qcow2_bitmaps *b)
{
	for (unsigned int i = 0; i < b->nr; i++) {
		kfree(b->list[i].name);
		kvfree(b->list[i].bits);
		kvfree(b->list[i].table);
	}
	kvfree(b->marked);
	kvfree(b->wanted);
	kvfree(b->marking);
	kfree(b->buf);
	kvfree(b);
}

/* A disk may be said to be as large as an offset can be. */
static void set_regions(struct qcow2_bitmaps *b, u64 bytes)
{
	b->region_bits = QCOW2_REGION_BITS;
	while (DIV_ROUND_UP_ULL(bytes, BIT_ULL(b->region_bits)) > BIT_ULL(QCOW2_MAX_REGION_BITS))
		b->region_bits++;
	b->nr_regions = DIV_ROUND_UP_ULL(bytes, BIT_ULL(b->region_bits));
}

static unsigned long *alloc_regions(const struct qcow2_bitmaps *b)
{
	return kvcalloc(BITS_TO_LONGS(b->nr_regions), sizeof(long), GFP_KERNEL);
}

static struct qcow2_bitmaps *alloc_bitmaps(struct qcow2_image *img, unsigned int nr)
{
	struct qcow2_bitmaps *b = kvzalloc(struct_size(b, list, nr), GFP_KERNEL);
	u32 cluster_bytes = qcow2_cluster_bytes(&img->geo);

	if (!b)
		return NULL;
	b->img = img;
	b->nr = nr;
	mutex_init(&b->lock);
	b->block_bytes = max_t(u32, min_t(u32, BLOCK_BYTES, cluster_bytes), img->file.io_align);
	b->buf_bytes = max_t(u32, min_t(u32, BUF_BYTES, cluster_bytes), b->block_bytes);
	b->buf = kmalloc(b->buf_bytes, GFP_KERNEL);
	set_regions(b, img->geo.size);
	b->marked = alloc_regions(b);
	b->wanted = alloc_regions(b);
	b->marking = alloc_regions(b);
	if (b->buf && b->marked && b->wanted && b->marking)
		return b;
	free_bitmaps(b);
	return NULL;
}

/**
 * struct directory - the bitmap directory
 * @h: the header
 * @data: it
 * @bytes: its length
 */
struct directory {
	const struct qcow2_header *h;
	void *data;
	u64 bytes;
};

static int read_directory(struct qcow2_image *img, struct directory *dir)
{
	struct qcow2_bitmaps *b;
	int err;

	err = claim(img, dir->h->bitmap_dir_offset, dir->bytes);
	if (err)
		return err;
	b = alloc_bitmaps(img, 0);
	dir->data = kvmalloc(dir->bytes, GFP_KERNEL);
	err = b && dir->data ? read_bytes(b, dir->h->bitmap_dir_offset, dir->data, dir->bytes) :
			       -ENOMEM;
	if (b)
		free_bitmaps(b);
	return err;
}

static int load_next(struct qcow2_bitmaps *b, unsigned int n, const struct qcow2_bitmap_entry *e)
{
	int err = load_one(b, &b->list[n], e);

	for (unsigned int i = 0; i < n && !err; i++)
		if (!strcmp(b->list[i].name, b->list[n].name))
			err = refuse(b->img, "two bitmaps have the same name", -EUCLEAN);
	return err;
}

static int load_all(struct qcow2_bitmaps *b, const struct directory *dir)
{
	struct qcow2_bitmap_entry e;
	unsigned int n = 0;
	const char *why;
	u64 at = 0;
	int err = 0;

	for (u32 i = 0; i < dir->h->nb_bitmaps && !err; i++, at += e.bytes) {
		err = qcow2_bitmap_entry_parse(dir->h, dir->data + at, dir->bytes - at, &e, &why);
		if (!err && qcow2_bitmap_records(&e))
			err = load_next(b, n++, &e);
	}
	return err;
}

static int load(struct qcow2_image *img, struct directory *dir)
{
	unsigned int nr_recording;
	struct qcow2_bitmaps *b;
	const char *why;
	int err;

	err = read_directory(img, dir);
	if (err)
		return err;
	err = qcow2_bitmap_dir_check(dir->h, dir->data, &nr_recording, &why);
	if (err)
		return refuse(img, why, err);
	if (!nr_recording)
		return 0;
	b = alloc_bitmaps(img, nr_recording);
	if (!b)
		return -ENOMEM;
	err = load_all(b, dir);
	if (err) {
		free_bitmaps(b);
		return err;
	}
	mutex_lock(&img->bitmaps_lock);
	img->bitmaps = b;
	mutex_unlock(&img->bitmaps_lock);
	return 0;
}

int qcow2_bitmaps_load(struct qcow2_image *img, const struct qcow2_header *h)
{
	struct directory dir = { .h = h, .bytes = h->bitmap_dir_bytes };
	int err;

	if (!h->nb_bitmaps)
		return 0;
	err = load(img, &dir);
	kvfree(dir.data);
	if (!err)
		return 0;
	DMERR("%s: cannot load its bitmaps: error %d", qcow2_name(img), err);
	/* What has been claimed must not be found by whoever tries again. */
	qcow2_corrupt_wait(img);
	qcow2_cache_drop(img);
	return err;
}

void qcow2_bitmaps_unload(struct qcow2_image *img)
{
	mutex_lock(&img->bitmaps_lock);
	if (img->bitmaps)
		free_bitmaps(img->bitmaps);
	img->bitmaps = NULL;
	mutex_unlock(&img->bitmaps_lock);
}
