// SPDX-License-Identifier: GPL-2.0-only
/*
 * Publishing fills: entries get to point at clusters that are whole, by a commit, by whoever pulls them, or by
 * whoever needs room for another one.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "meta/trace.h"

#include "fill-internal.h"
#include "instant.h"
#include "test-hold.h"
#include "test-skip.h"

/* How many are closed at a time, to be copied together, unless few are wanted. */
#define CLOSE_TOGETHER	16

/* How many whole ones the maker of a new one publishes, and among how many it looks for them. */
#define PUBLISH_AHEAD	2
#define PUBLISH_TRIES	8

void qcow2_fills_requeue(struct qcow2_image *img, struct list_head *works)
{
	struct qcow2_work *work, *next;

	list_for_each_entry_safe(work, next, works, node)
		img->space->requeue(img, work);
}

/*
 * Whether nothing is to be copied. Of a fill of subclusters more may be to come, so it stays
 * for as long as there is room for others.
 */
static bool is_complete(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	if (!qcow2_has_subclusters(&fs->img->geo))
		return bitmap_full(f->valid, qcow2_fill_sectors(fs->img, f));
	return f->whole && (f->whole == U32_MAX || fs->count >= fs->limit / 2) &&
	       qcow2_fill_wanted(fs->img, f) == f->whole;
}

/*
 * Writes that looked the cluster up before it was kept for zeroes, or before the fill moved it, may
 * reach it late; to one that nothing is copied from they may.
 */
static bool has_old_writes(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	return f->may_be_late && (f->is_in_place || !is_complete(fs, f)) &&
	       !poll_state_synchronize_srcu(&fs->img->inflight, f->kept);
}

/* What is not data now is what it was: zeroes, or what is below. */
static struct qcow2_l2_entry new_entry(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	struct qcow2_l2_entry e = { .word = f->host_off | QCOW2_OFLAG_COPIED };
	u32 allocated;

	if (!qcow2_has_subclusters(&img->geo))
		return e;
	allocated = qcow2_fill_wanted(img, f);
	if (f->is_in_place)
		allocated |= qcow2_l2_allocated(f->old);
	e.bitmap = qcow2_l2_bitmap(allocated, qcow2_l2_zero(f->old) & ~allocated);
	return e;
}

/*
 * The entry is about to change. What a fill has that was there before the instant belongs to the
 * instant, too. Return: whether the host clusters of the old entry are nobody's then.
 */
static bool change_frozen(struct qcow2_image *img, const struct qcow2_fill *f)
{
	if (likely(!rcu_access_pointer(img->instant)) ||
	    qcow2_instant_amend(img, f->page, qcow2_fill_slot(img, f), new_entry(img, f), f->number))
		return true;
	qcow2_instant_keep_page(img, f->page);
	return !qcow2_instant_holds(img, f->page, qcow2_fill_slot(img, f), f->old.word);
}

/* The entry, before the fill is forgotten: see qcow2_fill_find(). */
static bool set_entry(struct qcow2_image *img, struct qcow2_fill *f)
{
	struct qcow2_mpage *p = f->page;
	bool drops;

	qcow2_test_hold(QCOW2_HOLD_ENTRY);
	spin_lock(&p->lock);
	/* Of an image that is damaged, what is below may look otherwise the next time. */
	if (unlikely(!qcow2_fill_is_old(img, f))) {
		spin_unlock(&p->lock);
		return false;
	}
	if (!qcow2_test_skips(QCOW2_STEP_DATA_SEQ))
		p->data_seq = atomic64_inc_return(&img->commit->data_seq);
	drops = change_frozen(img, f) && !f->is_in_place;
	qcow2_mpage_mark_dirty(img, p);
	qcow2_mpage_set_l2_entry(&img->geo, p, qcow2_fill_slot(img, f), new_entry(img, f));
	spin_unlock(&p->lock);
	if (drops)
		qcow2_drops_use(&f->drops, img, f->old.word);
	return true;
}

static void forget(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	hash_del(&f->hash);
	qcow2_fills_set_count(fs, fs->count - 1);
	list_splice_init(&f->waiting, &works);
	if (qcow2_fills_have_room(fs))
		list_splice_tail_init(&fs->waiting, &works);
	spin_unlock_irq(&fs->lock);
	qcow2_fills_requeue(fs->img, &works);
	qcow2_fill_free(f);
}

