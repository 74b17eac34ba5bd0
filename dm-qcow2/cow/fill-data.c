// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copying what clusters lack from what their guest clusters were before: what the entry pointed
 * at, or what is below the top.
 *
 * Clusters are copied in pieces, some of them together: all are read, then all are written.
 */
#include <linux/bitmap.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "image/base.h"
#include "image/below.h"
#include "image/compressed.h"

#include "fill-internal.h"
#include "test-hold.h"

/* Of a piece, where there is memory; and where there is little, as the allocator has it always. */
#define PIECE_BYTES	SZ_64K
#define SMALL_BYTES	SZ_32K

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
 * @waits: for space of the host
 * @count: how many pieces
 * @pieces: the pieces
 */
struct group {
	struct qcow2_image *img;
	bool waits;
	unsigned int count;
	struct piece pieces[QCOW2_COPY_PIECES];
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

/* Whether direct I/O can write just what is missing, from where it is in the buffer. */
static bool is_aligned(const struct group *g, const struct piece *p)
{
	u32 mask = (qcow2_file_align(qcow2_data_file(g->img)) >> SECTOR_SHIFT) - 1;
	u32 first, end;

	for (end = p->first; next_missing(p, end, &first, &end); )
		if ((p->first | first | end) & mask)
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

/* An image below may be longer: what it has there is not the disk's, which may get longer, too. */
static int read_below(struct qcow2_image *img, struct qcow2_batch *b, u64 guest_off, void *buf,
		      u32 bytes)
{
	u64 size = img->geo.size;
	u32 there = guest_off < size ? min_t(u64, bytes, size - guest_off) : 0;

	memset(buf + there, 0, bytes - there);
	return there ? qcow2_below_read(b, img->base, guest_off, buf, there) : 0;
}

/* What the guest cluster was before. */
static int read_old(struct group *g, const struct qcow2_fill *f, struct qcow2_batch *b, u32 first,
		    void *buf, u32 bytes)
{
	struct qcow2_image *img = g->img;
	u64 guest_off = (f->cluster << img->geo.cluster_bits) + ((u64)first << SECTOR_SHIFT);

	switch (qcow2_l2_type(&img->geo, f->old, guest_off)) {
	case QCOW2_ENTRY_UNALLOCATED:
	case QCOW2_ENTRY_RESERVED:
		if (img->base)
			return read_below(img, b, guest_off, buf, bytes);
		fallthrough;
	case QCOW2_ENTRY_ZERO:
	case QCOW2_ENTRY_ZERO_ALLOCATED:
		memset(buf, 0, bytes);
		return 0;
	case QCOW2_ENTRY_COMPRESSED:
		return qcow2_compressed_read(img, f->old.word, guest_off, buf, bytes);
	default:
		read_cluster(g, b, qcow2_entry_offset(f->old.word) +
				   qcow2_in_cluster(&img->geo, guest_off), buf, bytes);
		return 0;
	}
}

/* Sectors that the old entry says the same of, from @first on. */
static u32 end_of_same(const struct group *g, const struct qcow2_fill *f, u32 first)
{
	const struct qcow2_geometry *geo = &g->img->geo;

	return first + (qcow2_l2_same_bytes(geo, f->old, (u64)first << SECTOR_SHIFT) >>
			SECTOR_SHIFT);
}

static int read_missing(struct group *g, struct qcow2_batch *b, const struct piece *p)
{
	struct qcow2_iovec vec;
	u32 first, end;
	int err = 0;

	for (end = p->first; !err && next_missing(p, end, &first, &end); ) {
		end = min(end, end_of_same(g, p->fill, first));
		vec = vec_of(p, first, end);
		err = read_old(g, p->fill, b, first, vec.buf, vec.bytes);
	}
	return err;
}

/* What is missing goes over the rest, which has to be there first. */
static int read_whole(const struct group *g, const struct piece *p)
{
	struct qcow2_iovec vec = vec_of(p, p->first, p->end);

	return qcow2_file_rw(qcow2_data_file(g->img), REQ_OP_READ, &vec, 1);
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
		qcow2_batch_add(b, qcow2_data_file(g->img), REQ_OP_WRITE, &vec);
		return;
	}
	for (end = p->first; next_missing(p, end, &first, &end); ) {
		vec = vec_of(p, first, end);
		qcow2_batch_add(b, qcow2_data_file(g->img), REQ_OP_WRITE, &vec);
	}
}

/*
 * The guest has been told that it has written: where the host has no space, that is waited for. For what
 * nobody has written nobody waits.
 */
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
	} while (g->waits && qcow2_full_wait(g->img, err, since));
	return err;
}

/* Groups */

static int copy_pieces(struct group *g, struct piece *pieces, unsigned int count)
{
	int err = read_pieces(g, pieces, count);

	qcow2_test_hold(QCOW2_HOLD_COPY);
	return err ?: write_pieces(g, pieces, count);
}

/* Where one of them fails, the others shall not; a host that is full is so for all. */
static bool may_be_one(int err)
{
	return err != -ENOSPC && err != -EDQUOT;
}

