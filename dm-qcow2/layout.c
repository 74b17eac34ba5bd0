// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data I/O past the file system of an image.
 *
 * To read or overwrite a block that a file has, the file system has nothing to
 * do but say where it is (extent.c). A server of pNFS block layouts goes by such
 * knowledge, under a lease that XFS breaks, and waits for, before it takes a
 * block from the file. We are such a server, for ourselves: .map remaps to the
 * device below the file system, as for an image on a block device.
 *
 * Two leases are held while blocks are used, or none:
 *  - FL_LAYOUT, for what the file system does to the file;
 *  - a plain lease that is broken by whoever opens the file or truncates it by its
 *    name, because ext4 breaks no layouts, and neither does XFS_IOC_SWAPEXT: but
 *    whoever takes blocks from a file has to have it open. It is granted only if
 *    nobody else has; that nobody shares our open file description is for us to
 *    see. It also means that no page cache and no other writer has to agree with us.
 * Our own writes through the file system break neither: they turn unwritten
 * blocks, which are not leased, into written ones. Where we take blocks from the
 * file ourselves, begin_change() makes them forgotten first.
 *
 *	          fill                  broken, or stop
 *	nothing --------> leases held ------------------> no new I/O
 *	   ^              I/O goes past                       | return_leases()
 *	   +-------- leases given back, breaker goes on ------+ I/O has ended
 *
 * What a crash leaves is what direct I/O through the file system leaves: blocks
 * are overwritten, never allocated here, and a FLUSH is an fsync of the file.
 *
 * Locks, outer to inner: layout.lock, the file's locks, flc_lock of the file,
 * callers_lock. Whoever breaks a lease may hold the file system back from being
 * frozen, and layout.lock may be held by a task that waits for a thaw: so
 * return_leases() takes no lock, and waits for bios only.
 */
#include <linux/blkdev.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/maple_tree.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "extent.h"
#include "layout.h"
#include "read-section.h"

/* The extents of a file take about 30 bytes each. With more, we start anew. */
#define MAX_EXTENTS	65536
/* How long to leave a file alone that somebody else has opened. */
#define RETRY_DELAY	HZ
/* A block that a write misses may have become a written one just by that: ask after few. */
#define WRITES_PER_FILL	64
/* After fills that found nothing to lease, this many misses ask for no other. */
#define MAX_SKIP	255
/* Added to the distance between file and device, as values have no sign. */
#define DISTANCE_BIAS	BIT(56)

/*
 * As the tree of an mm. Without MT_FLAGS_ALLOC_RANGE, 6.12 takes the length of an
 * inner node with 15 of 16 slots for another child of it when a tree is freed under
 * RCU (mt_free_walk()).
 */
#define EXTENTS_FLAGS	(MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU)

/* Bits of qcow2_layout.flags */
enum {
	MAY_LEASE,	/* between start and stop; changed under lock */
	LEASED,		/* a lease is held, or about to be; cleared by return_leases() */
	LIVE,		/* bios may go past the file system */
	BROKEN,		/* somebody waits for a lease */
	FILLING,	/* fill_work is queued or running */
	WRITTEN,	/* the times of the file are not up to date */
};

/* Who holds a lease: vfs tells leases of one open file apart by their owners. */
struct owner {
	struct qcow2_layout *layout;
};

/**
 * struct qcow2_layout - the blocks of a file
 * @file: the file
 * @bdev: the device below the file system; set by the first fill, then constant
 * @flags: see above
 * @users: read side from the look-up of a block to the end of the bio
 * @extents: written blocks, by sector of the file; the value is the distance to
 *	the sector of the device
 * @nr_extents: what was put into @extents since it was empty; under @lock
 * @skip: misses that ask for no fill; racy
 * @write_misses: misses of writes; racy
 * @skip_next: what @skip becomes after the next fill in vain; of the fill
 * @retry_at: jiffies before which no lease is asked for
 * @fill_off: what the fill is to ask for
 * @fill_work: learns about an extent
 * @return_work: gives the leases back
 * @returned: woken when LEASED is cleared
 * @lock: serialises all that changes @extents, or blocks of the file
 * @layout_owner: of the FL_LAYOUT lease
 * @open_owner: of the plain lease
 * @callers_lock: protects @callers
 * @callers: struct qcow2_layout_caller
 */
struct qcow2_layout {
	struct file *file;
	struct block_device *bdev;
	unsigned long flags;
	struct srcu_struct users;
	struct maple_tree extents;

	unsigned int nr_extents ____cacheline_aligned_in_smp;
	unsigned int skip;
	unsigned int write_misses;
	unsigned int skip_next;
	unsigned long retry_at;
	u64 fill_off;
	struct work_struct fill_work;
	struct work_struct return_work;
	wait_queue_head_t returned;
	struct mutex lock;
	struct owner layout_owner;
	struct owner open_owner;
	spinlock_t callers_lock;
	struct list_head callers;
};

