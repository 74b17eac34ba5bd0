/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Data I/O past the file system of an image: to the blocks of a file, under
 * leases as a pNFS block server has them.
 */
#ifndef DM_QCOW2_LEASE_H
#define DM_QCOW2_LEASE_H

#include <linux/list.h>
#include <linux/types.h>

struct bio;
struct file;
struct qcow2_lease;
struct qcow2_unwritten;
struct task_struct;

/**
 * struct qcow2_lease_caller - a task that is in a call that writes to the file
 * @node: in the lease's list
 * @task: the task
 * @first: sector of the file where it writes; 0 if it does not fill blocks in
 * @end: the sector behind that; likewise
 */
struct qcow2_lease_caller {
	struct list_head node;
	struct task_struct *task;
	sector_t first;
	sector_t end;
};

/**
 * struct qcow2_lease_range - a range of the file
 * @host_off: where it begins
 * @bytes: its length
 */
struct qcow2_lease_range {
	u64 host_off;
	u64 bytes;
};

/**
 * qcow2_lease_open - get ready to lease the blocks of a file
 * @file: an open regular file; outlives the lease
 * @lease: set on success; NULL when its file system does not say where they are
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check qcow2_lease_open(struct file *file, struct qcow2_lease **lease);

/**
 * qcow2_lease_close - undo qcow2_lease_open()
 * @l: the lease or NULL; stopped
 */
void qcow2_lease_close(struct qcow2_lease *l);

/**
 * qcow2_lease_start - lease blocks from now on, when they are asked for
 * @l: the lease or NULL
 */
void qcow2_lease_start(struct qcow2_lease *l);

/**
 * qcow2_lease_stop - lease no more, and give back what is leased
 * @l: the lease or NULL
 *
 * Waits for I/O that goes past the file system.
 */
void qcow2_lease_stop(struct qcow2_lease *l);

/**
 * struct qcow2_lease_io - I/O past the file system
 * @idx: its read section, or -1 while it is none
 * @bytes: its length; @sector, @bytes and @unwritten are for the lease
 * @sector: of the file
 * @unwritten: the extent that is written to for the first time, or NULL
 */
struct qcow2_lease_io {
	int idx;
	u32 bytes;
	sector_t sector;
	struct qcow2_unwritten *unwritten;
};

/**
 * qcow2_lease_map - direct a bio to the blocks of the file
 * @l: the lease or NULL
 * @bio: a read or write without FUA; its device and sector are set on success
 * @host_off: offset in the file
 * @is_fresh: the cluster was never written to
 * @bytes: wanted length; reduced to what the answer is for
 * @io: filled in on success, for qcow2_lease_leave() when the bio has ended
 *
 * Any context. A miss is noted, and the next such bio may succeed.
 *
 * Return: false when the I/O has to go through the file system; the bio is unchanged
 * then.
 */
bool qcow2_lease_map(struct qcow2_lease *l, struct bio *bio, u64 host_off, bool is_fresh,
		     u32 *bytes, struct qcow2_lease_io *io);

/**
 * qcow2_lease_map_all - direct a bio to the blocks of the file, as a whole or not at all
 * @l: the lease or NULL
 * @bio: as for qcow2_lease_map()
 * @host_off: offset in the file
 * @bytes: its length
 * @io: likewise
 *
 * Any context. Return: as qcow2_lease_map().
 */
bool qcow2_lease_map_all(struct qcow2_lease *l, struct bio *bio, u64 host_off, u32 bytes,
			 struct qcow2_lease_io *io);

/**
 * qcow2_lease_leave - a bio that qcow2_lease_map() directed has ended
 * @l: the lease
 * @bio: the bio, with its status
 * @io: from qcow2_lease_map()
 *
 * Any context.
 */
void qcow2_lease_leave(struct qcow2_lease *l, struct bio *bio, const struct qcow2_lease_io *io);

/**
 * qcow2_lease_ask - there will be reads that could go past the file system
 * @l: the lease or NULL
 * @host_off: where in the file
 *
 * For reads that do not come by qcow2_lease_map() while nothing is leased. Any context.
 */
void qcow2_lease_ask(struct qcow2_lease *l, u64 host_off);