static void copy_group(struct group *g)
{
	int err = copy_pieces(g, g->pieces, g->count);
	struct piece *p;

	for (p = g->pieces; err && p < g->pieces + g->count; p++)
		if (!p->fill->err)
			p->fill->err = g->count > 1 && may_be_one(err) ? copy_pieces(g, p, 1) :
									 err;
	g->count = 0;
}

/* Buffers */

static bool add_buf(struct qcow2_fills *fs, u32 bytes, gfp_t gfp)
{
	void *buf = kmalloc(bytes, GFP_NOIO | gfp);

	if (!buf)
		return false;
	fs->buf_bytes = bytes;
	fs->bufs[fs->nr_bufs++] = buf;
	return true;
}

/* The first one says how long all are. */
static bool have_first_buf(struct qcow2_fills *fs)
{
	u32 cluster_bytes = qcow2_cluster_bytes(&fs->img->geo);

	return fs->nr_bufs ||
	       add_buf(fs, min_t(u32, cluster_bytes, PIECE_BYTES), __GFP_NORETRY | __GFP_NOWARN) ||
	       add_buf(fs, min_t(u32, cluster_bytes, SMALL_BYTES), 0);
}

static bool have_buf(struct qcow2_fills *fs, unsigned int index)
{
	return index < fs->nr_bufs ||
	       (index < QCOW2_COPY_PIECES &&
		add_buf(fs, fs->buf_bytes, __GFP_NORETRY | __GFP_NOWARN));
}

void qcow2_fills_free_bufs(struct qcow2_fills *fs)
{
	while (fs->nr_bufs)
		kfree(fs->bufs[--fs->nr_bufs]);
}

/* Fills */

/* Up to a buffer full of sectors. */
static void add_piece(struct group *g, struct qcow2_fills *fs, struct qcow2_fill *f, u32 first,
		      u32 limit)
{
	struct piece *p;
	u32 missing, end;

	/* Without memory for another one, those that there are go first. */
	if (!have_buf(fs, g->count))
		copy_group(g);
	p = &g->pieces[g->count];
	*p = (struct piece) {
		.fill = f,
		.first = first,
		.end = min(first + (fs->buf_bytes >> SECTOR_SHIFT), limit),
		.buf = fs->bufs[g->count],
	};
	g->count += next_missing(p, first, &missing, &end);
}

static void add_pieces(struct group *g, struct qcow2_fills *fs, struct qcow2_fill *f, u32 first,
		       u32 end)
{
	for (; first < end && !f->err; first += fs->buf_bytes >> SECTOR_SHIFT)
		add_piece(g, fs, f, first, end);
}

/*
 * Of a cluster with subclusters only those that become data, and lack something. Beside them there
 * may be writes in place: not even what is there is written again.
 */
static void add_subclusters(struct group *g, struct qcow2_fills *fs, struct qcow2_fill *f)
{
	u32 sectors = qcow2_subcluster_sectors(g->img);
	u32 missing = qcow2_fill_wanted(g->img, f) & ~f->whole;
	u32 first, count;

	for (first = 0; first < QCOW2_SUBCLUSTERS; first += count) {
		count = qcow2_subcluster_run(missing, first, missing >> first & 1);
		if (missing >> first & 1)
			add_pieces(g, fs, f, first * sectors, (first + count) * sectors);
	}
}

static bool lacks_nothing(const struct group *g, const struct qcow2_fill *f)
{
	if (qcow2_has_subclusters(&g->img->geo))
		return !(qcow2_fill_wanted(g->img, f) & ~f->whole);
	return bitmap_full(f->valid, qcow2_fill_sectors(g->img, f));
}

static void add_fill(struct group *g, struct qcow2_fills *fs, struct qcow2_fill *f)
{
	u32 sectors = qcow2_fill_sectors(g->img, f);

	/* What nobody has written to goes as it is, unless somebody wants it whole. */
	if ((qcow2_fill_is_unwritten(g->img, f) && !f->is_pulled) || lacks_nothing(g, f))
		return;
	if (!have_first_buf(fs)) {
		f->err = -ENOMEM;
		return;
	}
	if (qcow2_has_subclusters(&g->img->geo))
		add_subclusters(g, fs, f);
	else
		add_pieces(g, fs, f, 0, sectors);
}

static void copy_those(struct qcow2_fills *fs, struct list_head *fills, bool are_written,
		       bool may_wait)
{
	struct group g = { .img = fs->img, .waits = may_wait };
	struct qcow2_fill *f;

	list_for_each_entry(f, fills, node) {
		if (qcow2_fill_is_unwritten(fs->img, f) == are_written)
			continue;
		f->err = 0;
		add_fill(&g, fs, f);
	}
	if (g.count)
		copy_group(&g);
}

/* No error, and no wait, of what somebody has written to is one of the others, nor the other way round. */
void qcow2_fills_copy(struct qcow2_fills *fs, struct list_head *fills, bool may_wait)
{
	copy_those(fs, fills, true, may_wait);
	copy_those(fs, fills, false, false);
}