/* Leases */

static struct qcow2_layout *lease_layout(const struct file_lease *fl)
{
	const struct owner *owner = fl->c.flc_owner;

	return owner->layout;
}

/* No bio from now on; when those under way have ended, the leases go. */
static void end_lease(struct qcow2_layout *l)
{
	if (test_and_clear_bit(LIVE, &l->flags))
		queue_work(system_unbound_wq, &l->return_work);
}

/* Under flc_lock. The zeroes are for vfs not to take the lease by itself, ever. */
static bool break_lease_of_ours(struct file_lease *fl)
{
	struct qcow2_layout *l = lease_layout(fl);

	fl->fl_break_time = 0;
	fl->fl_downgrade_time = 0;
	set_bit(BROKEN, &l->flags);
	smp_mb__after_atomic(); /* pairs with go_live() */
	end_lease(l);
	return false;
}

static bool is_own_call(struct file_lease *fl)
{
	struct qcow2_layout *l = lease_layout(fl);
	struct qcow2_layout_caller *caller;
	bool is_own = false;

	spin_lock(&l->callers_lock);
	list_for_each_entry(caller, &l->callers, node)
		if (caller->task == current)
			is_own = true;
	spin_unlock(&l->callers_lock);
	return is_own;
}

static const struct lease_manager_operations lease_ops = {
	.lm_break = break_lease_of_ours,
	.lm_change = lease_modify,
	.lm_breaker_owns_lease = is_own_call,
};

static int take_lease(struct qcow2_layout *l, struct owner *owner, int type, unsigned int flags)
{
	struct file_lease *fl = locks_alloc_lease();
	int err;

	if (!fl)
		return -ENOMEM;
	locks_init_lease(fl);
	fl->fl_lmops = &lease_ops;
	fl->c.flc_flags = flags;
	fl->c.flc_type = type;
	fl->c.flc_owner = owner;
	fl->c.flc_pid = current->tgid;
	fl->c.flc_file = l->file;
	err = kernel_setlease(l->file, type, &fl, NULL);
	if (err)
		locks_free_lease(fl);
	return err;
}

static void drop_lease(struct qcow2_layout *l, struct owner *owner)
{
	void *priv = owner;

	kernel_setlease(l->file, F_UNLCK, NULL, &priv);
}

/* A descriptor that somebody kept cannot break a lease, nor be seen by vfs. */
static bool is_shared(const struct qcow2_layout *l)
{
	return file_count(l->file) != 1;
}

static int take_leases(struct qcow2_layout *l)
{
	int err;

	if (is_shared(l))
		return -EAGAIN;
	err = take_lease(l, &l->open_owner, F_WRLCK, FL_LEASE);
	if (err)
		return err;
	err = take_lease(l, &l->layout_owner, F_RDLCK, FL_LAYOUT);
	if (err)
		drop_lease(l, &l->open_owner);
	return err;
}

static void leases_are_gone(struct qcow2_layout *l)
{
	WRITE_ONCE(l->retry_at, jiffies + RETRY_DELAY);
	clear_bit_unlock(LEASED, &l->flags);
	smp_mb__after_atomic(); /* for waitqueue_active() in wake_up() */
	wake_up(&l->returned);
}

static void return_leases(struct work_struct *work)
{
	struct qcow2_layout *l = container_of(work, struct qcow2_layout, return_work);

	synchronize_srcu(&l->users);
	drop_lease(l, &l->layout_owner);
	drop_lease(l, &l->open_owner);
	leases_are_gone(l);
}

/* Extents */

/* No bio is under way to what is not known. */
static void forget_all(struct qcow2_layout *l)
{
	lockdep_assert_held(&l->lock);
	mtree_destroy(&l->extents);
	WRITE_ONCE(l->nr_extents, 0);
	synchronize_srcu(&l->users);
}

/* A lease may be broken as soon as it is there. */
static void go_live(struct qcow2_layout *l)
{
	set_bit(LIVE, &l->flags);
	smp_mb__after_atomic(); /* pairs with break_lease_of_ours() */
	if (test_bit(BROKEN, &l->flags))
		end_lease(l);
}

static bool lease(struct qcow2_layout *l)
{
	lockdep_assert_held(&l->lock);
	if (test_bit_acquire(LEASED, &l->flags) || time_before(jiffies, READ_ONCE(l->retry_at)))
		return false;
	forget_all(l);
	clear_bit(BROKEN, &l->flags);
	set_bit(LEASED, &l->flags);
	if (take_leases(l)) {
		leases_are_gone(l);
		return false;
	}
	go_live(l);
	return true;
}

