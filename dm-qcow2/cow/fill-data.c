// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copying what clusters lack from what their guest clusters were before: what the entry pointed
 * at, or what is below the top.
 *
 * Clusters are copied in pieces, as many of them together as there is memory for: all are read,
 * then all are written.
 */
#include <linux/bitmap.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "image/base.h"
#include "image/below.h"
#include "image/compressed.h"

#include "fill-internal.h"

/* Of a piece, where there is memory; and where there is little, as the allocator has it always. */
#define PIECE_BYTES	SZ_64K
#define SMALL_BYTES	SZ_32K
#define MAX_PIECES	16

/**
 * struct piece - a part of a cluster
 * @fill: the cluster
 * @first: its first sector, in the cluster
 * @end: the first one behind it
 * @is_whole: what is there is read, too, and written again: its blocks are not whole
 * @buf: as long as the piece
 */
struct piece {
	struct qcow2_fill *fill;
	u32 first;
	u32 end;
	bool is_whole;
	void *buf;
};

/**
 * struct group - what is copied together
 * @img: the image
 * @bytes: length of a buffer
 * @room: how many buffers there are
 * @count: pieces that use one
 * @pieces: the pieces
 */
struct group {
	struct qcow2_image *img;
	u32 bytes;
	unsigned int room;
	unsigned int count;
	struct piece pieces[MAX_PIECES];
};

/* Runs of sectors */

/* The next run of missing sectors from @start on. Return: whether there is one. */
static bool next_missing(const struct piece *p, u32 start, u32 *first, u32 *end)
{
	*first = find_next_zero_bit(p->fill->valid, p->end, start);
	*end = find_next_bit(p->fill->valid, p->end, *first);
	return *first < p->end;
}

/* A run in memory, and in the cluster. */
static struct qcow2_iovec vec_of(const struct piece *p, u32 first, u32 end)
{
	return (struct qcow2_iovec) {
		.host_off = p->fill->host_off + ((u64)first << SECTOR_SHIFT),
		.buf = p->buf + ((first - p->first) << SECTOR_SHIFT),
		.bytes = (end - first) << SECTOR_SHIFT,
	};
}

/* Whether direct I/O can write just what is missing. */
static bool is_aligned(const struct group *g, const struct piece *p)
{
	const struct qcow2_file *file = &g->img->file;
	u32 mask = (max(file->io_align, file->mem_align) >> SECTOR_SHIFT) - 1;
	u32 first, end;

	for (end = p->first; next_missing(p, end, &first, &end); )
		if ((first | end) & mask)
			return false;
	return true;
}

/* Reading */

/* A device may end inside its last cluster; nobody can have written behind that. */
static void read_cluster(struct group *g, struct qcow2_batch *b, u64 host_off, void *buf, u32 bytes)
{
	u64 host_end = READ_ONCE(g->img->host_bytes);
	u32 there = host_off < host_end ? min_t(u64, bytes, host_end - host_off) : 0;

	memset(buf + there, 0, bytes - there);
	if (there)
		qcow2_batch_read(b, &g->img->file,
				 &(struct qcow2_iovec) { host_off, buf, there });
}

/* What the guest cluster was before. */
static int read_old(struct group *g, const struct qcow2_fill *f, struct qcow2_batch *b, u32 first,
		    void *buf, u32 bytes)
{
	struct qcow2_image *img = g->img;
	u64 guest_off = (f->cluster << img->geo.cluster_bits) + ((u64)first << SECTOR_SHIFT);

	switch (qcow2_entry_type(&img->geo, f->old)) {
	case QCOW2_ENTRY_UNALLOCATED:
		return qcow2_below_read(b, img->base, guest_off, buf, bytes);
	case QCOW2_ENTRY_COMPRESSED:
		return qcow2_compressed_read(img, f->old, guest_off, buf, bytes);
	default:
		read_cluster(g, b, qcow2_entry_offset(f->old) +
				   qcow2_in_cluster(&img->geo, guest_off), buf, bytes);
		return 0;
	}
}

static int read_missing(struct group *g, struct qcow2_batch *b, const struct piece *p)
{
	struct qcow2_iovec vec;
	u32 first, end;
	int err = 0;

	for (end = p->first; !err && next_missing(p, end, &first, &end); ) {
		vec = vec_of(p, first, end);
		err = read_old(g, p->fill, b, first, vec.buf, vec.bytes);
	}
	return err;
}

/* What is missing goes over the rest, which has to be there first. */
static int read_whole(const struct group *g, const struct piece *p)
{
	struct qcow2_iovec vec = vec_of(p, p->first, p->end);

	return qcow2_file_rw(&g->img->file, REQ_OP_READ, &vec, 1);
}

