// SPDX-License-Identifier: GPL-2.0-only
/*
 * First writes to the unwritten blocks of a file, past its file system.
 *
 * An unwritten block belongs to the file, and reads as zeroes whatever the device holds
 * there, until the file system converts it, in a transaction. Direct I/O has it do so at
 * the end of each write. Here blocks are written first, and many are converted together,
 * as pNFS has it: LAYOUTCOMMIT tells a server what its clients have written to.
 *
 *	a block that               is for the file system   written   converted
 *	was not written            zeroes                   0         0
 *	was written                zeroes                   1         0
 *	was written and converted  what was written         1         1
 *
 * While a block is written and not converted, it is reached past the file system only. So
 * blocks are converted before the leases are given back, and before any call that reads or
 * writes them through the file system. And before a barrier, for what a crash leaves of a
 * block that is not converted is zeroes: what it was before a write that no flush has
 * followed.
 *
 * Only whole blocks are first written here. What a write of a part of one leaves of
 * the rest would be what the device has there; the file system fills in zeroes.
 *
 * A file system is frozen with nothing left to convert. The first of the writes that wait for
 * conversion hands its hold of the freezing (freeze.h) to the set, and conversion
 * releases it. That is also why a conversion never waits for a thaw. It comes within a
 * second, or as soon as a write finds that somebody wants to freeze.
 *
 * @set->lock is a leaf among our locks; the file's locks are taken under it.
 */
#include <linux/bitmap.h>
#include <linux/blk_types.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "compat.h"

#include "freeze.h"
#include "fs-extent.h"
#include "unwritten.h"

/* How many pieces to convert in one call, which writes to the journal and waits. */
#define MAX_MAPS	256
#define MAX_AGE		HZ

/* Bits of qcow2_unwritten_set.flags */
enum {
	PENDING,	/* blocks wait for conversion; a hold of the freezing goes with it */
	CONVERTING,	/* they are being converted, or that has failed */
};

#define UNSETTLED	(BIT(PENDING) | BIT(CONVERTING))

/* Extents */

static unsigned int block_of(const struct qcow2_unwritten *u, sector_t sector)
{
	return (sector - u->first) >> (u->block_bits - SECTOR_SHIFT);
}

static sector_t last_sector(const struct qcow2_unwritten *u)
{
	return u->first + ((sector_t)u->nr_blocks << (u->block_bits - SECTOR_SHIFT)) - 1;
}

/* The blocks of a range; false if there are none. */
static bool blocks_of(const struct qcow2_unwritten *u, sector_t first, sector_t last,
		      unsigned int *start, unsigned int *end)
{
	if (last < u->first || first > last_sector(u))
		return false;
	*start = block_of(u, max(first, u->first));
	*end = block_of(u, min(last, last_sector(u))) + 1;
	return true;
}

static struct qcow2_unwritten *alloc_extent(unsigned int nr_blocks)
{
	size_t longs = BITS_TO_LONGS(nr_blocks);
	struct qcow2_unwritten *u;

	u = kvzalloc(sizeof(*u) + 2 * longs * sizeof(long), GFP_NOIO | __GFP_NORETRY);
	if (!u)
		return NULL;
	u->nr_blocks = nr_blocks;
	u->written = (unsigned long *)(u + 1);
	u->converted = u->written + longs;
	return u;
}

/* Many files are never written to. */
static bool have_maps(struct qcow2_unwritten_set *set)
{
	lockdep_assert_held(&set->lock);
	if (!set->maps)
		set->maps = kvmalloc_array(MAX_MAPS, sizeof(*set->maps), GFP_NOIO | __GFP_NORETRY);
	return set->maps;
}

