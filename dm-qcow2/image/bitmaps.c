// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recording changes in bitmaps, and writing the bits.
 *
 * A chunk is what a cluster of a bitmap stands for. It gets its cluster when a region of it is marked
 * first; if the host is full, the entry says instead that all of the chunk has changed.
 */
#include <linux/slab.h>

#include "format/bitmap-entry.h"
#include "meta/barrier.h"
#include "meta/full.h"
#include "meta/tables.h"
#include "space/space.h"

#include "bitmaps.h"

static u64 region_of(const struct qcow2_bitmaps *b, u64 guest_off)
{
	return guest_off >> b->region_bits;
}

/* The last one of which a byte in front of @end is. */
static u64 last_region(const struct qcow2_bitmaps *b, u64 end)
{
	return min(region_of(b, end - 1), b->nr_regions - 1);
}

static u64 first_bit(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u64 region)
{
	return (region << b->region_bits) >> bm->granularity_bits;
}

static u64 last_bit(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u64 region)
{
	return min((((region + 1) << b->region_bits) - 1) >> bm->granularity_bits,
		   bm->nr_bits - 1);
}

/* Recording */

bool qcow2_bitmaps_has_marked(const struct qcow2_bitmaps *b, u64 guest_off, u64 bytes)
{
	u64 last = last_region(b, guest_off + bytes);

	for (u64 r = region_of(b, guest_off); r <= last; r++)
		if (!test_bit_acquire(r, b->marked))
			return false;
	return true;
}

static void set_bits(unsigned long *bits, u64 first, u64 last)
{
	/* As a rule they are set, and their cache line is nobody's. */
	for (u64 bit = first; bit <= last; bit++) {
		if (bit % BITS_PER_LONG == 0 && last - bit >= BITS_PER_LONG - 1) {
			/* All of a word, in any order of bytes */
			if (READ_ONCE(bits[bit / BITS_PER_LONG]) != ~0UL)
				WRITE_ONCE(bits[bit / BITS_PER_LONG], ~0UL);
			bit += BITS_PER_LONG - 1;
		} else if (!test_bit_le(bit, bits)) {
			set_bit_le(bit, bits);
		}
	}
}

void qcow2_bitmaps_do_record(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes)
{
	unsigned long *next;
	u64 first, last;

	for (unsigned int i = 0; i < b->nr; i++) {
		struct qcow2_bitmap *bm = &b->list[i];

		first = guest_off >> bm->granularity_bits;
		last = (guest_off + bytes - 1) >> bm->granularity_bits;
		/* pairs with qcow2_cut_make(): when there is none any more, it has become @bits */
		next = smp_load_acquire(&bm->next);
		set_bits(READ_ONCE(bm->bits), first, last);
		if (unlikely(next))
			set_bits(next, first, last);
	}
}

bool qcow2_bitmaps_try_record(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes)
{
	if (!qcow2_bitmaps_has_marked(b, guest_off, bytes))
		return false;
	qcow2_bitmaps_do_record(b, guest_off, bytes);
	return true;
}

/* What is on disk */

/* Set bits in a piece of a bitmap that begins with bit @base. */
static void set_in_piece(void *piece, u64 base, u64 first, u64 last)
{
	for (u64 bit = first - base; bit <= last - base; bit++)
		__set_bit_le(bit, piece);
}

/* The bits of marked regions, in a piece of @bytes that begins with bit @base. */
static void add_marks(struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u64 base, u32 bytes)
{
	u64 end = min_t(u64, base + (u64)bytes * BITS_PER_BYTE, bm->nr_bits);
	u64 last = last_region(b, end << bm->granularity_bits);

	for (u64 r = region_of(b, base << bm->granularity_bits); r <= last; r++)
		if (test_bit(r, b->marked) || test_bit(r, b->marking))
			set_in_piece(b->buf, base, max(first_bit(b, bm, r), base),
				     min(last_bit(b, bm, r), end - 1));
}

static void add_frozen(struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u64 at, u32 bytes)
{
	const unsigned long *from = (void *)((u8 *)bm->frozen + at);
	unsigned long *to = b->buf;

	for (u32 i = 0; i < bytes / sizeof(long); i++)
		to[i] |= from[i];
}

