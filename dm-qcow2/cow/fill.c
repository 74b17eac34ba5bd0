// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deferred fill: which writes to clusters that have to be copied are where.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "image/compressed.h"
#include "meta/trace.h"

#include "fill-internal.h"
#include "instant.h"
#include "test-hold.h"
#include "test-skip.h"

/* Bytes of clusters, or of subclusters, that may be fills, and how many at least and at most. */
#define MAX_BYTES	(16ULL << 20)
#define MIN_FILLS	8
#define MAX_FILLS	256

/* How many are closed at a time, to be copied together. */
#define CLOSE_TOGETHER	16

/* How many whole ones the maker of a new one publishes, and among how many it looks for them. */
#define PUBLISH_AHEAD	2
#define PUBLISH_TRIES	8

static struct qcow2_fill *find(struct qcow2_fills *fs, u64 cluster)
{
	struct qcow2_fill *f;

	lockdep_assert_held(&fs->lock);
	hash_for_each_possible(fs->by_cluster, f, hash, cluster)
		if (f->cluster == cluster)
			return f;
	return NULL;
}

static void requeue_all(struct qcow2_image *img, struct list_head *works)
{
	struct qcow2_work *work, *next;

	list_for_each_entry_safe(work, next, works, node)
		img->space->requeue(img, work);
}

static void set_count(struct qcow2_fills *fs, unsigned int count)
{
	lockdep_assert_held(&fs->lock);
	fs->count = count;
	/* Who reads that there are none sees the entries: fills_publish(), count_same() in map.c */
	smp_store_release(&fs->img->commit->nr_fills, count);
	if (count == 1)
		wake_up_all(&fs->img->cache.wait); /* make_room() */
}

/* Publishing */

/* Writes that looked the cluster up before it was kept for zeroes may reach it late. */
static bool has_old_writes(struct qcow2_image *img, const struct qcow2_fill *f)
{
	return f->may_be_late && !poll_state_synchronize_srcu(&img->inflight, f->kept);
}

static u32 slot_of(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	return qcow2_l2_slot(&img->geo, f->cluster << img->geo.cluster_bits);
}

/* An entry that is being changed is another one: who waits for that must not hold the lock. */
static bool is_old(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	struct qcow2_l2_entry now;

	return qcow2_mpage_l2_entry(&img->geo, f->page, slot_of(img, f), &now) &&
	       qcow2_l2_is_equal(now, f->old);
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
	    qcow2_instant_amend(img, f->page, slot_of(img, f), new_entry(img, f), f->number))
		return true;
	qcow2_instant_keep_page(img, f->page);
	return !qcow2_instant_holds(img, f->page, slot_of(img, f), f->old.word);
}

/* The entry, before the fill is forgotten: see qcow2_fill_find(). */
static bool set_entry(struct qcow2_image *img, struct qcow2_fill *f)
{
	struct qcow2_mpage *p = f->page;
	bool drops;

	qcow2_test_hold(QCOW2_HOLD_ENTRY);
	spin_lock(&p->lock);
	/* Of an image that is damaged, what is below may look otherwise the next time. */
	if (unlikely(!is_old(img, f))) {
		spin_unlock(&p->lock);
		return false;
	}
	if (!qcow2_test_skips(QCOW2_STEP_DATA_SEQ))
		p->data_seq = atomic64_inc_return(&img->commit->data_seq);
	drops = change_frozen(img, f) && !f->is_in_place;
	qcow2_mpage_mark_dirty(img, p);
	qcow2_mpage_set_l2_entry(&img->geo, p, slot_of(img, f), new_entry(img, f));
	spin_unlock(&p->lock);
	if (drops)
		qcow2_drops_use(&f->drops, img, f->old.word);
	return true;
}

static void free_fill(struct qcow2_fill *f)
{
	qcow2_drops_free(&f->drops);
	qcow2_mpage_put(f->page);
	kfree(f);
}