struct qcow2_unwritten *qcow2_unwritten_add(struct qcow2_unwritten_set *set,
					    const struct iomap *extent)
{
	unsigned int bits = file_inode(set->file)->i_blkbits;
	struct qcow2_unwritten *u = alloc_extent(extent->length >> bits);

	if (!u)
		return NULL;
	u->first = extent->offset >> SECTOR_SHIFT;
	u->distance = (extent->addr >> SECTOR_SHIFT) - u->first;
	u->block_bits = bits;
	mutex_lock(&set->lock);
	if (have_maps(set)) {
		list_add_tail(&u->node, &set->extents);
		set->count++;
	} else {
		kvfree(u);
		u = NULL;
	}
	mutex_unlock(&set->lock);
	return u;
}

static void free_all(struct qcow2_unwritten_set *set)
{
	struct qcow2_unwritten *u, *next;

	list_for_each_entry_safe(u, next, &set->extents, node)
		kvfree(u);
	INIT_LIST_HEAD(&set->extents);
	set->count = 0;
}

void qcow2_unwritten_clear(struct qcow2_unwritten_set *set)
{
	mutex_lock(&set->lock);
	free_all(set);
	mutex_unlock(&set->lock);
}

/* I/O */

static u32 bytes_to(const struct qcow2_unwritten *u, sector_t sector, unsigned int block)
{
	return ((u64)block << u->block_bits) - ((sector - u->first) << SECTOR_SHIFT);
}

bool qcow2_unwritten_admit(const struct qcow2_unwritten *u, sector_t sector, u32 *bytes,
			   bool is_write, bool *is_first)
{
	unsigned int start = block_of(u, sector);
	unsigned int end = block_of(u, sector + (*bytes >> SECTOR_SHIFT) - 1) + 1;
	u32 whole = round_down(*bytes, 1U << u->block_bits);
	bool is_written = test_bit(start, u->written);

	*is_first = false;
	if (is_write && whole && bytes_to(u, sector, start + 1) == 1U << u->block_bits) {
		*bytes = whole;
		end = start + (whole >> u->block_bits);
		*is_first = find_next_zero_bit(u->written, end, start) < end;
		return true;
	}
	if (is_written)
		end = find_next_zero_bit(u->written, end, start);
	else if (is_write)
		end = start + 1;
	else
		end = find_next_bit(u->written, end, start);
	*bytes = min(*bytes, bytes_to(u, sector, end));
	return is_written;
}

bool qcow2_unwritten_mark(struct qcow2_unwritten_set *set, struct qcow2_unwritten *u,
			  sector_t sector, u32 bytes)
{
	unsigned int start = block_of(u, sector);
	unsigned int end = start + (bytes >> u->block_bits);

	for (unsigned int block = start; block < end; block++)
		set_bit(block, u->written);
	smp_mb__after_atomic(); /* pairs with convert_extents() */
	set_bit(0, &u->is_pending);
	/* A full barrier; pairs with the one in qcow2_unwritten_convert(). */
	if (test_and_set_bit(PENDING, &set->flags))
		return false;
	queue_delayed_work(system_dfl_wq, &set->age_work, MAX_AGE);
	return true;
}

bool qcow2_unwritten_has_pending(const struct qcow2_unwritten_set *set)
{
	return READ_ONCE(set->flags) & UNSETTLED;
}

bool qcow2_unwritten_is_pending(const struct qcow2_unwritten *u, sector_t first, sector_t last)
{
	unsigned int start, end;

	return blocks_of(u, first, last, &start, &end) &&
	       find_next_andnot_bit(u->written, u->converted, end, start) < end;
}

/* Conversion */

static void note_converted(const struct iomap *map)
{
	struct qcow2_unwritten *u = map->private;

	bitmap_set(u->converted, block_of(u, map->offset >> SECTOR_SHIFT),
		   map->length >> u->block_bits);
}

static int convert_maps(struct qcow2_unwritten_set *set)
{
	int err;

	if (!set->nr_maps)
		return 0;
	err = qcow2_extents_commit(set->file, set->maps, set->nr_maps);
	for (unsigned int i = 0; i < set->nr_maps && !err; i++)
		note_converted(&set->maps[i]);
	set->nr_maps = 0;
	return err;
}