static void remember(struct qcow2_layout *l, const struct iomap *extent)
{
	unsigned long first = extent->offset >> SECTOR_SHIFT;
	unsigned long last = ((extent->offset + extent->length) >> SECTOR_SHIFT) - 1;
	unsigned long distance = (extent->addr >> SECTOR_SHIFT) - first + DISTANCE_BIAS;

	if (l->nr_extents >= MAX_EXTENTS)
		forget_all(l);
	WRITE_ONCE(l->bdev, extent->bdev);
	/* Not seen before @bdev is. */
	smp_wmb();
	if (!mtree_store_range(&l->extents, first, last, xa_mk_value(distance), GFP_NOIO))
		WRITE_ONCE(l->nr_extents, l->nr_extents + 1);
}

/*
 * What the file system says counts as long as the lease is held, which the read
 * section sees to; and a file system may be asked in vain, but not while others have
 * the file: XFS warns when it cannot empty the page cache. Returns whether there was
 * something.
 */
static bool learn(struct qcow2_layout *l)
{
	struct iomap extent = {};
	int idx = qcow2_read_enter(&l->users);
	bool is_known = test_bit(LIVE, &l->flags) &&
			qcow2_extent_find(l->file, READ_ONCE(l->fill_off), &extent) &&
			(!l->bdev || l->bdev == extent.bdev);

	lockdep_assert_held(&l->lock);
	qcow2_read_leave(&l->users, idx);
	if (is_known)
		remember(l, &extent);
	return is_known;
}

/* File systems take this lock of a file for themselves alone: not after each miss. */
static void note_fill(struct qcow2_layout *l, bool was_useful)
{
	l->skip_next = was_useful ? 0 : min(2 * l->skip_next + 1, MAX_SKIP);
	WRITE_ONCE(l->skip, l->skip_next);
}

static void fill(struct work_struct *work)
{
	struct qcow2_layout *l = container_of(work, struct qcow2_layout, fill_work);
	unsigned int noio = memalloc_noio_save();

	mutex_lock(&l->lock);
	if (test_bit(MAY_LEASE, &l->flags) && (test_bit(LIVE, &l->flags) || lease(l)))
		note_fill(l, learn(l));
	mutex_unlock(&l->lock);
	memalloc_noio_restore(noio);
	clear_bit_unlock(FILLING, &l->flags);
}

static bool is_worth_asking(struct qcow2_layout *l, bool is_write)
{
	unsigned int skip = READ_ONCE(l->skip);
	unsigned int writes;

	if (is_write) {
		writes = READ_ONCE(l->write_misses) + 1;
		WRITE_ONCE(l->write_misses, writes);
		if (writes % WRITES_PER_FILL)
			return false;
	}
	if (skip)
		WRITE_ONCE(l->skip, skip - 1);
	return !skip;
}

static void want_fill(struct qcow2_layout *l, u64 host_off, bool is_write)
{
	if (!test_bit(MAY_LEASE, &l->flags) || test_bit(FILLING, &l->flags) ||
	    (!test_bit(LIVE, &l->flags) && time_before(jiffies, READ_ONCE(l->retry_at))) ||
	    !is_worth_asking(l, is_write) || test_and_set_bit_lock(FILLING, &l->flags))
		return;
	WRITE_ONCE(l->fill_off, host_off);
	queue_work(system_unbound_wq, &l->fill_work);
}

/* Bios */

/* A frozen file system gets no writes. */
static bool start_write(struct qcow2_layout *l)
{
	struct super_block *sb = file_inode(l->file)->i_sb;

	if (!sb_start_write_trylock(sb))
		return false;
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	if (!test_bit(WRITTEN, &l->flags))
		set_bit(WRITTEN, &l->flags);
	return true;
}

static void end_write(struct qcow2_layout *l)
{
	struct super_block *sb = file_inode(l->file)->i_sb;

	__sb_writers_acquired(sb, SB_FREEZE_WRITE);
	sb_end_write(sb);
}

static bool direct(struct qcow2_layout *l, struct bio *bio, u64 host_off, u32 *bytes)
{
	unsigned long sector = host_off >> SECTOR_SHIFT;
	struct block_device *bdev;
	u64 distance, left;
	void *value;

	MA_STATE(mas, &l->extents, sector, sector);

	rcu_read_lock();
	value = mas_walk(&mas);
	rcu_read_unlock();
	if (!value)
		return false;
	smp_rmb(); /* pairs with remember() */
	bdev = READ_ONCE(l->bdev);
	if (bio->bi_opf & REQ_NOWAIT && !bdev_nowait(bdev))
		return false;
	distance = xa_to_value(value) - DISTANCE_BIAS;
	left = ((u64)mas.last + 1 - sector) << SECTOR_SHIFT;
	*bytes = min_t(u64, *bytes, left);
	bio_set_dev(bio, bdev);
	bio->bi_iter.bi_sector = sector + distance;
	return true;
}

