// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a lease knows of the blocks of a file.
 *
 * A tree by sector of the file. An entry is, for
 *	written blocks		the distance to the sector of the device, a value
 *	unwritten ones		struct qcow2_unwritten
 *	blocks between these	CHANGING: no I/O past the file system begins, but there may be
 *				some under way, or written and not converted
 *	partly written ones	LEFT; see lease.c
 * The hot path reads it under RCU, in a read section of lease.users. It is changed under
 * lease.lock.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/slab.h>

#include "read-section.h"
#include "test-hold.h"

#include "internal.h"

/* They take about 30 bytes each. With more, we start anew. */
#define MAX_EXTENTS	65536
/* Added to the distance between file and device, as values have no sign. */
#define DISTANCE_BIAS	BIT(56)
/* There may be few of them, so shorter ones are left to the file system. */
#define MIN_UNWRITTEN	SZ_256K
/* What is left to the file system when part of an unwritten block is to be written. */
#define PARTS_SECTORS	(SZ_64K >> SECTOR_SHIFT)

/*
 * As the tree of an mm. Without MT_FLAGS_ALLOC_RANGE, 6.12 takes the length of an
 * inner node with 15 of 16 slots for another child of it when a tree is freed under
 * RCU (mt_free_walk()).
 */
#define EXTENTS_FLAGS	(MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU)

static const unsigned long changing_entry;
static const unsigned long left_entry;

#define CHANGING	((void *)&changing_entry)
#define LEFT		((void *)&left_entry)

/* Hints */

static unsigned int hint_index(sector_t sector)
{
	return (sector >> QCOW2_HINT_BITS) % QCOW2_NR_HINTS;
}

static void set_hint(struct qcow2_hint *hint, sector_t first, sector_t last, sector_t distance)
{
	preempt_disable();
	write_seqcount_begin(&hint->seq);
	hint->first = first;
	hint->last = last;
	hint->distance = distance;
	write_seqcount_end(&hint->seq);
	preempt_enable();
}

/* With the first extent that is learned: most files of a host with many are idle. */
static bool have_hints(struct qcow2_lease *l)
{
	struct qcow2_hint *hints;

	if (l->hints)
		return true;
	hints = kmalloc_array(QCOW2_NR_HINTS, sizeof(*hints), GFP_NOIO | __GFP_NOWARN);
	if (!hints)
		return false;
	for (struct qcow2_hint *hint = hints; hint < hints + QCOW2_NR_HINTS; hint++) {
		*hint = (struct qcow2_hint){ .first = 1 };
		seqcount_init(&hint->seq);
	}
	/* For find_by_hint(). */
	smp_store_release(&l->hints, hints);
	return true;
}

static void add_hints(struct qcow2_lease *l, sector_t first, sector_t last, sector_t distance)
{
	u64 count = (last >> QCOW2_HINT_BITS) - (first >> QCOW2_HINT_BITS) + 1;
	unsigned int index = hint_index(first);
	struct qcow2_hint *hint;

	lockdep_assert_held(&l->lock);
	if (!have_hints(l))
		return;
	for (count = min_t(u64, count, QCOW2_NR_HINTS); count; count--) {
		hint = &l->hints[index];
		if (hint->first > hint->last || last - first > hint->last - hint->first)
			set_hint(hint, first, last, distance);
		index = (index + 1) % QCOW2_NR_HINTS;
	}
}

static void forget_hints(struct qcow2_lease *l, sector_t first, sector_t last)
{
	struct qcow2_hint *hint;

	lockdep_assert_held(&l->lock);
	if (!l->hints)
		return;
	for (hint = l->hints; hint < l->hints + QCOW2_NR_HINTS; hint++)
		if (first <= hint->last && last >= hint->first)
			set_hint(hint, 1, 0, 0);
}

/* While it is being changed there is none. */
static bool find_by_hint(const struct qcow2_lease *l, sector_t sector, sector_t *last,
			 sector_t *distance)
{
	const struct qcow2_hint *hints = READ_ONCE(l->hints), *hint;
	unsigned int seq;
	sector_t first;

	if (unlikely(!hints))
		return false;
	hint = &hints[hint_index(sector)];
	seq = raw_read_seqcount(&hint->seq);
	first = hint->first;
	*last = hint->last;
	*distance = hint->distance;
	return sector >= first && sector <= *last && !(seq & 1) &&
	       !read_seqcount_retry(&hint->seq, seq);
}

/* Learning */

static sector_t block_sectors(const struct qcow2_lease *l)
{
	return i_blocksize(file_inode(l->file)) >> SECTOR_SHIFT;
}