/* Write a piece of a bitmap: @bytes at @at of it. */
static int write_piece(struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u64 at, u32 bytes,
		       bool has_marks)
{
	u64 entry = bm->table[at >> b->img->geo.cluster_bits];
	struct qcow2_iovec vec = {
		.host_off = qcow2_entry_offset(entry) + qcow2_in_cluster(&b->img->geo, at),
		.buf = b->buf,
		.bytes = bytes,
	};

	lockdep_assert_held(&b->lock);
	memcpy(b->buf, (u8 *)bm->bits + at, bytes);
	if (bm->frozen)
		add_frozen(b, bm, at, bytes);
	if (has_marks)
		add_marks(b, bm, at * BITS_PER_BYTE, bytes);
	return qcow2_file_rw(&b->img->file, REQ_OP_WRITE, &vec, 1);
}

/* The block of the table that has an entry. */
static int write_entry(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u32 chunk)
{
	u32 in_block = b->block_bytes / QCOW2_ENTRY_BYTES;
	u32 first = round_down(chunk, in_block);
	struct qcow2_iovec vec = {
		.host_off = bm->table_offset + (u64)first * QCOW2_ENTRY_BYTES,
		.buf = b->buf,
		.bytes = b->block_bytes,
	};
	__be64 *entries = b->buf;
	int err;

	lockdep_assert_held(&b->lock);
	/* Behind the last one there are zeroes. */
	for (u32 i = 0; i < in_block; i++)
		entries[i] = cpu_to_be64(bm->table[first + i] & ~QCOW2_BITMAP_UNWRITTEN);
	err = qcow2_file_rw(&b->img->file, REQ_OP_WRITE, &vec, 1);
	if (!err)
		bm->table[chunk] &= ~QCOW2_BITMAP_UNWRITTEN;
	return err;
}

/* A cluster that reads as zero. Return: 0, QCOW2_BITMAPS_NO_CLUSTER or a negative errno. */
static int take_cluster(struct qcow2_bitmaps *b, u64 *host_off)
{
	struct qcow2_extent *e = kmalloc(sizeof(*e), GFP_NOIO);
	u64 cluster;
	int err;

	if (!e)
		return -ENOMEM;
	if (!qcow2_space_take(b->img, 1, &cluster)) {
		kfree(e);
		return QCOW2_BITMAPS_NO_CLUSTER;
	}
	err = qcow2_tables_add(b->img, cluster, 1);
	if (err) {
		qcow2_space_give_back(b->img, e, cluster);
		return err;
	}
	kfree(e);
	*host_off = cluster << b->img->geo.cluster_bits;
	return 0;
}

static bool is_full(const struct qcow2_image *img)
{
	return test_bit(QCOW2_FULL_CLUSTERS, &img->full->what);
}

/* A chunk in which nothing has changed yet. It reads as zeroes whichever of its writes comes first. */
static int begin_chunk(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u32 chunk)
{
	u64 entry;
	int err;

	err = take_cluster(b, &entry);
	if (err == QCOW2_BITMAPS_NO_CLUSTER && is_full(b->img)) {
		entry = QCOW2_BITMAP_ALL_ONES;
		err = 0;
	}
	if (!err)
		bm->table[chunk] = entry | QCOW2_BITMAP_UNWRITTEN;
	return err;
}

static int mark_block(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u64 at)
{
	u32 chunk = at >> b->img->geo.cluster_bits;
	int err = 0;

	if (bm->table[chunk] == QCOW2_BITMAP_ALL_ZEROES)
		err = begin_chunk(b, bm, chunk);
	/* It may have been left so by who could not write it. */
	if (!err && bm->table[chunk] & QCOW2_BITMAP_UNWRITTEN)
		err = write_entry(b, bm, chunk);
	if (err || bm->table[chunk] == QCOW2_BITMAP_ALL_ONES)
		return err;
	return write_piece(b, bm, at, b->block_bytes, true);
}

