// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a lease learns where the blocks of a file are: a miss of I/O has a work item ask the
 * file system, and nobody waits for that.
 */
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/sched/mm.h>

#include "compat.h"
#include "read-section.h"

#include "fs-extent.h"
#include "internal.h"

/* A block that a write misses may have become a written one just by that: ask after few. */
#define WRITES_PER_FILL	64
/* After fills that found nothing to lease, this many misses ask for no other. */
#define MAX_SKIP	255

/*
 * What the file system says counts as long as the lease is held, which the read
 * section sees to; and a file system may be asked in vain, but not while others have
 * the file: XFS warns when it cannot empty the page cache. Returns whether there was
 * something.
 */
static bool learn(struct qcow2_lease *l, u64 offset, bool is_to_be_written,
		  struct iomap *extent)
{
	int idx = qcow2_read_enter(&l->users);
	bool is_known = test_bit(LIVE, &l->flags) &&
			qcow2_extent_find(l->file, offset, extent) &&
			(!l->bdev || l->bdev == extent->bdev);

	lockdep_assert_held(&l->lock);
	qcow2_read_leave(&l->users, idx);
	return is_known && qcow2_lease_remember(l, offset, extent, is_to_be_written);
}

/*
 * A first write that missed may have made its block a written one by now: what follows
 * that is not.
 */
static bool learn_about_miss(struct qcow2_lease *l)
{
	struct iomap extent = {};
	bool is_known = learn(l, l->fill_off, l->fill_for_write, &extent);

	if (is_known && l->takes_unwritten && l->fill_for_write && extent.type == IOMAP_MAPPED)
		learn(l, extent.offset + extent.length, true, &extent);
	return is_known;
}

static bool have_leases(struct qcow2_lease *l)
{
	lockdep_assert_held(&l->lock);
	return test_bit(MAY_LEASE, &l->flags) &&
	       (qcow2_lease_is_live(l) || qcow2_lease_take(l));
}

void qcow2_lease_expect(struct qcow2_lease *l, u64 host_off, u64 bytes)
{
	u64 end = host_off + bytes;
	struct iomap extent = {};

	if (!l || !l->takes_unwritten || !have_leases(l))
		return;
	while (host_off < end && learn(l, host_off, true, &extent))
		host_off = extent.offset + extent.length;
}

/* File systems take this lock of a file for themselves alone: not after each miss. */
static void note_fill(struct qcow2_lease *l, bool was_useful)
{
	l->skip_next = was_useful ? 0 : min(2 * l->skip_next + 1, MAX_SKIP);
	WRITE_ONCE(l->skip, l->skip_next);
}

void qcow2_lease_fill(struct work_struct *work)
{
	struct qcow2_lease *l = container_of(work, struct qcow2_lease, fill_work);
	unsigned int noio = memalloc_noio_save();

	mutex_lock(&l->lock);
	if (have_leases(l))
		note_fill(l, learn_about_miss(l));
	mutex_unlock(&l->lock);
	memalloc_noio_restore(noio);
	clear_bit_unlock(FILLING, &l->flags);
}

static bool is_worth_asking(struct qcow2_lease *l, bool is_write)
{
	unsigned int skip = READ_ONCE(l->skip);
	unsigned int writes;

	if (is_write && !l->takes_unwritten) {
		writes = READ_ONCE(l->write_misses) + 1;
		WRITE_ONCE(l->write_misses, writes);
		if (writes % WRITES_PER_FILL)
			return false;
	}
	if (skip)
		WRITE_ONCE(l->skip, skip - 1);
	return !skip;
}

void qcow2_lease_want_fill(struct qcow2_lease *l, u64 host_off, bool is_write)
{
	if (!test_bit(MAY_LEASE, &l->flags) || test_bit(FILLING, &l->flags) ||
	    (!test_bit(LIVE, &l->flags) && time_before(jiffies, READ_ONCE(l->retry_at))) ||
	    !is_worth_asking(l, is_write) || test_and_set_bit_lock(FILLING, &l->flags))
		return;
	l->fill_off = host_off;
	l->fill_for_write = is_write;
	queue_work(system_dfl_wq, &l->fill_work);
}