/* Whether a write that begins or ends there takes a part of a block. */
static bool is_part(const struct qcow2_lease *l, sector_t sector)
{
	return !IS_ALIGNED(sector, block_sectors(l));
}

static bool store(struct qcow2_lease *l, sector_t first, sector_t last, void *entry)
{
	forget_hints(l, first, last);
	return !mtree_store_range(&l->extents, first, last, entry, GFP_NOIO);
}

/* For what is to stay. */
static bool store_counted(struct qcow2_lease *l, sector_t first, sector_t last, void *entry)
{
	WRITE_ONCE(l->nr_extents, l->nr_extents + 1);
	return store(l, first, last, entry);
}

static sector_t first_sector(const struct iomap *extent)
{
	return extent->offset >> SECTOR_SHIFT;
}

static sector_t last_sector(const struct iomap *extent)
{
	return ((extent->offset + extent->length) >> SECTOR_SHIFT) - 1;
}

static bool remember_written(struct qcow2_lease *l, const struct iomap *extent)
{
	sector_t first = first_sector(extent), last = last_sector(extent);
	sector_t distance = (extent->addr >> SECTOR_SHIFT) - first;

	if (!store_counted(l, first, last, xa_mk_value(distance + DISTANCE_BIAS)))
		return false;
	add_hints(l, first, last, distance);
	return true;
}

/* To the part of it that lies between two sectors. */
static void cut(struct iomap *extent, sector_t first, sector_t last)
{
	first = max(first, first_sector(extent));
	last = min(last, last_sector(extent));
	extent->addr += (first << SECTOR_SHIFT) - extent->offset;
	extent->offset = first << SECTOR_SHIFT;
	extent->length = (last + 1 - first) << SECTOR_SHIFT;
}

/* Blocks in the tree may not be what they look like to the file system: leave them out. */
static bool cut_to_unknown(struct qcow2_lease *l, u64 offset, struct iomap *extent)
{
	sector_t window = QCOW2_UNWRITTEN_MAX_BLOCKS * block_sectors(l);
	sector_t sector = offset >> SECTOR_SHIFT;
	void *entry;

	MA_STATE(mas, &l->extents, sector, sector);

	rcu_read_lock();
	entry = mas_walk(&mas);
	rcu_read_unlock();
	if (entry)
		return false;
	cut(extent, mas.index, mas.last);
	cut(extent, round_down(sector, window), round_down(sector, window) + window - 1);
	return true;
}

static bool is_part_in(const struct qcow2_lease *l, sector_t sector, sector_t first,
		       sector_t last)
{
	return is_part(l, sector) && sector >= first && sector <= last;
}

/* Whether a write through the file system takes a part of a block of a range. */
static bool has_parts(struct qcow2_lease *l, sector_t first, sector_t last)
{
	struct qcow2_lease_caller *caller;
	bool has = false;

	spin_lock(&l->callers_lock);
	list_for_each_entry(caller, &l->callers, node)
		has |= is_part_in(l, caller->first, first, last) ||
		       is_part_in(l, caller->end, first, last);
	spin_unlock(&l->callers_lock);
	return has;
}

/*
 * A write of a part of a block may be on its way into the file system already, which will
 * fill in zeroes: then none of this is for writes past it, until a later miss asks again. One
 * that comes after the look at them finds what is CHANGING, and waits for the lease's lock.
 *
 * What stays CHANGING because there is no memory is reached through the file system.
 */
static bool remember_unwritten(struct qcow2_lease *l, u64 offset, struct iomap *extent)
{
	struct qcow2_unwritten *u = NULL;
	sector_t first, last;

	if (!cut_to_unknown(l, offset, extent) || extent->length < MIN_UNWRITTEN)
		return false;
	first = first_sector(extent);
	last = last_sector(extent);
	if (!store(l, first, last, CHANGING))
		return false;
	if (!has_parts(l, first, last))
		u = qcow2_unwritten_add(&l->unwritten, extent);
	if (u)
		return store_counted(l, first, last, u);
	store(l, first, last, NULL);
	return false;
}

static bool is_full(const struct qcow2_lease *l)
{
	return l->nr_extents >= MAX_EXTENTS ||
	       l->unwritten.count >= QCOW2_UNWRITTEN_MAX_EXTENTS;
}

bool qcow2_lease_remember(struct qcow2_lease *l, u64 offset, struct iomap *extent,
			  bool is_to_be_written)
{
	if (extent->type == IOMAP_UNWRITTEN && !(is_to_be_written && l->takes_unwritten))
		return false;
	if (is_full(l)) {
		qcow2_lease_start_anew(l);
		return true;
	}
	WRITE_ONCE(l->bdev, extent->bdev);
	/* Not seen before @bdev is. */
	smp_wmb();
	return extent->type == IOMAP_UNWRITTEN ? remember_unwritten(l, offset, extent) :
						 remember_written(l, extent);
}

