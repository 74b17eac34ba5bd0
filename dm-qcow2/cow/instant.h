/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An instant: the disk as it was when it was frozen stays readable, without a copy.
 *
 *	      message                          thaw, suspend, no memory, no space
 *	(none) -----> beginning ----> LASTS ----------------------------------> ending ----> (none)
 *	               |  commit       redirects                                 |  commit
 *	               +-- the instant                                           +-- clusters dropped
 *
 * While it lasts no write goes in place to a host cluster that the disk of the instant shows,
 * unless what it covers is in memory (saved.h): it takes a fresh one, by a fill, as if the old one
 * were shared. L2 pages are kept as they were before the first change of an entry, and host clusters
 * that only such a page points at are not dropped. Whoever looks for the disk of the instant takes a
 * kept page where there is one, else the present one, and then makes sure that there is none yet.
 *
 * Each host cluster that an entry lets go of is dropped once, and who does it is decided under the
 * lock of the entry's page: if the kept page has it, who ends the instant, else who changes it.
 *
 * Lock order: page lock -> lock of the fills; the xarray's lock nests in a page lock.
 */
#ifndef DM_QCOW2_INSTANT_H
#define DM_QCOW2_INSTANT_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "cow.h"
#include "saved.h"

struct qcow2_bitmap_cut;

/* Of memory that one may take if nothing else is said. */
#define QCOW2_INSTANT_MIB	256U
#define QCOW2_INSTANT_MAX_MIB	65536U

/**
 * enum qcow2_instant_state - whether it lasts, or why not
 * @QCOW2_INSTANT_LASTS: it does
 * @QCOW2_INSTANT_THAWED: somebody wanted its end
 * @QCOW2_INSTANT_SUSPENDED: the mapped device was suspended
 * @QCOW2_INSTANT_NO_MEMORY: more L2 pages would have to be kept than may be
 * @QCOW2_INSTANT_NO_SPACE: the guest needs the host clusters
 */
enum qcow2_instant_state {
	QCOW2_INSTANT_LASTS,
	QCOW2_INSTANT_THAWED,
	QCOW2_INSTANT_SUSPENDED,
	QCOW2_INSTANT_NO_MEMORY,
	QCOW2_INSTANT_NO_SPACE,
};

/**
 * struct qcow2_instant - an instant of a disk
 * @refs: one for the image until its end is over, one for each who reads it
 * @img: the image; for who ends it
 * @readable: the same, but NULL when it ends. RCU, then a read section of qcow2_image.inflight
 * @number: of the mapped device
 * @node: in the list of all that can be found
 * @state: enum qcow2_instant_state; changes once, under the lock of the fills
 * @sealed: fills up to this number were there before: they take no more writes; constant
 * @pages: struct qcow2_mpage by index: L2 pages as they were
 * @nr_pages: their number, and that of saved blocks
 * @max_pages: how many there may be
 * @saved: blocks that are overwritten in place
 * @passed: up to there nobody wants to see it any more, in bytes; grows, under @ending
 * @ending: held by who ends it
 * @is_ended: nothing is left of it but what its readers have; under @ending
 * @cut: bitmaps as they were, or NULL when there are none; constant
 * @work: ends it
 */
struct qcow2_instant {
	struct kref refs;
	struct qcow2_image *img;
	struct qcow2_image __rcu *readable;
	dev_t number;
	struct list_head node;
	enum qcow2_instant_state state;
	u64 sealed;
	struct xarray pages;
	atomic_long_t nr_pages;
	unsigned long max_pages;
	struct qcow2_saved saved;
	u64 passed;
	struct mutex ending;
	bool is_ended;
	struct qcow2_bitmap_cut *cut;
	struct work_struct work;
};

/**
 * qcow2_instant_begin - let a disk stay readable as it is now
 * @img: the image
 * @number: of its mapped device
 * @mib: how much memory that may take
 *
 * What was written before is in it, and what is written from the instant on is not; a write under
 * way may be. Sleeps for a commit. Return: 0; -EBUSY when there is one; -EINVAL when @mib is none;
 * -EOPNOTSUPP when its data is in a data file, in clusters smaller than blocks that are saved; -EAGAIN when the image is not active, or about to be
 * so no more; -ENOMEM; -ENOSPC; -EIO; -EINTR.
 */
int qcow2_instant_begin(struct qcow2_image *img, dev_t number, u64 mib);

/**
 * qcow2_instant_thaw - let go of the instant
 * @img: the image
 * @why: if it lasts still
 *
 * Sleeps for a commit. Return: 0; -ENODATA when there is none; -EIO when the image has failed, and
 * fills are left that are looked for until it is deactivated: what has been kept goes then.
 */