static int read_pieces(struct group *g, struct piece *pieces, unsigned int count)
{
	struct qcow2_batch b;
	int err = 0, read_err;

	for (unsigned int i = 0; i < count && !err; i++) {
		pieces[i].is_whole = !is_aligned(g, &pieces[i]);
		if (pieces[i].is_whole)
			err = read_whole(g, &pieces[i]);
	}
	if (err)
		return err;
	qcow2_batch_begin(&b);
	for (unsigned int i = 0; i < count && !err; i++)
		err = read_missing(g, &b, &pieces[i]);
	read_err = qcow2_batch_end(&b);
	return err ?: read_err;
}

/* Writing */

static void write_piece(const struct group *g, struct qcow2_batch *b, const struct piece *p)
{
	struct qcow2_iovec vec = vec_of(p, p->first, p->end);
	u32 first, end;

	if (p->is_whole) {
		qcow2_batch_add(b, &g->img->file, REQ_OP_WRITE, &vec);
		return;
	}
	for (end = p->first; next_missing(p, end, &first, &end); ) {
		vec = vec_of(p, first, end);
		qcow2_batch_add(b, &g->img->file, REQ_OP_WRITE, &vec);
	}
}

/* The guest has been told that it has written: where the host has no space, that is waited for. */
static int write_pieces(const struct group *g, const struct piece *pieces, unsigned int count)
{
	unsigned long since = jiffies;
	struct qcow2_batch b;
	int err;

	do {
		qcow2_batch_begin(&b);
		for (unsigned int i = 0; i < count; i++)
			write_piece(g, &b, &pieces[i]);
		err = qcow2_batch_end(&b);
	} while (qcow2_full_wait(g->img, err, since));
	return err;
}

/* Groups */

static int copy_pieces(struct group *g, struct piece *pieces, unsigned int count)
{
	return read_pieces(g, pieces, count) ?: write_pieces(g, pieces, count);
}

/* Where one of them fails, the others shall not. */
static void copy_group(struct group *g)
{
	int err = g->count ? copy_pieces(g, g->pieces, g->count) : 0;
	struct piece *p;

	for (p = g->pieces; err && p < g->pieces + g->count; p++)
		if (!p->fill->err)
			p->fill->err = g->count > 1 ? copy_pieces(g, p, 1) : err;
	g->count = 0;
}

static void *alloc_buf(u32 bytes, gfp_t gfp)
{
	return kmalloc(bytes, gfp | GFP_NOIO);
}

/* The first buffer says how long all are. */
static bool add_first_buf(struct group *g)
{
	u32 cluster_bytes = qcow2_cluster_bytes(&g->img->geo);
	void *buf;

	g->bytes = min_t(u32, cluster_bytes, PIECE_BYTES);
	buf = alloc_buf(g->bytes, __GFP_NORETRY | __GFP_NOWARN);
	if (!buf) {
		g->bytes = min_t(u32, cluster_bytes, SMALL_BYTES);
		buf = alloc_buf(g->bytes, 0);
	}
	g->pieces[0].buf = buf;
	g->room = !!buf;
	return buf;
}

/* A buffer for another piece; if there is no memory, when those that there are have been copied. */
static void make_room(struct group *g)
{
	void *buf = NULL;

	if (g->count < g->room)
		return;
	if (g->room < MAX_PIECES)
		buf = alloc_buf(g->bytes, __GFP_NORETRY | __GFP_NOWARN);
	if (buf)
		g->pieces[g->room++].buf = buf;
	else
		copy_group(g);
}

static void add_piece(struct group *g, struct qcow2_fill *f, u32 first)
{
	struct piece *p;
	u32 missing, end;

	make_room(g);
	p = &g->pieces[g->count];
	p->fill = f;
	p->first = first;
	p->end = min(first + (g->bytes >> SECTOR_SHIFT), qcow2_fill_sectors(g->img));
	g->count += next_missing(p, first, &missing, &end);
}

static void free_bufs(struct group *g)
{
	while (g->room)
		kfree(g->pieces[--g->room].buf);
}

/* What nobody has written to goes as it is. */
static bool has_to_be_copied(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	u32 sectors = qcow2_fill_sectors(img);

	return !bitmap_full(f->valid, sectors) && !bitmap_empty(f->valid, sectors);
}

static void copy_fill(struct group *g, struct qcow2_fill *f)
{
	for (u32 first = 0; first < qcow2_fill_sectors(g->img); first += g->bytes >> SECTOR_SHIFT)
		add_piece(g, f, first);
}

void qcow2_fills_copy(struct qcow2_image *img, struct list_head *fills)
{
	struct group g = { .img = img };
	struct qcow2_fill *f;

	list_for_each_entry(f, fills, node) {
		f->err = 0;
		if (!has_to_be_copied(img, f))
			continue;
		if (g.room || add_first_buf(&g))
			copy_fill(&g, f);
		else
			f->err = -ENOMEM;
	}
	copy_group(&g);
	free_bufs(&g);
}