int qcow2_layout_map(struct qcow2_layout *l, struct bio *bio, u64 host_off, u32 *bytes)
{
	bool is_write = op_is_write(bio_op(bio));
	int idx;

	if (!l)
		return -1;
	idx = qcow2_read_enter(&l->users);
	if (test_bit(LIVE, &l->flags) && (!is_write || start_write(l))) {
		if (direct(l, bio, host_off, bytes))
			return idx;
		if (is_write)
			end_write(l);
	}
	qcow2_read_leave(&l->users, idx);
	want_fill(l, host_off, is_write);
	return -1;
}

void qcow2_layout_leave(struct qcow2_layout *l, struct bio *bio, int idx)
{
	if (op_is_write(bio_op(bio)))
		end_write(l);
	qcow2_read_leave(&l->users, idx);
}

/* Our own calls into the file system */

void qcow2_layout_enter_fs(struct qcow2_layout *l, struct qcow2_layout_caller *caller)
{
	if (!l)
		return;
	caller->task = current;
	spin_lock(&l->callers_lock);
	list_add(&caller->node, &l->callers);
	spin_unlock(&l->callers_lock);
}

void qcow2_layout_exit_fs(struct qcow2_layout *l, struct qcow2_layout_caller *caller)
{
	if (!l)
		return;
	spin_lock(&l->callers_lock);
	list_del(&caller->node);
	spin_unlock(&l->callers_lock);
}

/* A damaged image may have entries for clusters that are free: wait for I/O on them. */
static void forget(struct qcow2_layout *l, u64 host_off, u64 bytes)
{
	unsigned long first = host_off >> SECTOR_SHIFT;
	unsigned long last = ((host_off + bytes) >> SECTOR_SHIFT) - 1;
	unsigned long index = first;

	if (!bytes || !mt_find(&l->extents, &index, last))
		return;
	if (mtree_store_range(&l->extents, first, last, NULL, GFP_NOIO))
		forget_all(l);
	else
		synchronize_srcu(&l->users);
}

void qcow2_layout_begin_change(struct qcow2_layout *l, struct qcow2_layout_caller *caller,
			       u64 host_off, u64 bytes)
{
	if (!l)
		return;
	mutex_lock(&l->lock);
	forget(l, host_off, bytes);
	qcow2_layout_enter_fs(l, caller);
}

void qcow2_layout_end_change(struct qcow2_layout *l, struct qcow2_layout_caller *caller)
{
	if (!l)
		return;
	qcow2_layout_exit_fs(l, caller);
	mutex_unlock(&l->lock);
}

/* Not while the file system is frozen: the next flush does it. */
void qcow2_layout_touch(struct qcow2_layout *l)
{
	if (!l || !test_bit(WRITTEN, &l->flags) || !file_start_write_trylock(l->file))
		return;
	clear_bit(WRITTEN, &l->flags);
	file_update_time(l->file);
	file_end_write(l->file);
}

int qcow2_layout_extents(const struct qcow2_layout *l)
{
	return l && test_bit(LIVE, &l->flags) ? READ_ONCE(l->nr_extents) : -1;
}

/* Life */

void qcow2_layout_start(struct qcow2_layout *l)
{
	if (l)
		set_bit(MAY_LEASE, &l->flags);
}

void qcow2_layout_stop(struct qcow2_layout *l)
{
	if (!l)
		return;
	mutex_lock(&l->lock);
	clear_bit(MAY_LEASE, &l->flags);
	mutex_unlock(&l->lock);
	end_lease(l);
	wait_event(l->returned, !test_bit_acquire(LEASED, &l->flags));
	flush_work(&l->return_work);
	qcow2_layout_touch(l);
}

int qcow2_layout_open(struct file *file, struct qcow2_layout **layout)
{
	struct qcow2_layout *l;

	*layout = NULL;
	if (!qcow2_extents_are_known(file))
		return 0;
	l = kzalloc(sizeof(*l), GFP_KERNEL);
	if (!l)
		return -ENOMEM;
	if (init_srcu_struct(&l->users)) {
		kfree(l);
		return -ENOMEM;
	}
	l->file = file;
	mt_init_flags(&l->extents, EXTENTS_FLAGS);
	l->retry_at = jiffies;
	INIT_WORK(&l->fill_work, fill);
	INIT_WORK(&l->return_work, return_leases);
	init_waitqueue_head(&l->returned);
	mutex_init(&l->lock);
	l->layout_owner.layout = l;
	l->open_owner.layout = l;
	spin_lock_init(&l->callers_lock);
	INIT_LIST_HEAD(&l->callers);
	*layout = l;
	return 0;
}

void qcow2_layout_close(struct qcow2_layout *l)
{
	if (!l)
		return;
	cancel_work_sync(&l->fill_work);
	mtree_destroy(&l->extents);
	cleanup_srcu_struct(&l->users);
	kfree(l);
}