/* A cluster that nobody has written to successfully, or that is given up. */
static void drop(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	struct qcow2_dropped *d;
	u64 host_off = f->host_off;

	if (f->is_in_place) {
		forget(fs, f);
		return;
	}
	d = kmalloc(sizeof(*d), GFP_NOIO | __GFP_NOFAIL);
	/* A grace period from here on is one for all who have found it. */
	forget(fs, f);
	qcow2_drop(fs->img, d, host_off, 0);
}

/* The flush that wanted it fails. */
static void lose(struct qcow2_fills *fs, struct qcow2_fill *f, int err)
{
	DMERR_LIMIT("%s: write at guest offset %#llx is lost, cannot copy its cluster: error %d",
		    qcow2_name(fs->img), f->cluster << fs->img->geo.cluster_bits, err);
	drop(fs, f);
}

static void reopen(struct qcow2_fills *fs, struct list_head *fills)
{
	struct qcow2_fill *f;
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	list_for_each_entry(f, fills, node) {
		f->is_closed = false;
		list_splice_tail_init(&f->waiting, &works);
	}
	list_splice_init(fills, &fs->open);
	spin_unlock_irq(&fs->lock);
	qcow2_fills_requeue(fs->img, &works);
}

static void reopen_one(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	LIST_HEAD(fills);

	list_add(&f->node, &fills);
	reopen(fs, &fills);
}

/* The oldest one that is not newer than @newest. */
static struct qcow2_fill *close_next(struct qcow2_fills *fs, u64 newest)
{
	struct qcow2_fill *f;

	spin_lock_irq(&fs->lock);
	f = list_first_entry_or_null(&fs->open, struct qcow2_fill, node);
	if (f && f->number <= newest) {
		f->is_closed = !qcow2_test_skips(QCOW2_STEP_CLOSED);
		list_del_init(&f->node);
	} else {
		f = NULL;
	}
	spin_unlock_irq(&fs->lock);
	return f;
}

static bool has_writes(struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	bool result;

	spin_lock_irq(&fs->lock);
	result = f->nr_writes;
	spin_unlock_irq(&fs->lock);
	return result;
}

/* Of fills that are closed. */
static void wait_for_writes(struct qcow2_fills *fs, struct list_head *fills)
{
	struct qcow2_fill *f;

	if (qcow2_test_skips(QCOW2_STEP_WRITES_END))
		return;
	list_for_each_entry(f, fills, node) {
		wait_event(fs->wait, !has_writes(fs, f));
		/* The guest may wait for it. */
		if (unlikely(has_old_writes(fs, f)))
			synchronize_srcu_expedited(&fs->img->inflight);
	}
}

/*
 * Some fills, whose copies are under way together. Return: how many there were.
 */
static unsigned int close_some(struct qcow2_fills *fs, u64 newest, struct list_head *fills)
{
	unsigned int count, most = READ_ONCE(fs->nr_few) ? QCOW2_FEW_FILLS : CLOSE_TOGETHER;
	struct qcow2_fill *f;

	for (count = 0; count < most; count++) {
		f = close_next(fs, newest);
		if (!f)
			break;
		list_add_tail(&f->node, fills);
	}
	wait_for_writes(fs, fills);
	return count;
}

/* Likewise of those that are pulled. */
static unsigned int close_pulled(struct qcow2_fills *fs, struct list_head *fills)
{
	struct qcow2_fill *f, *next;
	unsigned int count = 0;

	spin_lock_irq(&fs->lock);
	list_for_each_entry_safe(f, next, &fs->open, node) {
		if (!f->is_pulled)
			continue;
		f->is_closed = true;
		list_move_tail(&f->node, fills);
		if (++count == CLOSE_TOGETHER)
			break;
	}
	spin_unlock_irq(&fs->lock);
	wait_for_writes(fs, fills);
	return count;
}

/* In a test build only: that it is there is forgotten before its entry is set. */
static void hide(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	spin_lock_irq(&fs->lock);
	hash_del(&f->hash);
	spin_unlock_irq(&fs->lock);
}