/* Regions come in ascending order; @end is where the last one has written up to. */
static int mark_region(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u64 r, u64 *end)
{
	u64 at = round_down(first_bit(b, bm, r) / BITS_PER_BYTE, b->block_bytes);
	u64 last = last_bit(b, bm, r);
	int err = 0;

	for (at = max(at, *end); at <= last / BITS_PER_BYTE && !err; at += b->block_bytes)
		err = mark_block(b, bm, at);
	*end = max(*end, at);
	return err;
}

static int write_marks(struct qcow2_bitmaps *b)
{
	int err = 0;
	u64 r, end;

	for (unsigned int i = 0; i < b->nr && !err; i++) {
		end = 0;
		for_each_set_bit(r, b->marking, b->nr_regions) {
			err = mark_region(b, &b->list[i], r, &end);
			if (err)
				break;
		}
	}
	return err ?: qcow2_barrier(b->img, QCOW2_BARRIER_BITMAPS);
}

/* All that are wanted by now: who comes next finds them marked. */
static int mark_wanted(struct qcow2_bitmaps *b)
{
	u64 r;
	int err;

	lockdep_assert_held(&b->lock);
	for_each_set_bit(r, b->wanted, b->nr_regions) {
		clear_bit(r, b->wanted);
		__set_bit(r, b->marking);
	}
	err = write_marks(b);
	for_each_set_bit(r, b->marking, b->nr_regions) {
		__clear_bit(r, b->marking);
		if (!err) {
			smp_mb__before_atomic();
			set_bit(r, b->marked);
		}
	}
	return err;
}

static void want(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes)
{
	u64 last = last_region(b, guest_off + bytes);

	for (u64 r = region_of(b, guest_off); r <= last; r++)
		if (!test_bit(r, b->marked))
			set_bit(r, b->wanted);
}

static int mark(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes)
{
	int err = 0;

	/* For who has the lock first. */
	want(b, guest_off, bytes);
	mutex_lock(&b->lock);
	if (!qcow2_bitmaps_has_marked(b, guest_off, bytes)) {
		/* That one may have failed. */
		want(b, guest_off, bytes);
		err = mark_wanted(b);
	}
	mutex_unlock(&b->lock);
	return err;
}

int qcow2_bitmaps_mark(struct qcow2_image *img, u64 guest_off, u64 bytes)
{
	unsigned long since = jiffies;
	int err;

	do {
		if (qcow2_failed(img))
			return -EIO;
		err = mark(img->bitmaps, guest_off, bytes);
	} while (err < 0 && qcow2_full_wait(img, err, since));
	return err;
}

/* Storing the bits as they are */

static u64 chunk_end(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u32 chunk)
{
	return min_t(u64, (u64)(chunk + 1) << b->img->geo.cluster_bits,
		     qcow2_bitmap_bytes(b, bm->nr_bits));
}

static int write_chunk(struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u32 chunk)
{
	u64 at = (u64)chunk << b->img->geo.cluster_bits;
	u64 end = chunk_end(b, bm, chunk);
	int err = 0;

	for (; at < end && !err; at += b->buf_bytes)
		err = write_piece(b, bm, at, b->buf_bytes, false);
	return err;
}

static bool is_all_ones(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u32 chunk)
{
	unsigned int shift = b->img->geo.cluster_bits + 3;
	u64 first = (u64)chunk << shift;
	u64 end = min_t(u64, (u64)(chunk + 1) << shift, bm->nr_bits);

	return find_next_zero_bit_le(bm->bits, end, first) >= end;
}

/* Its entry said that all of it had changed. */
static int sharpen_chunk(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u32 chunk)
{
	u64 entry = bm->table[chunk];
	int err;

	if (is_all_ones(b, bm, chunk))
		return 0;
	err = take_cluster(b, &bm->table[chunk]);
	/* Then it says too much. */
	if (err)
		return 0;
	err = write_chunk(b, bm, chunk) ?: qcow2_barrier(b->img, QCOW2_BARRIER_BITMAPS);
	/* No data is written any more, so it counts as it is on disk. */
	if (!err)
		err = write_entry(b, bm, chunk);
	if (err)
		bm->table[chunk] = entry;
	return err;
}