/**
 * qcow2_lease_settle - let the file system know of what it has to, before a read through it
 * @l: the lease or NULL
 * @host_off: offset in the file
 * @bytes: length
 * @may_block: false: return -EAGAIN instead of sleeping
 *
 * Blocks may have been written to past it that it takes for unwritten.
 *
 * Return: 0 or a negative errno; the I/O must not be done then.
 */
int __must_check qcow2_lease_settle(struct qcow2_lease *l, u64 host_off, u32 bytes,
				    bool may_block);

/**
 * qcow2_lease_begin_write - this task is about to write to the file through the file system
 * @l: the lease or NULL
 * @caller: on the stack, until qcow2_lease_end_write()
 * @host_off: offset in the file
 * @bytes: length
 * @may_block: false: return -EAGAIN instead of sleeping
 *
 * As qcow2_lease_settle(). Until qcow2_lease_end_write() a block of which this takes a part is
 * not first written past the file system, and no lease is broken by this task: writes only
 * fill in blocks that nobody reads past it.
 *
 * With @may_block it may wait for a task that waits for a thaw: not to be called with a hold of the
 * freezing.
 *
 * Return: 0 or a negative errno; the write must not be done then, nor ended.
 */
int __must_check qcow2_lease_begin_write(struct qcow2_lease *l,
					 struct qcow2_lease_caller *caller, u64 host_off,
					 u32 bytes, bool may_block);

/**
 * qcow2_lease_end_write - the call into the file system has returned
 * @l: the lease or NULL
 * @caller: from qcow2_lease_begin_write()
 *
 * A direct write that fills in the rest of a block has ended by then, though it may have been
 * asked to be asynchronous: the file system waits for it, since two of them would undo each other.
 */
void qcow2_lease_end_write(struct qcow2_lease *l, struct qcow2_lease_caller *caller);

/**
 * qcow2_lease_commit - let the file system know of all that was written past it
 * @l: the lease or NULL
 * @is_durable: set if that has made durable whatever was written to the file before the call
 *
 * Return: 0 or a negative errno, of this call or of an earlier one.
 */
int __must_check qcow2_lease_commit(struct qcow2_lease *l, bool *is_durable);

/**
 * qcow2_lease_begin_change - blocks of the file are about to be taken from it
 * @l: the lease or NULL
 * @caller: on the stack, until qcow2_lease_end_change()
 * @host_off: start of the range that loses its blocks
 * @bytes: its length
 *
 * When it returns, nobody reads or writes these blocks past the file system, nor
 * will before qcow2_lease_end_change(). Sleeps.
 */
void qcow2_lease_begin_change(struct qcow2_lease *l, struct qcow2_lease_caller *caller,
			      u64 host_off, u64 bytes);
void qcow2_lease_end_change(struct qcow2_lease *l, struct qcow2_lease_caller *caller);

/**
 * qcow2_lease_foresee - qcow2_lease_begin_change() is to come for each of some ranges
 * @l: the lease or NULL
 * @ranges: where
 * @count: how many
 *
 * Waits for I/O that goes past the file system once, so that most likely none of those does. Nothing of what
 * is there need stay.
 */
void qcow2_lease_foresee(struct qcow2_lease *l, const struct qcow2_lease_range *ranges,
			 unsigned int count);

/**
 * qcow2_lease_expect - blocks of the file were made, and will be written to
 * @l: the lease or NULL
 * @host_off: start of the range
 * @bytes: its length
 *
 * Between qcow2_lease_begin_change() and qcow2_lease_end_change(). Saves the first
 * writes from being misses.
 */
void qcow2_lease_expect(struct qcow2_lease *l, u64 host_off, u64 bytes);

/**
 * qcow2_lease_touch - set the times of a file that was written to past its file system
 * @l: the lease or NULL
 */
void qcow2_lease_touch(struct qcow2_lease *l);

/**
 * qcow2_lease_extents - what is leased
 * @l: the lease or NULL
 *
 * Return: how many extents of the file are known, or -1 while nothing is leased.
 */
int qcow2_lease_extents(const struct qcow2_lease *l);

#endif /* DM_QCOW2_LEASE_H */
