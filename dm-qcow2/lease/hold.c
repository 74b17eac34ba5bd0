// SPDX-License-Identifier: GPL-2.0-only
/*
 * The leases of an image file: how they are taken, broken, and given back.
 *
 * Two are held while blocks are used, or none:
 *  - FL_LAYOUT, for what the file system does to the file;
 *  - a lease on opens, because ext4 breaks no layouts, and neither does XFS_IOC_SWAPEXT:
 *    but whoever takes blocks from a file has it open, or sets its size. It is granted only if
 *    nobody else has it open; that nobody shares our open file description is for us to
 *    see. It also means that no page cache and no other writer has to agree with us.
 *    It is a plain lease on XFS, which breaks layouts when a size is set, and becomes
 *    a delegation on ext4, where notify_change() has to break it.
 *
 *	          fill                  broken, idle, or stop
 *	nothing --------> leases held ----------------------> no new I/O
 *	   ^              I/O goes past                           | return_leases(): I/O
 *	   |                                                      | has ended, first writes
 *	   +---------- leases given back, breaker goes on --------+ are converted
 *
 * An open that does not wait (O_NONBLOCK) fails where a lease is, so none are kept while nothing
 * goes past the file system. That is seen without a word from the bios that do:
 *
 *	LIVE <-----------------> DOZING --------> no new I/O
 *	      one period later            another
 *	      the next bio
 *
 * Whoever breaks a lease may hold the file system back from being frozen, and lease.lock
 * may be held by a task that waits for a thaw: so return_leases() does not take it, and
 * waits for bios and a conversion only.
 */
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/module.h>

#include "compat.h"

#include "fs-extent.h"
#include "internal.h"

/* GNU tar, file, lsattr and truncate open files so. */
static unsigned int lease_idle_secs = 3;
module_param(lease_idle_secs, uint, 0644);
MODULE_PARM_DESC(lease_idle_secs,
		 "leases are given back after one to two times so many seconds without I/O; 0: never");

/* How long to leave a file alone that somebody else has opened. */
#define RETRY_DELAY	HZ
#define MAX_IDLE_SECS	86400U

static struct qcow2_lease *lease_layout(const struct file_lease *fl)
{
	const struct qcow2_lease_owner *owner = fl->c.flc_owner;

	return owner->lease;
}

/* In one step: whoever ends the leases finds them in one of their states. */
static bool change_state(struct qcow2_lease *l, unsigned long from, unsigned long to)
{
	unsigned long flags = READ_ONCE(l->flags);

	do {
		if (!(flags & from))
			return false;
	} while (!try_cmpxchg(&l->flags, &flags, (flags & ~from) | to));
	return true;
}

static void end_in_state(struct qcow2_lease *l, unsigned long states)
{
	if (change_state(l, states, 0))
		queue_work(system_dfl_wq, &l->return_work);
}

void qcow2_lease_end(struct qcow2_lease *l)
{
	end_in_state(l, BIT(LIVE) | BIT(DOZING));
}

/* Idle */

bool qcow2_lease_wake(struct qcow2_lease *l)
{
	return change_state(l, BIT(DOZING), BIT(LIVE));
}

static void watch_for_io(struct qcow2_lease *l)
{
	unsigned int secs = min(READ_ONCE(lease_idle_secs), MAX_IDLE_SECS);

	if (secs)
		queue_delayed_work(system_dfl_wq, &l->idle_work, secs * HZ);
}

static void look_for_io(struct work_struct *work)
{
	struct qcow2_lease *l =
		container_of(to_delayed_work(work), struct qcow2_lease, idle_work);

	if (change_state(l, BIT(LIVE), BIT(DOZING)))
		watch_for_io(l);
	else
		end_in_state(l, BIT(DOZING));
}

/* Breaking, taking, returning */

/* Under flc_lock. The zeroes are for vfs not to take the lease by itself, ever. */
static bool break_lease_of_ours(struct file_lease *fl)
{
	struct qcow2_lease *l = lease_layout(fl);

	fl->fl_break_time = 0;
	fl->fl_downgrade_time = 0;
	set_bit(BROKEN, &l->flags);
	smp_mb__after_atomic(); /* pairs with go_live() */
	qcow2_lease_end(l);
	return false;
}

static bool is_own_call(struct file_lease *fl)
{
	struct qcow2_lease *l = lease_layout(fl);
	struct qcow2_lease_caller *caller;
	bool is_own = false;

	spin_lock(&l->callers_lock);
	list_for_each_entry(caller, &l->callers, node)
		if (caller->task == current)
			is_own = true;
	spin_unlock(&l->callers_lock);
	return is_own;
}

#ifdef QCOW2_HAS_OPEN_CONFLICT
/* The lease on opens is for a file that is open here alone; that on layouts, F_RDLCK, for any. */
static int find_other_opens(struct file *file, int type)
{
	const struct inode *inode = file_inode(file);
	bool is_writer = file->f_mode & FMODE_WRITE;

	if (type == F_WRLCK && (atomic_read(&inode->i_writecount) != is_writer ||
				atomic_read(&inode->i_readcount) != !is_writer))
		return -EAGAIN;
	return 0;
}
#endif

/*
 * Under flc_lock, before anybody has seen the lease. What breaks a plain lease breaks a
 * delegation, too: opens and truncate(2). And notify_change() does, by which overlayfs and the NFS
 * server set a size of a file that they do not open. It is not asked for as a delegation: then vfs
 * would look for no other opens, the NFS server would keep those that it caches, and the lock
 * of the inode, which I/O through the file system has most of the time, would have to be free.
 */
