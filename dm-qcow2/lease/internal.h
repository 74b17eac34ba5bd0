/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of a lease share: lease.c, hold.c, extents.c and
 * fill.c.
 */
#ifndef DM_QCOW2_LEASE_INTERNAL_H
#define DM_QCOW2_LEASE_INTERNAL_H

#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "lease.h"
#include "unwritten.h"

struct block_device;
struct iomap;

/* Bits of qcow2_lease.flags */
enum {
	MAY_LEASE,	/* between start and stop; changed under lock */
	LEASED,		/* a lease is held, or about to be; cleared by return_leases() */
	LIVE,		/* bios may go past the file system */
	DOZING,		/* they may, but have not of late: the next one makes it LIVE */
	BROKEN,		/* somebody waits for a lease */
	FILLING,	/* fill_work is queued or running */
	WRITTEN,	/* the times of the file are not up to date */
};

/**
 * struct qcow2_hint - a written extent that is found without a walk
 * @seq: written under the lease's lock
 * @first: sector of the file
 * @last: likewise; before @first when there is none
 * @distance: what to add for the sector of the device; may wrap
 */
struct qcow2_hint {
	seqcount_t seq;
	sector_t first;
	sector_t last;
	sector_t distance;
};

#define QCOW2_HINT_BITS		14	/* of a sector; they share a hint */
#define QCOW2_NR_HINTS		128

/* Who holds a lease: vfs tells leases of one open file apart by their owners. */
struct qcow2_lease_owner {
	struct qcow2_lease *lease;
};

/**
 * struct qcow2_lease - the blocks of a file
 * @file: the file
 * @bdev: the device below the file system; set by the first fill, then constant
 * @flags: see above
 * @users: read side from the look-up of a block to the end of the bio
 * @extents: of extents.c
 * @hints: for each 8 MiB, modulo their number, the longest written one; NULL before the first
 * @takes_unwritten: whether the file system can be told of first writes; constant
 * @unwritten: the extents that take them
 * @nr_extents: what was put into @extents since it was empty; under @lock
 * @skip: misses that ask for no fill; racy
 * @write_misses: misses of writes; racy
 * @skip_next: what @skip becomes after the next fill in vain; of the fill
 * @retry_at: jiffies before which no lease is asked for
 * @fill_off: what the fill is to ask for
 * @fill_for_write: whether a write has missed it
 * @fill_work: learns about an extent
 * @return_work: gives the leases back
 * @idle_work: looks whether anything has gone past the file system, while LIVE or DOZING
 * @returned: woken when LEASED is cleared
 * @lock: serialises all that changes @extents, or blocks of the file
 * @layout_owner: of the FL_LAYOUT lease
 * @open_owner: of the lease on opens
 * @callers_lock: protects @callers
 * @callers: struct qcow2_lease_caller: our own tasks that are in the file system, or about to be
 */
struct qcow2_lease {
	struct file *file;
	struct block_device *bdev;
	unsigned long flags;
	struct srcu_struct users;
	struct maple_tree extents;
	struct qcow2_hint *hints;
	bool takes_unwritten;
	struct qcow2_unwritten_set unwritten;

	unsigned int nr_extents ____cacheline_aligned_in_smp;
	unsigned int skip;
	unsigned int write_misses;
	unsigned int skip_next;
	unsigned long retry_at;
	u64 fill_off;
	bool fill_for_write;
	struct work_struct fill_work;
	struct work_struct return_work;
	struct delayed_work idle_work;
	wait_queue_head_t returned;
	struct mutex lock;
	struct qcow2_lease_owner layout_owner;
	struct qcow2_lease_owner open_owner;
	spinlock_t callers_lock;
	struct list_head callers;
};

/* hold.c */

/**
 * qcow2_lease_take - take the leases, if nobody else has the file
 * @l: the lease; under its lock
 *
 * Return: whether they are held.
 */
bool qcow2_lease_take(struct qcow2_lease *l);

/**
 * qcow2_lease_end - no more I/O past the file system
 * @l: the lease
 *
 * The leases go when what is under way has ended: then LEASED is cleared, and @returned
 * woken. Any context.
 */
void qcow2_lease_end(struct qcow2_lease *l);