static bool has_marks(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm, u32 chunk)
{
	u64 bits = BIT_ULL(b->img->geo.cluster_bits + 3);
	u64 end = min(bits * (chunk + 1), bm->nr_bits);
	u64 first = region_of(b, (bits * chunk) << bm->granularity_bits);
	u64 last = last_region(b, end << bm->granularity_bits);

	return find_next_bit(b->marked, last + 1, first) <= last;
}

/* Where an entry could not be written nothing has changed. */
static int store_chunk(struct qcow2_bitmaps *b, struct qcow2_bitmap *bm, u32 chunk)
{
	if (bm->table[chunk] == QCOW2_BITMAP_ALL_ZEROES ||
	    bm->table[chunk] & QCOW2_BITMAP_UNWRITTEN ||
	    (!bm->is_stale && !has_marks(b, bm, chunk)))
		return 0;
	if (bm->table[chunk] == QCOW2_BITMAP_ALL_ONES)
		return sharpen_chunk(b, bm, chunk);
	return write_chunk(b, bm, chunk);
}

static int store(struct qcow2_bitmaps *b)
{
	int err = 0;

	for (unsigned int i = 0; i < b->nr; i++)
		for (u32 chunk = 0; chunk < b->list[i].nr_chunks && !err; chunk++)
			err = store_chunk(b, &b->list[i], chunk);
	if (!err)
		err = qcow2_barrier(b->img, QCOW2_BARRIER_BITMAPS);
	return err;
}

int qcow2_bitmaps_store(struct qcow2_image *img)
{
	struct qcow2_bitmaps *b = img->bitmaps;
	int err;

	if (!b)
		return 0;
	mutex_lock(&b->lock);
	err = store(b);
	mutex_unlock(&b->lock);
	return err;
}

/* What there is */

/* In octal what would be taken for the end of a word. */
static unsigned int emit_name(const char *name, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	for (; *name; name++)
		DMEMIT((u8)*name <= ' ' || *name == '\\' || *name == 0x7f ? "\\%03o" : "%c",
		       (u8)*name);
	return sz;
}

bool qcow2_bitmap_emit(const char *name, u32 granularity_bits, u64 dirty_bytes, char *result,
		       unsigned int maxlen, unsigned int *at)
{
	unsigned int sz = *at;

	if (sz)
		DMEMIT(" ");
	sz += emit_name(name, result + sz, maxlen - sz);
	DMEMIT(" %llu %llu", BIT_ULL(granularity_bits), dirty_bytes);
	/* What has no room is cut off. */
	if (sz + 1 >= maxlen) {
		result[*at] = '\0';
		return false;
	}
	*at = sz;
	return true;
}

static u64 count_bytes(const struct qcow2_bitmaps *b, const struct qcow2_bitmap *bm)
{
	u64 longs = qcow2_bitmap_bytes(b, bm->nr_bits) / sizeof(long), bits = 0;

	lockdep_assert_held(&b->lock);
	for (u64 i = 0; i < longs; i++)
		bits += hweight_long(bm->bits[i] | (bm->frozen ? bm->frozen[i] : 0));
	return min(bits << bm->granularity_bits, b->img->geo.size);
}

static void list(struct qcow2_bitmaps *b, unsigned int first, char *result, unsigned int maxlen)
{
	unsigned int at = 0;

	for (unsigned int i = first; i < b->nr; i++)
		if (!qcow2_bitmap_emit(b->list[i].name, b->list[i].granularity_bits,
				       count_bytes(b, &b->list[i]), result, maxlen, &at))
			break;
}

void qcow2_bitmaps_list(struct qcow2_image *img, unsigned int first, char *result,
			unsigned int maxlen)
{
	struct qcow2_bitmaps *b;

	result[0] = '\0';
	mutex_lock(&img->bitmaps_lock);
	b = img->bitmaps;
	if (b) {
		mutex_lock(&b->lock);
		list(b, first, result, maxlen);
		mutex_unlock(&b->lock);
	}
	mutex_unlock(&img->bitmaps_lock);
}
