// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of clusters that an entry does not point at any more.
 *
 *	dropped --- commit ---> leaving --- grace period ---> free
 *
 * A commit makes the change of the entry durable; after that nobody starts I/O
 * on the cluster, and a grace period later nobody has any under way. Only then
 * its refcount is decreased and its space given back to the host, and from then
 * on it may be prepared for another use. That needs no barrier of its own: until
 * the one of its next use the cluster leaks at most.
 *
 * The thread does not wait for the grace period: I/O that hangs would stop allocation. It is
 * called when that is over, and until then whatever is durable joins the next one.
 *
 * They are extents: what is dropped one after the other and lies together is one, so that a
 * discard of gigabytes takes little memory and few holes. Their number is bounded by those who drop
 * many at once (qcow2_drop_is_crowded()).
 */
#include <linux/list_sort.h>
#include <linux/slab.h>

#include "meta/trace.h"

#include "refcount.h"
#include "space.h"
#include "test-skip.h"

/* Beyond these many extents whoever drops many waits. */
#define MAX_EXTENTS	65536U

/* Extents that are freed before the thread looks whether somebody wants space. */
#define MAX_ROUND	256U

/* How long a few clusters stay dropped when nobody needs them. */
#define TIDY_DELAY	(5 * HZ)

/* It pays to free so many clusters. */
static u64 much(const struct qcow2_space *s)
{
	return max(s->step / 4, 1ULL);
}

/* So many are not to wait for a commit that somebody else wants. */
static bool are_too_many(const struct qcow2_space *s)
{
	lockdep_assert_held(&s->lock);
	return s->nr_dropped >= 4 * s->step || s->nr_extents >= MAX_EXTENTS / 2;
}

/* In the order of their commits. Return: false when it has become a part of the newest. */
static bool append(struct qcow2_space *s, struct qcow2_dropped *d)
{
	struct qcow2_dropped *last;

	lockdep_assert_held(&s->lock);
	s->nr_dropped += d->count;
	if (!d->commit) {
		list_add(&d->node, &s->dropped);
		s->nr_extents++;
		return true;
	}
	last = list_empty(&s->dropped) ? NULL :
	       list_last_entry(&s->dropped, struct qcow2_dropped, node);
	if (last && last->commit == d->commit && qcow2_dropped_join(last, d->start, d->count))
		return false;
	list_add_tail(&d->node, &s->dropped);
	s->nr_extents++;
	return true;
}

void qcow2_drop_extents(struct qcow2_image *img, struct list_head *extents, u64 commit)
{
	struct qcow2_space *s = img->space;
	struct qcow2_dropped *d, *next;
	bool were_too_many, is_news;
	LIST_HEAD(joined);

	spin_lock(&s->lock);
	were_too_many = are_too_many(s);
	list_for_each_entry_safe(d, next, extents, node) {
		list_del(&d->node);
		d->commit = commit;
		trace_qcow2_drop(img, d->start, d->count, commit);
		if (!append(s, d))
			list_add(&d->node, &joined);
	}
	is_news = !were_too_many && are_too_many(s);
	spin_unlock(&s->lock);
	qcow2_dropped_free(&joined);
	if (is_news)
		qcow2_commit_kick(img);
}

void qcow2_drop(struct qcow2_image *img, struct qcow2_dropped *d, u64 host_off, u64 commit)
{
	LIST_HEAD(extents);

	d->start = host_off >> img->geo.cluster_bits;
	d->count = 1;
	list_add(&d->node, &extents);
	qcow2_drop_extents(img, &extents, commit);
}

bool qcow2_drop_is_crowded(struct qcow2_image *img, struct qcow2_work *work)
{
	struct qcow2_space *s = img->space;
	bool is_crowded = false;

	if (likely(READ_ONCE(s->nr_extents) < MAX_EXTENTS))
		return false;
	spin_lock(&s->lock);
	/* Those who would let it out have set the bit before they take the lock. */
	if (s->nr_extents >= MAX_EXTENTS && !qcow2_failed(img) &&
	    !test_bit(QCOW2_LEAVING, &img->state)) {
		list_add_tail(&work->node, &s->crowd);
		is_crowded = true;
	}
	spin_unlock(&s->lock);
	if (is_crowded)
		qcow2_commit_kick(img);
	return is_crowded;
}

void qcow2_drop_release_crowd(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	struct qcow2_work *work, *next;
	LIST_HEAD(works);

	spin_lock(&s->lock);
	list_splice_init(&s->crowd, &works);
	spin_unlock(&s->lock);
	list_for_each_entry_safe(work, next, &works, node)
		s->requeue(img, work);
}

static void look_at_crowd(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	if (!list_empty_careful(&s->crowd) &&
	    (READ_ONCE(s->nr_extents) < MAX_EXTENTS / 2 || qcow2_failed(img)))
		qcow2_drop_release_crowd(img);
}