/* I/O */

static bool is_left(const void *entry)
{
	return entry == CHANGING || entry == LEFT;
}

/* Of an entry that is no value. */
static bool find_unwritten(void *entry, bool is_write, struct qcow2_lease_io *io,
			   sector_t *distance)
{
	struct qcow2_unwritten *u = entry;
	bool is_first;

	if (is_left(entry) ||
	    !qcow2_unwritten_admit(u, io->sector, &io->bytes, is_write, &is_first))
		return false;
	if (is_first)
		io->unwritten = u;
	*distance = u->distance;
	return true;
}

static void limit(struct qcow2_lease_io *io, sector_t last)
{
	io->bytes = min_t(u64, io->bytes, (u64)(last + 1 - io->sector) << SECTOR_SHIFT);
}

static bool find_in_tree(struct qcow2_lease *l, bool is_write, struct qcow2_lease_io *io,
			 sector_t *distance)
{
	void *entry;

	MA_STATE(mas, &l->extents, io->sector, io->sector);

	rcu_read_lock();
	entry = mas_walk(&mas);
	rcu_read_unlock();
	if (!entry)
		return false;
	limit(io, mas.last);
	if (!xa_is_value(entry))
		return find_unwritten(entry, is_write, io, distance);
	*distance = xa_to_value(entry) - DISTANCE_BIAS;
	return true;
}

bool qcow2_lease_find(struct qcow2_lease *l, bool is_write, struct qcow2_lease_io *io,
		      sector_t *sector)
{
	sector_t last, distance;

	io->unwritten = NULL;
	if (likely(find_by_hint(l, io->sector, &last, &distance)))
		limit(io, last);
	else if (!find_in_tree(l, is_write, io, &distance))
		return false;
	*sector = io->sector + distance;
	return true;
}

/* Forgetting */

/*
 * Whole blocks are reached through the file system from now on, with all that was written
 * to them. Until then settle() converts what it meets.
 */
static void leave_to_file_system(struct qcow2_lease *l, sector_t first, sector_t last,
				 void *entry)
{
	lockdep_assert_held(&l->lock);
	if (!store(l, first, last, CHANGING)) {
		qcow2_lease_start_anew(l);
		return;
	}
	qcow2_test_hold(QCOW2_HOLD_LEAVING);
	synchronize_srcu_expedited(&l->users);
	if (!qcow2_unwritten_convert(&l->unwritten, NULL))
		store_counted(l, first, last, entry);
}

/* As before, for blocks of which nothing is needed any more. */
static void drop(struct qcow2_lease *l, sector_t first, sector_t last)
{
	if (!store(l, first, last, NULL))
		qcow2_lease_start_anew(l);
	else
		synchronize_srcu_expedited(&l->users);
	qcow2_unwritten_drop(&l->unwritten, first, last);
}

/* A damaged image may have entries for clusters that are free: wait for I/O on them. */
void qcow2_lease_forget(struct qcow2_lease *l, u64 host_off, u64 bytes)
{
	sector_t first = host_off >> SECTOR_SHIFT;
	sector_t last = ((host_off + bytes) >> SECTOR_SHIFT) - 1;
	sector_t block = block_sectors(l);
	unsigned long index = round_down(first, block);

	if (!bytes || !mt_find(&l->extents, &index, last))
		return;
	if (IS_ALIGNED(first | (last + 1), block))
		drop(l, first, last);
	else
		leave_to_file_system(l, round_down(first, block), round_up(last + 1, block) - 1,
				     NULL);
}

static sector_t first_of(const struct qcow2_lease_range *range)
{
	return range->host_off >> SECTOR_SHIFT;
}

static sector_t last_of(const struct qcow2_lease_range *range)
{
	return ((range->host_off + range->bytes) >> SECTOR_SHIFT) - 1;
}

static bool has_whole_blocks(const struct qcow2_lease *l, const struct qcow2_lease_range *range)
{
	return IS_ALIGNED(range->host_off | range->bytes, block_sectors(l) << SECTOR_SHIFT);
}

/* Return: whether there was something. */
static bool forget_soon(struct qcow2_lease *l, sector_t first, sector_t last)
{
	unsigned long index = first;

	if (!mt_find(&l->extents, &index, last))
		return false;
	if (!store(l, first, last, NULL))
		qcow2_lease_start_anew(l);
	return true;
}