int qcow2_instant_thaw(struct qcow2_image *img, enum qcow2_instant_state why);

/**
 * qcow2_instant_give_up - the instant lasts no longer
 * @img: the image
 * @why: says so
 *
 * Any context but an interrupt: the rest is done later.
 *
 * Return: QCOW2_GAVE_UP when it lasted until now: data is written in place again;
 * QCOW2_IS_ENDING when it had ended, and clusters may become free; QCOW2_HAS_NOTHING.
 */
enum qcow2_give_up qcow2_instant_give_up(struct qcow2_image *img, enum qcow2_instant_state why);

/**
 * qcow2_instant_find - the instant of a mapped device
 * @number: its number
 *
 * Return: with a reference, or NULL.
 */
struct qcow2_instant *qcow2_instant_find(dev_t number);
void qcow2_instant_put(struct qcow2_instant *instant);

/* Whether it is not written to what the instant shows. */
static inline bool qcow2_instant_redirects(const struct qcow2_instant *instant)
{
	return READ_ONCE(instant->state) == QCOW2_INSTANT_LASTS;
}

/**
 * qcow2_is_frozen - whether an instant lasts
 * @img: the image
 *
 * Any context. In a read section of qcow2_image.inflight what is not frozen stays so for who begins
 * an instant: that waits for the section's end.
 */
static inline bool qcow2_is_frozen(const struct qcow2_image *img)
{
	const struct qcow2_instant *instant;
	bool result;

	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	result = instant && qcow2_instant_redirects(instant);
	rcu_read_unlock();
	return result;
}

/* Whether what was read was so at the instant: to be asked when it has been read. */
static inline bool qcow2_instant_lasts(const struct qcow2_instant *instant)
{
	/* pairs with stop(): who writes in place has seen the end */
	smp_rmb();
	return qcow2_instant_redirects(instant);
}

/* Likewise of the disk from an offset on. */
static inline bool qcow2_instant_shows(const struct qcow2_instant *instant, u64 guest_off)
{
	/* With the barrier of that: whoever wrote unsaved blocks had seen it. */
	return qcow2_instant_lasts(instant) && guest_off >= READ_ONCE(instant->passed);
}

/**
 * qcow2_instant_pass - nobody wants to see the beginning of the disk any more
 * @instant: the instant
 * @guest_off: how much of it; less than before is nothing
 *
 * The guest's writes to data there go in place, and reads of it fail. Sleeps.
 *
 * Return: 0, -ENODATA when it has ended, or -EBUSY: another one of these is under way.
 */
int qcow2_instant_pass(struct qcow2_instant *instant, u64 guest_off);

/**
 * qcow2_instant_page - the L2 page of the instant, if it is another one than now
 * @instant: the instant
 * @index: of the page
 *
 * In a read section of RCU or qcow2_image.inflight, or with a lock of a page or of the fills.
 * Return: the page, or NULL.
 */
struct qcow2_mpage *qcow2_instant_page(struct qcow2_instant *instant, u64 index);

/**
 * qcow2_instant_has_data - whether a host cluster must not be written to
 * @img: the image
 * @p: the L2 page
 * @slot: of the entry
 * @e: the entry, as it is now
 *
 * Takes no lock. Return: true when an instant lasts, and has data in the host cluster of @e.
 */
bool qcow2_instant_has_data(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			    struct qcow2_l2_entry e);

/**
 * qcow2_instant_keep_page - an entry of a page is about to change
 * @img: the image
 * @p: the page, with its lock held
 *
 * Called by all who change an L2 entry, before they do.
 */
void qcow2_instant_keep_page(struct qcow2_image *img, const struct qcow2_mpage *p);

/**
 * qcow2_instant_holds - whether what an entry lets go of is not to be dropped
 * @img: the image
 * @p: the page, with its lock held, behind qcow2_instant_keep_page()
 * @slot: of the entry
 * @word: first word of the entry
 */
bool qcow2_instant_holds(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot, u64 word);

/* What that will say, most likely; without the lock. */
bool qcow2_instant_will_hold(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			     u64 word);

/**
 * qcow2_instant_amend - an entry changes for what was written before the instant
 * @img: the image
 * @p: the page, with its lock held
 * @slot: of the entry
 * @e: what it becomes
 * @number: of the fill that has what was written
 *
 * Return: false when that was not written before.
 */
bool qcow2_instant_amend(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
			 struct qcow2_l2_entry e, u64 number);

#endif /* DM_QCOW2_INSTANT_H */