static void forget(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	hash_del(&f->hash);
	set_count(fs, fs->count - 1);
	list_splice_init(&f->waiting, &works);
	list_splice_tail_init(&fs->waiting, &works);
	spin_unlock_irq(&fs->lock);
	requeue_all(fs->img, &works);
	free_fill(f);
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
	requeue_all(fs->img, &works);
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
		if (unlikely(has_old_writes(fs->img, f)))
			synchronize_srcu(&fs->img->inflight);
	}
}

/*
 * Some fills, whose copies are under way together. Return: how many there were.
 */
static unsigned int close_some(struct qcow2_fills *fs, u64 newest, struct list_head *fills)
{
	struct qcow2_fill *f;
	unsigned int count;

	for (count = 0; count < CLOSE_TOGETHER; count++) {
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
	requeue_all(fs->img, &works);
}

/* Whoever wants to change an entry itself, and met a fill that is gone now, most likely. */
static void let_changes_try(struct qcow2_fills *fs)
{
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	list_splice_init(&fs->changes, &works);
	spin_unlock_irq(&fs->lock);
	requeue_all(fs->img, &works);
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
	if (!smp_load_acquire(&img->commit->nr_fills)) /* pairs with set_count() */
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

/* Changes of entries */

static bool has_fill(struct qcow2_fills *fs, u64 cluster, u32 count)
{
	lockdep_assert_held(&fs->lock);
	for (u32 i = 0; fs->count && i < count; i++)
		if (find(fs, cluster + i))
			return true;
	return false;
}

bool qcow2_fills_change(struct qcow2_image *img, struct qcow2_mpage *p,
			const struct qcow2_change *c, struct qcow2_work *work)
{
	u32 slot = qcow2_l2_slot(&img->geo, c->cluster << img->geo.cluster_bits);
	struct qcow2_fills *fs = img->fills;
	bool may_change;

	lockdep_assert_held(&p->lock);
	spin_lock_irq(&fs->lock);
	may_change = !has_fill(fs, c->cluster, c->count);
	if (may_change) {
		if (c->is_alike)
			qcow2_mpage_set_alike(&img->geo, p, slot, c->count, c->new[0]);
		for (u32 i = 0; !c->is_alike && i < c->count; i++)
			qcow2_mpage_set_l2_entry(&img->geo, p, slot + i, c->new[i]);
		if (c->gives_back && fs->trims)
			qcow2_trims_add(fs->trims, c->cluster, c->count);
		if (c->keeps_clusters) {
			fs->kept = start_poll_synchronize_srcu(&img->inflight);
			fs->has_kept = true;
		}
	} else {
		list_add_tail(&work->node, &fs->changes);
	}
	spin_unlock_irq(&fs->lock);
	return may_change;
}

bool qcow2_fills_settle(struct qcow2_image *img, u64 cluster, u32 count, struct qcow2_work *work)
{
	struct qcow2_fills *fs = img->fills;
	bool are_gone;

	spin_lock_irq(&fs->lock);
	are_gone = !has_fill(fs, cluster, count);
	if (!are_gone)
		list_add_tail(&work->node, &fs->changes);
	spin_unlock_irq(&fs->lock);
	if (!are_gone)
		qcow2_commit_kick(img);
	return are_gone;
}

/* Publishing ahead */

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

static bool is_whole(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	return !f->nr_writes && is_complete(fs, f) && !has_old_writes(fs->img, f);
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

/* A long write of whole clusters does not have to wait for commits. Does not sleep. */
static void publish_ahead(struct qcow2_fills *fs)
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

/* Writes */

/* No write begins: it is closed, or of before the instant. */
static bool is_shut(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	const struct qcow2_instant *instant;

	instant = rcu_dereference_protected(fs->img->instant, lockdep_is_held(&fs->lock));
	return f->is_closed || (unlikely(instant) && f->number <= instant->sealed);
}

/*
 * Whether a write has seen another entry than the fill has begun on. A subcluster may be data by
 * now, as another fill was published since; then it is written in place, and by others, too. If the
 * fill is closed the write waits for it anyhow, and its entry may be newer.
 */
static bool is_stale(const struct qcow2_fills *fs, const struct qcow2_fill *f,
		     struct qcow2_l2_entry old)
{
	return qcow2_has_subclusters(&fs->img->geo) && !is_shut(fs, f) &&
	       !qcow2_l2_is_equal(f->old, old);
}

static bool is_trimmed(const struct qcow2_fills *fs, u64 cluster)
{
	lockdep_assert_held(&fs->lock);
	return fs->trims && qcow2_trims_has_now(fs->trims, cluster);
}

/*
 * One that is there already, or a place for a new one, for which @fill is NULL. Return:
 * QCOW2_COW_AGAIN for the latter, or when the entry has changed;
 * QCOW2_COW_PARKED when there is neither, and without @work nothing waits then.
 */
static int enter_old(struct qcow2_fills *fs, u64 cluster, struct qcow2_l2_entry old,
		     struct qcow2_work *work, struct qcow2_fill **fill)
{
	int result = QCOW2_COW_AGAIN;
	bool kicks = false;

	spin_lock_irq(&fs->lock);
	*fill = find(fs, cluster);
	if (*fill && unlikely(is_stale(fs, *fill, old)))
		goto unlock;
	if (*fill ? is_shut(fs, *fill) : fs->count >= fs->limit || is_trimmed(fs, cluster)) {
		if (work)
			list_add_tail(&work->node, *fill ? &(*fill)->waiting : &fs->waiting);
		/* Nobody may be at it yet. */
		kicks = !*fill || (!(*fill)->is_closed && !(*fill)->err);
		result = QCOW2_COW_PARKED;
	} else if (*fill) {
		(*fill)->nr_writes++;
		result = QCOW2_COW_READY;
	}
unlock:
	spin_unlock_irq(&fs->lock);
	if (kicks)
		qcow2_commit_kick(fs->img);
	return result;
}

/* Data that would be written in place if it were not frozen. */
static bool is_own_data(const struct qcow2_image *img, struct qcow2_l2_entry e)
{
	/* In a data file all fills are in place, and none is of data. */
	if (img->geo.has_data_file || !(e.word & QCOW2_OFLAG_COPIED))
		return false;
	if (qcow2_has_subclusters(&img->geo))
		return qcow2_l2_allocated(e);
	return qcow2_entry_type(&img->geo, e.word) == QCOW2_ENTRY_DATA;
}

/*
 * Whether an instant has begun or ended since the fill was made. It takes the place of data only as
 * long as nobody writes that in place, and is in its place only if nobody reads it as it was.
 */
static bool suits_instant(struct qcow2_image *img, const struct qcow2_fill *f)
{
	if (likely(!rcu_access_pointer(img->instant)))
		return f->is_in_place || !is_own_data(img, f->old);
	if (!f->is_in_place && !is_own_data(img, f->old))
		return true;
	return qcow2_instant_has_data(img, f->page, slot_of(img, f), f->old) == !f->is_in_place;
}

static bool add(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	bool is_new;

	spin_lock_irq(&fs->lock);
	/* Whoever published one has changed the entry before. */
	is_new = fs->count < fs->limit && !find(fs, f->cluster) && suits_instant(fs->img, f) &&
		 !is_trimmed(fs, f->cluster) &&
		 (is_old(fs->img, f) || qcow2_test_skips(QCOW2_STEP_WRITE_AGAIN));
	if (is_new) {
		if (fs->trims)
			qcow2_trims_take(fs->trims, f->cluster);
		hash_add(fs->by_cluster, &f->hash, f->cluster);
		f->number = ++fs->newest;
		f->nr_writes = 1;
		f->may_be_late = fs->has_kept && (f->is_in_place || is_own_data(fs->img, f->old));
		f->kept = fs->kept;
		list_add_tail(&f->node, &fs->open);
		set_count(fs, fs->count + 1);
	}
	spin_unlock_irq(&fs->lock);
	return is_new;
}

/*
 * Whether the host cluster that an entry has stays: what others may share is let go of, and so is
 * one that the device ends in, where a fill is written as a whole, and one that is frozen. In a
 * data file nothing is shared, nor let go of.
 */
static bool keeps_cluster(struct qcow2_image *img, const struct qcow2_mpage *p, u64 cluster,
			  struct qcow2_l2_entry old)
{
	u32 slot = qcow2_l2_slot(&img->geo, cluster << img->geo.cluster_bits);
	u64 end = qcow2_entry_offset(old.word) + qcow2_cluster_bytes(&img->geo);

	if (img->geo.has_data_file)
		return true;
	if (!(old.word & QCOW2_OFLAG_COPIED) || qcow2_instant_has_data(img, p, slot, old))
		return false;
	if (qcow2_has_subclusters(&img->geo))
		return !(old.word & QCOW2_OFLAG_COMPRESSED) && qcow2_entry_offset(old.word);
	return qcow2_entry_type(&img->geo, old.word) == QCOW2_ENTRY_ZERO_ALLOCATED &&
	       end <= READ_ONCE(img->host_bytes);
}

static struct qcow2_fill *alloc_fill(struct qcow2_image *img, struct qcow2_mpage *p, u64 cluster,
				     struct qcow2_l2_entry old, gfp_t gfp)
{
	unsigned int sectors = qcow2_cluster_bytes(&img->geo) >> SECTOR_SHIFT;
	struct qcow2_fill *f;

	f = kzalloc(struct_size(f, valid, BITS_TO_LONGS(sectors)), gfp);
	if (!f)
		return NULL;
	f->is_in_place = keeps_cluster(img, p, cluster, old);
	if (!f->is_in_place && !qcow2_drops_alloc(&f->drops, img, old.word, gfp)) {
		kfree(f);
		return NULL;
	}
	f->cluster = cluster;
	f->old = old;
	INIT_LIST_HEAD(&f->waiting);
	INIT_LIST_HEAD(&f->node);
	refcount_inc(&p->refs);
	f->page = p;
	return f;
}

/* A cluster for a fill, unless it has one. Return: QCOW2_COW_READY, or as begin_new(). */
static int take_cluster(struct qcow2_image *img, struct qcow2_fill *f, gfp_t gfp,
			struct qcow2_extent **e)
{
	u64 cluster;

	*e = NULL;
	if (f->is_in_place) {
		f->host_off = img->geo.has_data_file ? f->cluster << img->geo.cluster_bits :
						       qcow2_entry_offset(f->old.word);
		return QCOW2_COW_READY;
	}
	*e = kmalloc(sizeof(**e), gfp);
	if (!*e)
		return -ENOMEM;
	if (!qcow2_space_take(img, 1, &cluster)) {
		kfree(*e);
		return QCOW2_COW_NO_CLUSTER;
	}
	f->host_off = cluster << img->geo.cluster_bits;
	return QCOW2_COW_READY;
}

/* @pulled: the subclusters that are to be whole; 0 when it is only for what is written to it. */
static int begin_new(struct qcow2_fills *fs, struct qcow2_mpage *p, u64 cluster,
		     struct qcow2_l2_entry old, u32 pulled, gfp_t gfp, struct qcow2_fill **fill)
{
	struct qcow2_image *img = fs->img;
	struct qcow2_fill *f = alloc_fill(img, p, cluster, old, gfp);
	struct qcow2_extent *e;
	int result;

	if (!f)
		return -ENOMEM;
	f->is_pulled = pulled;
	f->touched = pulled;
	result = take_cluster(img, f, gfp, &e);
	if (result != QCOW2_COW_READY) {
		free_fill(f);
		return result;
	}
	if (!add(fs, f)) {
		/* Somebody else was faster. */
		if (e)
			qcow2_space_give_back(img, e, f->host_off >> img->geo.cluster_bits);
		free_fill(f);
		return QCOW2_COW_AGAIN;
	}
	kfree(e);
	qcow2_commit_age(img);
	*fill = f;
	return QCOW2_COW_READY;
}

/*
 * Whether the rest of a compressed cluster can be had is known as soon as it is inflated, which it
 * has to be anyhow: better the write fails than a flush.
 */
static int try_inflate(struct qcow2_image *img, u64 old)
{
	struct qcow2_inflated *cluster = qcow2_compressed_get(img, old);

	if (IS_ERR(cluster))
		return PTR_ERR(cluster);
	qcow2_compressed_put(img, cluster);
	return 0;
}

static bool needs_inflating(const struct qcow2_image *img, u32 bytes, u64 old)
{
	return bytes < qcow2_cluster_bytes(&img->geo) && old & QCOW2_OFLAG_COMPRESSED;
}

int qcow2_fill_begin(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
		     u32 bytes, struct qcow2_l2_entry old, struct qcow2_work *work,
		     struct qcow2_fill **fill, u64 *host_off)
{
	gfp_t gfp = work ? GFP_NOIO : GFP_NOWAIT | __GFP_NOWARN;
	u64 cluster = guest_off >> img->geo.cluster_bits;
	struct qcow2_fills *fs = img->fills;
	int result;

	if (!READ_ONCE(p->host_off))
		return work ? qcow2_table_allocate(img, p) : QCOW2_COW_PARKED;
	result = enter_old(fs, cluster, old, work, fill);
	if (result == QCOW2_COW_AGAIN && !*fill) {
		if (needs_inflating(img, bytes, old.word)) {
			result = work ? try_inflate(img, old.word) : QCOW2_COW_PARKED;
			if (result)
				return result;
		}
		publish_ahead(fs);
		result = begin_new(fs, p, cluster, old, 0, gfp, fill);
	}
	if (result == QCOW2_COW_READY)
		*host_off = (*fill)->host_off + qcow2_in_cluster(&img->geo, guest_off);
	return result;
}

/* Whether one more may be pulled: half of the room is for those who write. */
static bool may_pull(struct qcow2_fills *fs, u64 cluster)
{
	bool result;

	spin_lock_irq(&fs->lock);
	result = fs->count < fs->limit / 2 && !find(fs, cluster);
	spin_unlock_irq(&fs->lock);
	return result;
}

int qcow2_fill_pull(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
		    struct qcow2_l2_entry old, u32 subclusters)
{
	u64 cluster = guest_off >> img->geo.cluster_bits;
	struct qcow2_fill *fill;
	int result;

	if (!READ_ONCE(p->host_off))
		return qcow2_table_allocate(img, p);
	if (!may_pull(img->fills, cluster))
		return QCOW2_COW_PARKED;
	result = begin_new(img->fills, p, cluster, old, subclusters, GFP_NOIO, &fill);
	if (result == QCOW2_COW_READY)
		qcow2_fill_end(img, fill, guest_off, 0, false);
	return result;
}

/* Sectors of the cluster have what was written. */
static void note_valid(const struct qcow2_image *img, struct qcow2_fill *f, u32 first, u32 count)
{
	u32 sectors = qcow2_subcluster_sectors(img), end = first + count, next;

	bitmap_set(f->valid, first, count);
	if (!qcow2_has_subclusters(&img->geo) || !count)
		return;
	f->touched |= qcow2_subcluster_mask(first / sectors, (end - 1) / sectors -
							     first / sectors + 1);
	/* Others may have written what is missing at either end. */
	first = round_down(first, sectors);
	end = round_up(end, sectors);
	while (first < end) {
		next = find_next_zero_bit(f->valid, end, first);
		if (next - first >= sectors)
			f->whole |= qcow2_subcluster_mask(first / sectors,
							  (next - first) / sectors);
		first = round_down(next, sectors) + sectors;
	}
}

void qcow2_fill_end(struct qcow2_image *img, struct qcow2_fill *fill, u64 guest_off, u32 bytes,
		    bool is_valid)
{
	u32 first = qcow2_in_cluster(&img->geo, guest_off) >> SECTOR_SHIFT;
	struct qcow2_fills *fs = img->fills;
	unsigned long flags;

	spin_lock_irqsave(&fs->lock, flags);
	if (is_valid)
		note_valid(img, fill, first, (bytes >> SECTOR_SHIFT) -
					     qcow2_test_skips(QCOW2_STEP_LAST_SECTOR));
	/* Under the lock: who waits for this frees the fill. */
	if (!--fill->nr_writes && fill->is_closed)
		wake_up(&fs->wait);
	spin_unlock_irqrestore(&fs->lock, flags);
}

/* Reads */

/* How many sectors from @first on are as the first one. */
static u32 alike(const struct qcow2_fill *f, u32 first, u32 end, bool *is_valid)
{
	*is_valid = test_bit(first, f->valid);
	return (*is_valid ? find_next_zero_bit(f->valid, end, first) :
			    find_next_bit(f->valid, end, first)) - first;
}

bool qcow2_fill_find(struct qcow2_image *img, u64 guest_off, u32 *bytes, u64 *host_off,
		     bool *is_known)
{
	u64 in_cluster = qcow2_in_cluster(&img->geo, guest_off);
	struct qcow2_fills *fs = img->fills;
	bool is_valid = false;
	struct qcow2_fill *f;
	unsigned long flags;
	u32 left, count;

	*is_known = false;
	if (!READ_ONCE(img->commit->nr_fills) || qcow2_test_skips(QCOW2_STEP_READ_FILLS))
		return false;
	left = min_t(u64, *bytes, qcow2_cluster_bytes(&img->geo) - in_cluster);
	*bytes = left;
	spin_lock_irqsave(&fs->lock, flags);
	f = find(fs, guest_off >> img->geo.cluster_bits);
	if (f) {
		*is_known = true;
		count = alike(f, in_cluster >> SECTOR_SHIFT,
			      (in_cluster + left) >> SECTOR_SHIFT, &is_valid);
		*bytes = count << SECTOR_SHIFT;
		*host_off = f->host_off + in_cluster;
	}
	spin_unlock_irqrestore(&fs->lock, flags);
	return is_valid;
}

bool qcow2_fill_moves(struct qcow2_image *img, u64 guest_off)
{
	struct qcow2_fills *fs = img->fills;
	const struct qcow2_fill *f;
	unsigned long flags;
	bool moves;

	/* pairs with set_count(): whoever has added one has done so before the instant ended */
	smp_rmb();
	if (!smp_load_acquire(&img->commit->nr_fills))
		return false;
	spin_lock_irqsave(&fs->lock, flags);
	f = find(fs, guest_off >> img->geo.cluster_bits);
	moves = f && !f->is_in_place;
	spin_unlock_irqrestore(&fs->lock, flags);
	return moves;
}

/* Life */

u64 qcow2_fills_newest(struct qcow2_image *img)
{
	u64 newest;

	spin_lock_irq(&img->fills->lock);
	newest = img->fills->newest;
	spin_unlock_irq(&img->fills->lock);
	return newest;
}

bool qcow2_fills_has_older(struct qcow2_image *img, u64 number)
{
	struct qcow2_fills *fs = img->fills;
	struct qcow2_fill *f;
	bool found = false;
	int bucket;

	spin_lock_irq(&fs->lock);
	hash_for_each(fs->by_cluster, bucket, f, hash)
		found |= f->number <= number;
	spin_unlock_irq(&fs->lock);
	return found;
}

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

void qcow2_fills_init(struct qcow2_fills *fs, struct qcow2_image *img)
{
	fs->img = img;
	mutex_init(&fs->publishing);
	mutex_init(&fs->freezing);
	spin_lock_init(&fs->lock);
	hash_init(fs->by_cluster);
	INIT_LIST_HEAD(&fs->open);
	INIT_LIST_HEAD(&fs->waiting);
	INIT_LIST_HEAD(&fs->changes);
	init_waitqueue_head(&fs->wait);
	fs->limit = clamp_t(u64, div_u64(MAX_BYTES, qcow2_unit_bytes(&img->geo)), MIN_FILLS,
			    MAX_FILLS);
	img->fills = fs;
}

/* A grace period that was asked for has to be over before its domain may go. */
void qcow2_fills_exit(struct qcow2_fills *fs)
{
	if (fs->has_kept)
		synchronize_srcu(&fs->img->inflight);
}