/* Return: 0 when it is gone, or a negative errno. */
static int publish(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	if (qcow2_fill_is_unwritten(fs->img, f) && !f->is_pulled) {
		drop(fs, f);
		return 0;
	}
	if (f->err)
		return f->err;
	if (qcow2_test_skips(QCOW2_STEP_ENTRY_FIRST))
		hide(fs, f);
	if (!set_entry(fs->img, f))
		return -EUCLEAN;
	forget(fs, f);
	return 0;
}

/* Those who wait for another fill to go have waited in vain: it would be an endless wait. */
static void fail_waiting(struct qcow2_fills *fs, int err)
{
	struct qcow2_work *work;
	struct qcow2_fill *f;
	LIST_HEAD(works);
	int bucket;

	spin_lock_irq(&fs->lock);
	/* No commit closes one of a failed image, and those that are sealed have some. */
	if (qcow2_failed(fs->img))
		hash_for_each(fs->by_cluster, bucket, f, hash)
			list_splice_tail_init(&f->waiting, &works);
	list_splice_tail_init(&fs->waiting, &works);
	list_splice_tail_init(&fs->changes, &works);
	spin_unlock_irq(&fs->lock);
	list_for_each_entry(work, &works, node)
		work->err = err;
	qcow2_fills_requeue(fs->img, &works);
}

/* Whoever wants to change an entry itself, and met a fill that is gone now, most likely. */
static void let_changes_try(struct qcow2_fills *fs)
{
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	list_splice_init(&fs->changes, &works);
	spin_unlock_irq(&fs->lock);
	qcow2_fills_requeue(fs->img, &works);
}

/*
 * Fills that are closed. @failed gets those that cannot be published, with the reason in @err.
 * @may_wait: for space of the host, for those that somebody has written to.
 */
static void publish_some(struct qcow2_fills *fs, struct list_head *fills, bool may_wait,
			 struct list_head *failed)
{
	struct qcow2_fill *f, *next;
	int err;

	if (!qcow2_test_skips(QCOW2_STEP_COPY))
		qcow2_fills_copy(fs, fills, may_wait);
	list_for_each_entry_safe(f, next, fills, node) {
		list_del_init(&f->node);
		trace_qcow2_fill(fs->img, f->cluster, f->host_off, f->err);
		err = publish(fs, f);
		if (!err)
			continue;
		f->err = err;
		list_add_tail(&f->node, failed);
	}
}

/* It is not copied, after all: whoever has pulled it is told, whoever it was that tried. */
static void note_dropped(struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	lockdep_assert_held(&fs->publishing);
	fs->drop_err = f->err;
	WRITE_ONCE(fs->dropped, fs->dropped + 1);
}

/* What was pulled is a hole again. */
static void drop_pulled(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	note_dropped(fs, f);
	list_del_init(&f->node);
	drop(fs, f);
}

/*
 * What is to become of those that could not be published by a commit. Without memory they stay.
 * What was pulled and not written to is what it was. Return: the first error of another one.
 */
static int judge_failed(struct qcow2_fills *fs, struct list_head *failed)
{
	struct qcow2_fill *f, *next;
	int first = 0;

	list_for_each_entry_safe(f, next, failed, node) {
		if (qcow2_fill_is_unwritten(fs->img, f)) {
			drop_pulled(fs, f);
			continue;
		}
		first = first ?: f->err;
		if (f->err == -ENOMEM)
			continue;
		if (f->is_pulled)
			note_dropped(fs, f);
		list_del_init(&f->node);
		lose(fs, f, f->err);
	}
	return first;
}

static int publish_all(struct qcow2_fills *fs)
{
	LIST_HEAD(failed);
	int err, first = 0;
	LIST_HEAD(fills);
	LIST_HEAD(kept);
	u64 newest;

	lockdep_assert_held(&fs->publishing);
	spin_lock_irq(&fs->lock);
	newest = fs->newest;
	spin_unlock_irq(&fs->lock);
	while (close_some(fs, newest, &fills)) {
		publish_some(fs, &fills, true, &failed);
		err = judge_failed(fs, &failed);
		first = first ?: err;
		list_splice_tail_init(&failed, &kept);
	}
	qcow2_fills_free_bufs(fs);
	if (!list_empty(&kept))
		fail_waiting(fs, -ENOMEM);
	reopen(fs, &kept);
	return first;
}

