// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data I/O past the file system of an image.
 *
 * To read or write a block that a file has, the file system has nothing to
 * do but say where it is (extents.c), and to be told of first writes (unwritten.c). A
 * server of pNFS block layouts goes by such knowledge, under a lease that XFS breaks, and
 * waits for, before it takes a block from the file. We are such a server, for ourselves:
 * .map remaps to the device below the file system, as for an image on a block device.
 *
 * Our own writes through the file system break no lease: they turn unwritten
 * blocks into written ones. Where we take blocks from the file ourselves,
 * begin_change() makes them forgotten first.
 *
 * What a crash leaves is what direct I/O through the file system leaves: blocks
 * are overwritten, never allocated here; a first write that no FLUSH has followed may
 * be gone, and its block is zeroes.
 *
 * An unwritten block is first written either past the file system, as a whole, or through
 * it. Direct I/O through it fills the rest of a block that is written in part with zeroes,
 * and must not do so over a write that goes past it: begin_write() takes such blocks out
 * of what goes past it, until the file system says that they are written, and while
 * it is under way, none that it takes a part of is taken in.
 *
 * Locks, outer to inner: lease.lock, that of the unwritten extents, the file's locks,
 * flc_lock of the file, callers_lock. Who has lease.lock may wait for a thaw, so whoever holds the
 * freezing up does not wait for it.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "read-section.h"

#include "freeze.h"
#include "fs-extent.h"
#include "internal.h"

/* Bios */

/* A frozen file system gets no writes. */
static bool start_write(struct qcow2_lease *l)
{
	if (!qcow2_freeze_tryhold(l->file)) {
		qcow2_unwritten_hurry(&l->unwritten);
		return false;
	}
	if (!test_bit(WRITTEN, &l->flags))
		set_bit(WRITTEN, &l->flags);
	return true;
}

static bool direct(struct qcow2_lease *l, struct bio *bio, struct qcow2_lease_io *io)
{
	struct block_device *bdev;
	sector_t sector;

	if (!qcow2_lease_find(l, op_is_write(bio_op(bio)), io, &sector))
		return false;
	smp_rmb(); /* pairs with qcow2_lease_remember() */
	bdev = READ_ONCE(l->bdev);
	if (bio->bi_opf & REQ_NOWAIT && !bdev_nowait(bdev))
		return false;
	bio_set_dev(bio, bdev);
	bio->bi_iter.bi_sector = sector;
	return true;
}

bool qcow2_lease_map(struct qcow2_lease *l, struct bio *bio, u64 host_off, bool is_fresh,
		     u32 *bytes, struct qcow2_lease_io *io)
{
	bool is_write = op_is_write(bio_op(bio));
	bool may_pass;

	if (!l || (is_fresh && !l->takes_unwritten))
		return false;
	io->sector = host_off >> SECTOR_SHIFT;
	io->bytes = *bytes;
	io->idx = qcow2_read_enter(&l->users);
	if (qcow2_lease_is_live(l) && (!is_write || start_write(l))) {
		may_pass = direct(l, bio, io);
		*bytes = io->bytes;
		if (may_pass)
			return true;
		if (is_write)
			qcow2_freeze_release(l->file);
	}
	qcow2_read_leave(&l->users, io->idx);
	io->idx = -1;
	qcow2_lease_want_fill(l, host_off, is_write);
	return false;
}

/* A first write that failed leaves its blocks as they were. */
static bool mark(struct qcow2_lease *l, struct bio *bio, const struct qcow2_lease_io *io)
{
	return io->unwritten && !bio->bi_status &&
	       qcow2_unwritten_mark(&l->unwritten, io->unwritten, io->sector, io->bytes);
}

void qcow2_lease_leave(struct qcow2_lease *l, struct bio *bio, const struct qcow2_lease_io *io)
{
	if (op_is_write(bio_op(bio)) && !mark(l, bio, io))
		qcow2_freeze_release(l->file);
	qcow2_read_leave(&l->users, io->idx);
}

/* As if it had never been mapped. */
static void undo(struct qcow2_lease *l, struct bio *bio, struct qcow2_lease_io *io)
{
	bio->bi_status = BLK_STS_AGAIN;
	qcow2_lease_leave(l, bio, io);
	bio->bi_status = BLK_STS_OK;
	io->idx = -1;
}

bool qcow2_lease_map_all(struct qcow2_lease *l, struct bio *bio, u64 host_off, u32 bytes,
			 struct qcow2_lease_io *io)
{
	struct block_device *bdev = bio->bi_bdev;
	sector_t sector = bio->bi_iter.bi_sector;
	u32 mapped = bytes;