/* Until they are freed a crash leaks them, and the host has their space. */
void qcow2_drop_committed(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	/* The suspend frees them, and the thread's last work has been waited for. */
	if (test_bit(QCOW2_LEAVING, &img->state))
		return;
	/* What was written in place may have needed space. */
	qcow2_left_look_soon(img);
	/* Nothing can be done as long as a grace period runs, whose end calls the thread. */
	if (READ_ONCE(s->in_grace))
		return;
	if (READ_ONCE(s->nr_dropped) >= much(s) || !list_empty_careful(&s->crowd))
		kthread_queue_work(s->worker, &s->work);
	else if (READ_ONCE(s->nr_dropped))
		kthread_queue_delayed_work(s->worker, &s->tidy, TIDY_DELAY);
}

bool qcow2_drop_is_enough(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	u64 dropped = READ_ONCE(s->nr_dropped);

	if (dropped >= much(s) && !READ_ONCE(s->in_grace))
		qcow2_commit_kick(img);
	return dropped + s->nr_leaving >= s->step / 2;
}

/* Those whose entry is durable; they were queued in about that order. */
static void take_durable(struct qcow2_image *img)
{
	u64 newest = READ_ONCE(img->commit->durable);
	struct qcow2_space *s = img->space;
	struct qcow2_dropped *d, *next;

	spin_lock(&s->lock);
	list_for_each_entry_safe(d, next, &s->dropped, node) {
		if (d->commit > newest && !qcow2_test_skips(QCOW2_STEP_DROP_DURABLE))
			break;
		list_move_tail(&d->node, &s->leaving);
		s->nr_dropped -= d->count;
		s->nr_leaving += d->count;
	}
	spin_unlock(&s->lock);
}

/* The first clusters of an extent are on their own from here on. */
static struct qcow2_dropped *split(struct qcow2_space *s, struct qcow2_dropped *d, u64 count)
{
	struct qcow2_dropped *first = kmalloc(sizeof(*first), GFP_NOIO | __GFP_NOFAIL);

	*first = (struct qcow2_dropped) { .start = d->start, .count = count };
	d->start += count;
	d->count -= count;
	spin_lock(&s->lock);
	s->nr_extents++;
	spin_unlock(&s->lock);
	return first;
}

/* Others are not to wait for an extent whose refcounts cannot be read: it leaks, for the time being. */
static void set_aside(struct qcow2_image *img, struct qcow2_dropped *d, int err)
{
	struct qcow2_space *s = img->space;

	DMERR_LIMIT("%s: dropped clusters cannot be freed now: error %d", qcow2_name(img), err);
	spin_lock(&s->lock);
	s->nr_extents--;
	s->nr_leaving -= d->count;
	spin_unlock(&s->lock);
	if (s->nr_stuck == MAX_EXTENTS) {
		kfree(d);
		return;
	}
	list_add_tail(&d->node, &s->stuck);
	s->nr_stuck++;
}

/**
 * struct round - extents that are freed together
 * @freed: those whose clusters nobody has any more
 * @shared: those that somebody has
 * @bad_page: of refcounts, that could not be read; it may take long to find out
 * @err: why
 */
struct round {
	struct list_head freed;
	struct list_head shared;
	u64 bad_page;
	int err;
};

/* The first clusters of an extent, in the cache. Return: 0; what those of this page have; an error. */
static int decrease_first(struct qcow2_image *img, struct round *r, const struct qcow2_dropped *d,
			  u64 *count, bool *is_free)
{
	u64 per_page = BIT_ULL(img->geo.refpage_bits), page = d->start >> img->geo.refpage_bits;
	int err;

	if (page != r->bad_page) {
		err = qcow2_refcount_decrease(img, d->start, d->count, count, is_free);
		if (!err || err == -EUCLEAN || err == -ENOMEM)
			return err;
		r->bad_page = page;
		r->err = err;
	}
	*count = min(d->count, per_page - (d->start & (per_page - 1)));
	return r->err;
}

/* Return: 0 when all of it is on another list, or an error that others would have as well. */
static int decrease(struct qcow2_image *img, struct round *r, struct qcow2_dropped *d)
{
	struct qcow2_dropped *part;
	bool is_free;
	u64 count;
	int err;

	do {
		err = decrease_first(img, r, d, &count, &is_free);
		if (err == -EUCLEAN || err == -ENOMEM)
			return err;
		part = count < d->count ? split(img->space, d, count) : d;
		if (part == d)
			list_del(&d->node);
		if (err)
			set_aside(img, part, err);
		else
			list_add_tail(&part->node, is_free ? &r->freed : &r->shared);
	} while (part != d);
	return 0;
}

static int compare_dropped(void *priv, const struct list_head *a, const struct list_head *b)
{
	const struct qcow2_dropped *x = list_entry(a, struct qcow2_dropped, node);
	const struct qcow2_dropped *y = list_entry(b, struct qcow2_dropped, node);

	return x->start > y->start;
}

/* Give space back to the host; a hole takes the file's lock, so few large ones. */
static void release(struct qcow2_image *img, struct list_head *freed)
{
	unsigned int bits = img->geo.cluster_bits;
	struct qcow2_dropped *d;
	u64 start = 0, end = 0;

	list_sort(NULL, freed, compare_dropped);
	list_for_each_entry(d, freed, node) {
		if (d->start != end) {
			qcow2_file_discard(&img->file, start << bits, (end - start) << bits);
			start = d->start;
		}
		end = d->start + d->count;
	}
	qcow2_file_discard(&img->file, start << bits, (end - start) << bits);
}