/**
 * qcow2_lease_wake - there is I/O again
 * @l: the lease
 *
 * Any context. Return: whether it was DOZING, and is LIVE now.
 */
bool qcow2_lease_wake(struct qcow2_lease *l);

/**
 * qcow2_lease_is_live - may bios go past the file system?
 * @l: the lease
 *
 * Any context; a bio asks in a read section of @users.
 */
static inline bool qcow2_lease_is_live(struct qcow2_lease *l)
{
	return test_bit(LIVE, &l->flags) ||
	       (test_bit(DOZING, &l->flags) && qcow2_lease_wake(l));
}

/**
 * qcow2_lease_add_caller - this task is about to change the file through the file system
 * @l: the lease
 * @caller: on the stack, until qcow2_lease_remove_caller(); its sectors are set
 *
 * A file system takes the lease away before it changes a file. It must not for
 * our own writes, which only ever fill in blocks that nobody reads past it, nor for our
 * changes of blocks that have been forgotten.
 */
void qcow2_lease_add_caller(struct qcow2_lease *l, struct qcow2_lease_caller *caller);
void qcow2_lease_remove_caller(struct qcow2_lease *l, struct qcow2_lease_caller *caller);

/**
 * qcow2_lease_start_anew - end the leases, and wait until they are gone
 * @l: the lease; under its lock
 *
 * As if somebody had broken them, but the next may be taken at once.
 */
void qcow2_lease_start_anew(struct qcow2_lease *l);

void qcow2_lease_hold_init(struct qcow2_lease *l);

/* extents.c */

/**
 * qcow2_lease_remember - take in an extent that the file system has told of
 * @l: the lease; under its lock
 * @offset: of the file, in the extent
 * @extent: the extent; changed to what of it is remembered
 * @is_to_be_written: take it in if it is unwritten, too
 *
 * Return: whether it is of use.
 */
bool qcow2_lease_remember(struct qcow2_lease *l, u64 offset, struct iomap *extent,
			  bool is_to_be_written);

/**
 * qcow2_lease_find - where on the device does I/O go?
 * @l: the lease; in a read section of its users
 * @is_write: it writes
 * @io: its sector; its length, reduced to what the answer is for; unwritten is set
 * @sector: set to the sector of the device
 *
 * Any context. Return: false if it has to go through the file system.
 */
bool qcow2_lease_find(struct qcow2_lease *l, bool is_write, struct qcow2_lease_io *io,
		      sector_t *sector);

/**
 * qcow2_lease_forget - nothing goes to blocks past the file system any more
 * @l: the lease; under its lock
 * @host_off: offset in the file of what is about to change
 * @bytes: its length
 *
 * What was written there need not stay. Waits for I/O that is under way.
 */
void qcow2_lease_forget(struct qcow2_lease *l, u64 host_off, u64 bytes);

/* The same for many, but for those that do not begin and end with blocks: it waits once. */
void qcow2_lease_forget_many(struct qcow2_lease *l, const struct qcow2_lease_range *ranges,
			     unsigned int count);

/**
 * qcow2_lease_forget_all - forget all extents
 * @l: the lease; under its lock, and without leases
 */
void qcow2_lease_forget_all(struct qcow2_lease *l);

/**
 * qcow2_lease_settle_write - as qcow2_lease_settle(), before a write
 * @l: the lease
 * @caller: the write, in the list of the lease
 * @may_block: false: return -EAGAIN instead of sleeping
 *
 * A block of which the write takes a part is not first written past the file system until
 * @caller has left the list. With @may_block it may wait for the lease's lock.
 *
 * Return: 0 or a negative errno; the write must not be done then.
 */
int __must_check qcow2_lease_settle_write(struct qcow2_lease *l,
					  const struct qcow2_lease_caller *caller,
					  bool may_block);

void qcow2_lease_extents_init(struct qcow2_lease *l);
void qcow2_lease_extents_exit(struct qcow2_lease *l);

/* fill.c */

/**
 * qcow2_lease_want_fill - note a miss
 * @l: the lease
 * @host_off: offset in the file
 * @is_write: of a write
 *
 * Any context.
 */
void qcow2_lease_want_fill(struct qcow2_lease *l, u64 host_off, bool is_write);

void qcow2_lease_fill(struct work_struct *work);

#endif /* DM_QCOW2_LEASE_INTERNAL_H */