	if (!qcow2_lease_map(l, bio, host_off, false, &mapped, io))
		return false;
	if (mapped == bytes)
		return true;
	undo(l, bio, io);
	if (bdev)
		bio_set_dev(bio, bdev);
	bio->bi_iter.bi_sector = sector;
	return false;
}

void qcow2_lease_ask(struct qcow2_lease *l, u64 host_off)
{
	if (l)
		qcow2_lease_want_fill(l, host_off, false);
}

/* Our own calls into the file system */

int qcow2_lease_begin_write(struct qcow2_lease *l, struct qcow2_lease_caller *caller,
			    u64 host_off, u32 bytes, bool may_block)
{
	int err;

	if (!l)
		return 0;
	caller->first = host_off >> SECTOR_SHIFT;
	caller->end = (host_off + bytes) >> SECTOR_SHIFT;
	qcow2_lease_add_caller(l, caller);
	err = qcow2_lease_settle_write(l, caller, may_block);
	if (err)
		qcow2_lease_remove_caller(l, caller);
	return err;
}

void qcow2_lease_end_write(struct qcow2_lease *l, struct qcow2_lease_caller *caller)
{
	if (l)
		qcow2_lease_remove_caller(l, caller);
}

void qcow2_lease_begin_change(struct qcow2_lease *l, struct qcow2_lease_caller *caller,
			      u64 host_off, u64 bytes)
{
	if (!l)
		return;
	mutex_lock(&l->lock);
	qcow2_lease_forget(l, host_off, bytes);
	*caller = (struct qcow2_lease_caller) {};
	qcow2_lease_add_caller(l, caller);
}

void qcow2_lease_foresee(struct qcow2_lease *l, const struct qcow2_lease_range *ranges,
			 unsigned int count)
{
	if (!l || count < 2)
		return;
	mutex_lock(&l->lock);
	qcow2_lease_forget_many(l, ranges, count);
	mutex_unlock(&l->lock);
}

void qcow2_lease_end_change(struct qcow2_lease *l, struct qcow2_lease_caller *caller)
{
	if (!l)
		return;
	qcow2_lease_remove_caller(l, caller);
	mutex_unlock(&l->lock);
}

int qcow2_lease_commit(struct qcow2_lease *l, bool *is_durable)
{
	int err;

	*is_durable = false;
	if (!l)
		return 0;
	err = qcow2_unwritten_convert(&l->unwritten, is_durable);
	if (*is_durable)
		clear_bit(WRITTEN, &l->flags);
	return err;
}

/* Not while the file system is frozen: the next flush does it. */
void qcow2_lease_touch(struct qcow2_lease *l)
{
	if (!l || !test_bit(WRITTEN, &l->flags) || !file_start_write_trylock(l->file))
		return;
	clear_bit(WRITTEN, &l->flags);
	file_update_time(l->file);
	file_end_write(l->file);
}

int qcow2_lease_extents(const struct qcow2_lease *l)
{
	return l && READ_ONCE(l->flags) & (BIT(LIVE) | BIT(DOZING)) ? READ_ONCE(l->nr_extents) : -1;
}

/* Life */

void qcow2_lease_start(struct qcow2_lease *l)
{
	if (l)
		set_bit(MAY_LEASE, &l->flags);
}

void qcow2_lease_stop(struct qcow2_lease *l)
{
	if (!l)
		return;
	mutex_lock(&l->lock);
	clear_bit(MAY_LEASE, &l->flags);
	mutex_unlock(&l->lock);
	qcow2_lease_end(l);
	wait_event(l->returned, !test_bit_acquire(LEASED, &l->flags));
	flush_work(&l->return_work);
	cancel_delayed_work_sync(&l->idle_work);
	qcow2_lease_touch(l);
}

int qcow2_lease_open(struct file *file, struct qcow2_lease **lease)
{
	struct qcow2_lease *l;

	*lease = NULL;
	if (!qcow2_extents_are_known(file))
		return 0;
	l = kzalloc(sizeof(*l), GFP_KERNEL);
	if (!l)
		return -ENOMEM;
	if (init_srcu_struct(&l->users)) {
		kfree(l);
		return -ENOMEM;
	}
	qcow2_unwritten_init(&l->unwritten, file);
	l->takes_unwritten = qcow2_extents_may_be_committed(file);
	l->file = file;
	INIT_WORK(&l->fill_work, qcow2_lease_fill);
	mutex_init(&l->lock);
	qcow2_lease_extents_init(l);
	qcow2_lease_hold_init(l);
	*lease = l;
	return 0;
}

void qcow2_lease_close(struct qcow2_lease *l)
{
	if (!l)
		return;
	cancel_work_sync(&l->fill_work);
	qcow2_lease_extents_exit(l);
	qcow2_unwritten_exit(&l->unwritten);
	cleanup_srcu_struct(&l->users);
	kfree(l);
}