void qcow2_lease_forget_many(struct qcow2_lease *l, const struct qcow2_lease_range *ranges,
			     unsigned int count)
{
	bool waits = false;

	lockdep_assert_held(&l->lock);
	for (unsigned int i = 0; i < count; i++)
		if (has_whole_blocks(l, &ranges[i]))
			waits |= forget_soon(l, first_of(&ranges[i]), last_of(&ranges[i]));
	if (!waits)
		return;
	synchronize_srcu_expedited(&l->users);
	for (unsigned int i = 0; i < count; i++)
		if (has_whole_blocks(l, &ranges[i]))
			qcow2_unwritten_drop(&l->unwritten, first_of(&ranges[i]),
					     last_of(&ranges[i]));
}

/* What settle() has to know of an entry: the parts of what it takes. */
static bool is_entry_pending(void *entry, sector_t first, sector_t last)
{
	if (xa_is_value(entry) || entry == LEFT)
		return false;
	return entry == CHANGING || qcow2_unwritten_is_pending(entry, first, last);
}

static bool is_pending(struct qcow2_lease *l, sector_t first, sector_t last)
{
	int idx = qcow2_read_enter(&l->users);
	unsigned long index = first;
	bool is = false;
	void *entry;

	mt_for_each(&l->extents, entry, index, last)
		is |= is_entry_pending(entry, first, last);
	qcow2_read_leave(&l->users, idx);
	return is;
}

static void *load(struct qcow2_lease *l, sector_t sector)
{
	int idx = qcow2_read_enter(&l->users);
	void *entry = mtree_load(&l->extents, sector);

	qcow2_read_leave(&l->users, idx);
	return entry;
}

/* Whether a block may be written to past the file system for the first time meanwhile. */
static bool is_unwritten(const void *entry)
{
	return entry && !xa_is_value(entry) && entry != LEFT;
}

/*
 * What is CHANGING under the lock has failed to become something else. Nothing goes past the
 * file system there, and whether all of it is converted is seen to as for any other I/O.
 */
static void leave_parts(struct qcow2_lease *l, sector_t sector)
{
	sector_t first = round_down(sector, PARTS_SECTORS);
	const void *entry;

	mutex_lock(&l->lock);
	entry = load(l, sector);
	if (is_unwritten(entry) && entry != CHANGING)
		leave_to_file_system(l, first, first + PARTS_SECTORS - 1, LEFT);
	mutex_unlock(&l->lock);
}

/*
 * A block of which a write takes a part, at either end of it. The write is in the list of
 * callers. What is not unwritten here does not become so while it is there:
 * remember_unwritten() stores first, then looks at the list under its lock.
 */
static int settle_part(struct qcow2_lease *l, sector_t sector, bool may_block)
{
	if (!is_part(l, sector))
		return 0;
	if (may_block)
		might_lock(&l->lock);
	if (!is_unwritten(load(l, sector)))
		return 0;
	if (!may_block)
		return -EAGAIN;
	leave_parts(l, sector);
	return 0;
}

static int settle(struct qcow2_lease *l, sector_t first, sector_t end, bool may_block)
{
	if (!qcow2_unwritten_has_pending(&l->unwritten) || !is_pending(l, first, end - 1))
		return 0;
	return may_block ? qcow2_unwritten_convert(&l->unwritten, NULL) : -EAGAIN;
}

int qcow2_lease_settle(struct qcow2_lease *l, u64 host_off, u32 bytes, bool may_block)
{
	if (!l || !l->takes_unwritten)
		return 0;
	return settle(l, host_off >> SECTOR_SHIFT, (host_off + bytes) >> SECTOR_SHIFT, may_block);
}

int qcow2_lease_settle_write(struct qcow2_lease *l, const struct qcow2_lease_caller *caller,
			     bool may_block)
{
	sector_t first = caller->first, end = caller->end;
	int err;

	if (!l->takes_unwritten)
		return 0;
	err = settle_part(l, first, may_block) ?: settle_part(l, end, may_block) ?:
	      settle(l, first, end, may_block);
	if (!err && may_block && (is_part(l, first) || is_part(l, end)))
		qcow2_test_hold(QCOW2_HOLD_PART);
	return err;
}

/* Life */

void qcow2_lease_forget_all(struct qcow2_lease *l)
{
	lockdep_assert_held(&l->lock);
	forget_hints(l, 0, ~(sector_t)0);
	mtree_destroy(&l->extents);
	WRITE_ONCE(l->nr_extents, 0);
	synchronize_srcu(&l->users);
	qcow2_unwritten_clear(&l->unwritten);
}

void qcow2_lease_extents_init(struct qcow2_lease *l)
{
	mt_init_flags(&l->extents, EXTENTS_FLAGS);
}

void qcow2_lease_extents_exit(struct qcow2_lease *l)
{
	mtree_destroy(&l->extents);
	kfree(l->hints);
}