/*
 * As judge_failed(), but what somebody has written to is left to the next commit: who flushes is to
 * be told, and nobody else.
 */
static int judge_pulled(struct qcow2_fills *fs, struct list_head *failed)
{
	struct qcow2_fill *f, *next;
	int first = 0;

	list_for_each_entry_safe(f, next, failed, node) {
		first = first ?: f->err;
		if (qcow2_fill_is_unwritten(fs->img, f)) {
			drop_pulled(fs, f);
			continue;
		}
		note_dropped(fs, f);
		f->err = 0;
		f->is_pulled = false;
	}
	reopen(fs, failed);
	return first;
}

int qcow2_fills_publish_pulled(struct qcow2_image *img, unsigned long dropped)
{
	struct qcow2_fills *fs = img->fills;
	int err, first = 0;
	LIST_HEAD(failed);
	LIST_HEAD(fills);

	err = mutex_lock_interruptible(&fs->publishing);
	if (err)
		return err;
	if (qcow2_failed(img))
		first = -EIO;
	while (!qcow2_failed(img) && close_pulled(fs, &fills)) {
		publish_some(fs, &fills, false, &failed);
		err = judge_pulled(fs, &failed);
		first = first ?: err;
	}
	if (!first && fs->dropped != dropped)
		first = fs->drop_err;
	qcow2_fills_free_bufs(fs);
	mutex_unlock(&fs->publishing);
	return first;
}

unsigned long qcow2_fills_dropped(const struct qcow2_image *img)
{
	return READ_ONCE(img->fills->dropped);
}

static int try_publish(struct qcow2_fills *fs)
{
	struct qcow2_image *img = fs->img;
	int err;

	if (qcow2_failed(img)) {
		fail_waiting(fs, -EIO);
		return -EIO;
	}
	if (!smp_load_acquire(&img->commit->nr_fills)) /* pairs with qcow2_fills_set_count() */
		return 0;
	if (qcow2_test_skips(QCOW2_STEP_PUBLISHERS_EXCLUDED))
		return publish_all(fs);
	mutex_lock(&fs->publishing);
	err = publish_all(fs);
	mutex_unlock(&fs->publishing);
	return err;
}

int qcow2_fills_publish(struct qcow2_image *img)
{
	int err = try_publish(img->fills);

	let_changes_try(img->fills);
	return err;
}

/* Ahead of a commit */

static bool is_whole(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	return !f->nr_writes && is_complete(fs, f) && !has_old_writes(fs, f);
}

/* One of the oldest, if it needs no copying. */
static struct qcow2_fill *close_whole(struct qcow2_fills *fs)
{
	struct qcow2_fill *f, *found = NULL;
	unsigned int tries = PUBLISH_TRIES;

	spin_lock_irq(&fs->lock);
	list_for_each_entry(f, &fs->open, node) {
		if (!tries--)
			break;
		if (!is_whole(fs, f))
			continue;
		f->is_closed = true;
		list_del_init(&f->node);
		found = f;
		break;
	}
	spin_unlock_irq(&fs->lock);
	return found;
}

void qcow2_fills_publish_ahead(struct qcow2_fills *fs)
{
	struct qcow2_fill *f;

	/* A commit does it all. */
	if (!mutex_trylock(&fs->publishing))
		return;
	for (int i = 0; i < PUBLISH_AHEAD; i++) {
		f = close_whole(fs);
		if (!f)
			break;
		if (!set_entry(fs->img, f)) {
			/* The commit will tell of it. */
			reopen_one(fs, f);
			break;
		}
		forget(fs, f);
	}
	mutex_unlock(&fs->publishing);
}

/* The end */

void qcow2_fills_abandon(struct qcow2_image *img)
{
	struct qcow2_fills *fs = img->fills;
	struct qcow2_fill *f;

	while ((f = close_next(fs, U64_MAX))) {
		if (qcow2_fill_is_unwritten(img, f)) {
			drop(fs, f);
			continue;
		}
		lose(fs, f, -EIO);
		img->commit->owes_error = true;
	}
	/* Another table may be the one that is asked to flush. */
	if (img->commit->owes_error)
		qcow2_fail(img, "copying clusters", -EIO);
}