static int convert_blocks(struct qcow2_unwritten_set *set, struct qcow2_unwritten *u,
			  unsigned int start, unsigned int end)
{
	set->maps[set->nr_maps++] = (struct iomap) {
		.offset = (u->first << SECTOR_SHIFT) + ((u64)start << u->block_bits),
		.length = (u64)(end - start) << u->block_bits,
		.private = u,
	};
	return set->nr_maps == MAX_MAPS ? convert_maps(set) : 0;
}

static int convert_extent(struct qcow2_unwritten_set *set, struct qcow2_unwritten *u)
{
	unsigned int start, end = 0;
	int err = 0;

	while (!err) {
		start = find_next_andnot_bit(u->written, u->converted, u->nr_blocks, end);
		if (start >= u->nr_blocks)
			break;
		for (end = start + 1; end < u->nr_blocks; end++)
			if (!test_bit(end, u->written) || test_bit(end, u->converted))
				break;
		err = convert_blocks(set, u, start, end);
	}
	return err;
}

static int convert_extents(struct qcow2_unwritten_set *set, bool *is_durable)
{
	struct qcow2_unwritten *u;
	int err = 0;

	list_for_each_entry(u, &set->extents, node) {
		if (!test_bit(0, &u->is_pending))
			continue;
		clear_bit(0, &u->is_pending);
		smp_mb__after_atomic(); /* pairs with qcow2_unwritten_mark() */
		err = convert_extent(set, u);
		if (err)
			return err;
	}
	*is_durable = set->nr_maps;
	return convert_maps(set);
}

int qcow2_unwritten_convert(struct qcow2_unwritten_set *set, bool *is_durable)
{
	unsigned int noio = memalloc_noio_save();
	bool is_flushed = false;
	int err;

	mutex_lock(&set->lock);
	if (test_bit(PENDING, &set->flags)) {
		set_bit(CONVERTING, &set->flags);
		smp_mb__after_atomic(); /* for qcow2_unwritten_has_pending() */
		clear_bit(PENDING, &set->flags);
		smp_mb__after_atomic(); /* pairs with qcow2_unwritten_mark() */
		if (!set->err)
			set->err = convert_extents(set, &is_flushed);
		if (!set->err)
			clear_bit_unlock(CONVERTING, &set->flags);
		qcow2_freeze_release(set->file);
	}
	err = set->err;
	mutex_unlock(&set->lock);
	memalloc_noio_restore(noio);
	if (is_durable)
		*is_durable = is_flushed && !err;
	return err;
}

static void convert_aged(struct work_struct *work)
{
	struct qcow2_unwritten_set *set =
		container_of(to_delayed_work(work), struct qcow2_unwritten_set, age_work);

	qcow2_unwritten_convert(set, NULL);
}

void qcow2_unwritten_hurry(struct qcow2_unwritten_set *set)
{
	if (test_bit(PENDING, &set->flags))
		mod_delayed_work(system_dfl_wq, &set->age_work, 0);
}

void qcow2_unwritten_drop(struct qcow2_unwritten_set *set, sector_t first, sector_t last)
{
	struct qcow2_unwritten *u;
	unsigned int start, end;

	mutex_lock(&set->lock);
	list_for_each_entry(u, &set->extents, node) {
		if (!blocks_of(u, first, last, &start, &end))
			continue;
		for (; start < end; start++)
			clear_bit(start, u->written);
	}
	mutex_unlock(&set->lock);
}

/* Life */

void qcow2_unwritten_init(struct qcow2_unwritten_set *set, struct file *file)
{
	set->file = file;
	mutex_init(&set->lock);
	INIT_LIST_HEAD(&set->extents);
	INIT_DELAYED_WORK(&set->age_work, convert_aged);
}

void qcow2_unwritten_exit(struct qcow2_unwritten_set *set)
{
	cancel_delayed_work_sync(&set->age_work);
	free_all(set);
	kvfree(set->maps);
}
