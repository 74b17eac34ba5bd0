// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a cluster that an entry does not point at any more.
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
 */
#include <linux/list_sort.h>
#include <linux/slab.h>

#include "refcount.h"
#include "space.h"
#include "test-skip.h"

static unsigned int much(const struct qcow2_space *s)
{
	return max(s->step / 4, 1ULL);
}

void qcow2_drop(struct qcow2_image *img, struct qcow2_dropped *d, u64 host_off, u64 commit)
{
	struct qcow2_space *s = img->space;
	bool is_much;

	d->cluster = host_off >> img->geo.cluster_bits;
	d->commit = commit;
	spin_lock(&s->lock);
	/* In the order of their commits. */
	if (commit)
		list_add_tail(&d->node, &s->dropped);
	else
		list_add(&d->node, &s->dropped);
	is_much = ++s->nr_dropped == much(s);
	spin_unlock(&s->lock);
	if (is_much)
		qcow2_commit_kick(img);
}

/* Until they are freed a crash leaks them, and the host has their space. */
void qcow2_drop_committed(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	if (READ_ONCE(s->nr_dropped) >= much(s))
		kthread_queue_work(s->worker, &s->work);
	/* What was written in place may have needed space. */
	qcow2_left_look_soon(img);
}

/* Those whose entry is durable; they were queued in about that order. */
static void take_durable(struct qcow2_image *img)
{
	u64 newest = READ_ONCE(img->commit->durable);
	struct qcow2_dropped *d, *next;

	spin_lock(&img->space->lock);
	list_for_each_entry_safe(d, next, &img->space->dropped, node) {
		if (d->commit > newest && !qcow2_test_skips(QCOW2_STEP_DROP_DURABLE))
			break;
		list_move_tail(&d->node, &img->space->leaving);
		img->space->nr_dropped--;
	}
	spin_unlock(&img->space->lock);
}

static int decrease(struct qcow2_image *img, struct qcow2_dropped *d, bool *is_free)
{
	u64 refcount;
	int err;

	err = qcow2_refcount_read(img, d->cluster, &refcount);
	if (err)
		return err;
	if (!refcount)
		return qcow2_bad_metadata(img, "refcount of a cluster in use is zero",
					  d->cluster << img->geo.cluster_bits);
	*is_free = refcount == 1;
	return qcow2_refcount_fill(img, d->cluster, 1, refcount - 1);
}

static int compare_dropped(void *priv, const struct list_head *a, const struct list_head *b)
{
	const struct qcow2_dropped *x = list_entry(a, struct qcow2_dropped, node);
	const struct qcow2_dropped *y = list_entry(b, struct qcow2_dropped, node);

	return x->cluster > y->cluster;
}

/* Give space back to the host; a hole takes the file's lock, so few large ones. */
static void release(struct qcow2_image *img, struct list_head *freed)
{
	unsigned int bits = img->geo.cluster_bits;
	struct qcow2_dropped *d, *next;
	u64 start = 0, end = 0;

	list_sort(NULL, freed, compare_dropped);
	list_for_each_entry_safe(d, next, freed, node) {
		if (d->cluster != end) {
			qcow2_file_discard(&img->file, start << bits, (end - start) << bits);
			start = d->cluster;
		}
		end = d->cluster + 1;
	}
	qcow2_file_discard(&img->file, start << bits, (end - start) << bits);
}

/* A damaged image may have let an entry for data point at a table. */
static int check_dropped(struct qcow2_image *img, struct list_head *dropped)
{
	struct qcow2_dropped *d;
	int err;

	list_for_each_entry(d, dropped, node) {
		err = qcow2_tables_check(img, d->cluster, 1);
		if (err)
			return err;
	}
	return 0;
}

static void free_dropped(struct list_head *dropped)
{
	struct qcow2_dropped *d, *next;

	list_for_each_entry_safe(d, next, dropped, node)
		kfree(d);
}

/* Decrease refcounts in the cache; stops at one that cannot be. */
static int decrease_all(struct qcow2_image *img, struct list_head *leaving, struct list_head *freed,
			struct list_head *shared)
{
	struct qcow2_dropped *d, *next;
	bool is_free;
	int err;

	list_for_each_entry_safe(d, next, leaving, node) {
		err = decrease(img, d, &is_free);
		if (err)
			return err;
		list_move_tail(&d->node, is_free ? freed : shared);
	}
	return 0;
}

static int free_all(struct qcow2_image *img, struct list_head *leaving)
{
	LIST_HEAD(shared);
	LIST_HEAD(freed);
	int err, write_err;

	err = check_dropped(img, leaving);
	if (err)
		return err;
	err = decrease_all(img, leaving, &freed, &shared);
	write_err = qcow2_refcount_write(img, QCOW2_META_REFBLOCK);
	if (!write_err)
		release(img, &freed);
	free_dropped(&freed);
	free_dropped(&shared);
	return write_err ?: err;
}

/* What cannot be freed stays, and is tried again. */
static int free_leaving(struct qcow2_image *img)
{
	int err;

	if (list_empty(&img->space->leaving))
		return 0;
	err = free_all(img, &img->space->leaving);
	if (err && !qcow2_failed(img))
		DMERR_LIMIT("%s: dropped clusters cannot be freed now: error %d",
			    qcow2_name(img), err);
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

	if (smp_load_acquire(&s->in_grace)) /* pairs with grace_is_over() */
		return 1;
	err = free_leaving(img);
	if (err || test_bit(QCOW2_LEAVING, &img->state))
		return err;
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
	take_durable(img);
	return free_leaving(img);
}