static void become_delegation(struct file_lease *fl, void **priv)
{
	fl->c.flc_flags = FL_DELEG;
}

static const struct lease_manager_operations lease_ops = {
	.lm_break = break_lease_of_ours,
	.lm_change = lease_modify,
	.lm_breaker_owns_lease = is_own_call,
#ifdef QCOW2_HAS_OPEN_CONFLICT
	.lm_open_conflict = find_other_opens,
#endif
};

static const struct lease_manager_operations delegation_ops = {
	.lm_break = break_lease_of_ours,
	.lm_change = lease_modify,
	.lm_setup = become_delegation,
	.lm_breaker_owns_lease = is_own_call,
#ifdef QCOW2_HAS_OPEN_CONFLICT
	.lm_open_conflict = find_other_opens,
#endif
};

static int take_lease(struct qcow2_lease *l, struct qcow2_lease_owner *owner, int type,
		      unsigned int flags, const struct lease_manager_operations *ops)
{
	struct file_lease *fl = locks_alloc_lease();
	int err;

	if (!fl)
		return -ENOMEM;
	locks_init_lease(fl);
	fl->fl_lmops = ops;
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

static void drop_lease(struct qcow2_lease *l, struct qcow2_lease_owner *owner)
{
	void *priv = owner;

	kernel_setlease(l->file, F_UNLCK, NULL, &priv);
}

/* A descriptor that somebody kept cannot break a lease, nor be seen by vfs. */
static bool is_shared(const struct qcow2_lease *l)
{
	return file_count(l->file) != 1;
}

/*
 * Who has found no delegation to break, and goes on to change the file, holds this lock until that
 * is done: vfs takes it in between when it is asked for a delegation.
 */
static void wait_for_changes(const struct qcow2_lease *l)
{
	inode_lock(file_inode(l->file));
	inode_unlock(file_inode(l->file));
}

static int take_open_lease(struct qcow2_lease *l)
{
	int err;

	if (qcow2_extents_break_layouts(l->file))
		return take_lease(l, &l->open_owner, F_WRLCK, FL_LEASE, &lease_ops);
	err = take_lease(l, &l->open_owner, F_WRLCK, FL_LEASE, &delegation_ops);
	if (!err)
		wait_for_changes(l);
	return err;
}

static int take_leases(struct qcow2_lease *l)
{
	int err;

	if (is_shared(l))
		return -EAGAIN;
	err = take_open_lease(l);
	if (err)
		return err;
	err = take_lease(l, &l->layout_owner, F_RDLCK, FL_LAYOUT, &lease_ops);
	if (err)
		drop_lease(l, &l->open_owner);
	return err;
}

static void leave_alone(struct qcow2_lease *l)
{
	WRITE_ONCE(l->retry_at, jiffies + RETRY_DELAY);
}

static void leases_are_gone(struct qcow2_lease *l)
{
	clear_bit_unlock(LEASED, &l->flags);
	smp_mb__after_atomic(); /* for waitqueue_active() in wake_up() */
	wake_up(&l->returned);
}

static void return_leases(struct work_struct *work)
{
	struct qcow2_lease *l = container_of(work, struct qcow2_lease, return_work);

	synchronize_srcu(&l->users);
	qcow2_unwritten_convert(&l->unwritten, NULL);
	drop_lease(l, &l->layout_owner);
	drop_lease(l, &l->open_owner);
	if (test_bit(BROKEN, &l->flags))
		leave_alone(l);
	leases_are_gone(l);
}

void qcow2_lease_start_anew(struct qcow2_lease *l)
{
	lockdep_assert_held(&l->lock);
	qcow2_lease_end(l);
	wait_event(l->returned, !test_bit_acquire(LEASED, &l->flags));
}

/* A lease may be broken as soon as it is there. */
static void go_live(struct qcow2_lease *l)
{
	set_bit(LIVE, &l->flags);
	smp_mb__after_atomic(); /* pairs with break_lease_of_ours() */
	if (test_bit(BROKEN, &l->flags))
		qcow2_lease_end(l);
	else
		watch_for_io(l);
}

bool qcow2_lease_take(struct qcow2_lease *l)
{
	lockdep_assert_held(&l->lock);
	if (test_bit_acquire(LEASED, &l->flags) ||
	    time_before(jiffies, READ_ONCE(l->retry_at)) ||
	    qcow2_unwritten_convert(&l->unwritten, NULL))
		return false;
	qcow2_lease_forget_all(l);
	clear_bit(BROKEN, &l->flags);
	set_bit(LEASED, &l->flags);
	if (take_leases(l)) {
		leave_alone(l);
		leases_are_gone(l);
		return false;
	}
	go_live(l);
	return true;
}

void qcow2_lease_add_caller(struct qcow2_lease *l, struct qcow2_lease_caller *caller)
{
	caller->task = current;
	spin_lock(&l->callers_lock);
	list_add(&caller->node, &l->callers);
	spin_unlock(&l->callers_lock);
}

void qcow2_lease_remove_caller(struct qcow2_lease *l, struct qcow2_lease_caller *caller)
{
	spin_lock(&l->callers_lock);
	list_del(&caller->node);
	spin_unlock(&l->callers_lock);
}

void qcow2_lease_hold_init(struct qcow2_lease *l)
{
	INIT_WORK(&l->return_work, return_leases);
	INIT_DELAYED_WORK(&l->idle_work, look_for_io);
	init_waitqueue_head(&l->returned);
	l->retry_at = jiffies;
	l->layout_owner.lease = l;
	l->open_owner.lease = l;
	spin_lock_init(&l->callers_lock);
	INIT_LIST_HEAD(&l->callers);
}