/* A damaged image may have let an entry for data point at a table. */
static int check_dropped(struct qcow2_image *img, struct list_head *dropped)
{
	struct qcow2_dropped *d;
	int err;

	list_for_each_entry(d, dropped, node) {
		err = qcow2_tables_check(img, d->start, d->count);
		if (err)
			return err;
	}
	return 0;
}

void qcow2_dropped_free(struct list_head *extents)
{
	struct qcow2_dropped *d, *next;

	list_for_each_entry_safe(d, next, extents, node)
		kfree(d);
	INIT_LIST_HEAD(extents);
}

static int decrease_all(struct qcow2_image *img, struct list_head *extents, struct round *r)
{
	struct qcow2_dropped *d, *next;
	int err;

	list_for_each_entry_safe(d, next, extents, node) {
		err = decrease(img, r, d);
		if (err)
			return err;
	}
	return 0;
}

/* They have had their grace period. */
bool qcow2_drop_try_again(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	struct qcow2_dropped *d;

	if (list_empty(&s->stuck))
		return false;
	spin_lock(&s->lock);
	list_for_each_entry(d, &s->stuck, node) {
		s->nr_extents++;
		s->nr_leaving += d->count;
	}
	spin_unlock(&s->lock);
	list_splice_init(&s->stuck, &s->leaving);
	s->nr_stuck = 0;
	return true;
}

/* They are nobody's from here on. */
static void forget(struct qcow2_space *s, struct list_head *extents)
{
	struct qcow2_dropped *d;

	spin_lock(&s->lock);
	list_for_each_entry(d, extents, node) {
		s->nr_extents--;
		s->nr_leaving -= d->count;
	}
	spin_unlock(&s->lock);
	qcow2_dropped_free(extents);
}

static int free_round(struct qcow2_image *img, struct list_head *extents)
{
	struct round r = {
		.freed = LIST_HEAD_INIT(r.freed),
		.shared = LIST_HEAD_INIT(r.shared),
		.bad_page = U64_MAX,
	};
	int err, write_err;

	err = check_dropped(img, extents);
	if (err)
		return err;
	err = decrease_all(img, extents, &r);
	write_err = qcow2_refcount_write(img, QCOW2_META_REFBLOCK);
	if (!write_err && img->space->gives_back)
		release(img, &r.freed);
	forget(img->space, &r.freed);
	forget(img->space, &r.shared);
	return write_err ?: err;
}

/* No more than are prepared at a time, as their refcounts are in the cache together. */
static void take_round(struct qcow2_space *s, struct list_head *round)
{
	unsigned int nr = MAX_ROUND;
	struct qcow2_dropped *d;
	u64 left = s->step;

	while (left && nr-- && !list_empty(&s->leaving)) {
		d = list_first_entry(&s->leaving, struct qcow2_dropped, node);
		if (d->count > left)
			d = split(s, d, left);
		else
			list_del(&d->node);
		list_add_tail(&d->node, round);
		left -= d->count;
	}
}

/* What cannot be freed for want of memory stays, and is tried again. */
static int free_leaving(struct qcow2_image *img)
{
	LIST_HEAD(round);
	int err;

	take_round(img->space, &round);
	if (list_empty(&round))
		return 0;
	err = free_round(img, &round);
	list_splice(&round, &img->space->leaving);
	return err;
}

static void grace_is_over(struct rcu_head *head)
{
	struct qcow2_space *s = container_of(head, struct qcow2_space, grace);

	/* pairs with qcow2_drop_finish(), which may use @head again at once */
	smp_store_release(&s->in_grace, false);
	kthread_queue_work(s->worker, &s->work);
}

int qcow2_drop_finish(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	int err;

	look_at_crowd(img);
	if (smp_load_acquire(&s->in_grace)) /* pairs with grace_is_over() */
		return 1;
	err = free_leaving(img);
	look_at_crowd(img);
	if (test_bit(QCOW2_LEAVING, &img->state))
		return err;
	if (err) {
		if (err == -ENOMEM)
			kthread_queue_delayed_work(s->worker, &s->retry, QCOW2_MEMORY_DELAY);
		return err;
	}
	if (!list_empty(&s->leaving)) {
		/* Their time has come; others may need space first. */
		kthread_queue_work(s->worker, &s->work);
		return 0;
	}
	take_durable(img);
	if (list_empty(&s->leaving))
		return 0;
	if (qcow2_test_skips(QCOW2_STEP_GRACE))
		return free_leaving(img);
	s->in_grace = true;
	call_srcu(&img->inflight, &s->grace, grace_is_over);
	return 1;
}

int qcow2_drop_finish_all(struct qcow2_image *img)
{
	int err;

	take_durable(img);
	qcow2_drop_try_again(img);
	do {
		err = free_leaving(img);
	} while (!err && !list_empty(&img->space->leaving));
	return err;
}
