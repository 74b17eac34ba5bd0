// SPDX-License-Identifier: GPL-2.0-only
/*
 * Space of a data file that is given back.
 */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "compat.h"
#include "test-hold.h"

#include "fill.h"
#include "trim.h"

/* More may come that joins what there is. */
#define DELAY	(HZ / 4)

/* Who wants to write there waits for as much. */
#define MAX_BYTES	((u64)SZ_256M)

static void requeue_all(struct qcow2_image *img, struct list_head *works)
{
	struct qcow2_work *work, *next;

	list_for_each_entry_safe(work, next, works, node)
		img->space->requeue(img, work);
}

/* Into one that overlaps it, or that is next to it. */
static bool join(struct qcow2_trim *r, u64 first, u64 count)
{
	u64 end = max(r->first + r->count, first + count);

	if (first > r->first + r->count || r->first > first + count)
		return false;
	r->first = min(r->first, first);
	r->count = end - r->first;
	return true;
}

/* What there is no room for is not given back. */
static void remember(struct qcow2_trims *t, u64 first, u64 count)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (join(&t->ranges[i], first, count))
			return;
	if (t->count < QCOW2_MAX_TRIMS)
		t->ranges[t->count++] = (struct qcow2_trim) { first, count };
}

void qcow2_trims_add(struct qcow2_trims *t, u64 first, u64 count)
{
	const struct qcow2_geometry *g = &t->fs->img->geo;
	u64 end = min(first + count, g->size >> g->cluster_bits);

	lockdep_assert_held(&t->fs->lock);
	/* Of the last one the disk may have a part. */
	if (first >= end)
		return;
	remember(t, first, end - first);
	queue_delayed_work(system_dfl_wq, &t->work, DELAY);
}

static void remove_range(struct qcow2_trims *t, unsigned int i)
{
	t->ranges[i] = t->ranges[--t->count];
}

/* Return: false when there is nothing left of it. */
static bool cut(struct qcow2_trims *t, struct qcow2_trim *r, u64 cluster)
{
	u64 end = r->first + r->count;

	if (cluster - r->first >= r->count)
		return true;
	r->count = cluster - r->first;
	cluster++;
	if (!r->count)
		*r = (struct qcow2_trim) { cluster, end - cluster };
	else if (cluster < end && t->count < QCOW2_MAX_TRIMS)
		t->ranges[t->count++] = (struct qcow2_trim) { cluster, end - cluster };
	return r->count;
}

/* A cluster may be in several: what has been joined may overlap others. */
void qcow2_trims_take(struct qcow2_trims *t, u64 cluster)
{
	lockdep_assert_held(&t->fs->lock);
	for (unsigned int i = 0; i < t->count;) {
		if (cut(t, &t->ranges[i], cluster))
			i++;
		else
			remove_range(t, i);
	}
}

bool qcow2_trims_are_crowded(struct qcow2_fills *fs, struct qcow2_work *work)
{
	struct qcow2_trims *t = fs->trims;
	bool are_crowded;

	if (!t)
		return false;
	spin_lock_irq(&fs->lock);
	are_crowded = t->count == QCOW2_MAX_TRIMS;
	if (are_crowded) {
		list_add_tail(&work->node, &t->crowd);
		mod_delayed_work(system_dfl_wq, &t->work, 0);
	}
	spin_unlock_irq(&fs->lock);
	return are_crowded;
}

/* Making holes */

/* Those who begin fills from here on wait, if it is in the range. */
static bool begin_next(struct qcow2_trims *t)
{
	struct qcow2_fills *fs = t->fs;
	u64 max = MAX_BYTES >> fs->img->geo.cluster_bits;
	struct qcow2_trim *r;

	spin_lock_irq(&fs->lock);
	if (t->count) {
		r = &t->ranges[0];
		t->now = (struct qcow2_trim) { r->first, min(r->count, max) };
		r->first += t->now.count;
		r->count -= t->now.count;
		if (!r->count)
			remove_range(t, 0);
	}
	spin_unlock_irq(&fs->lock);
	return t->now.count;
}

static void end_now(struct qcow2_trims *t)
{
	struct qcow2_fills *fs = t->fs;
	LIST_HEAD(works);

	spin_lock_irq(&fs->lock);
	t->now.count = 0;
	list_splice_init(&fs->waiting, &works);
	list_splice_tail_init(&t->crowd, &works);
	spin_unlock_irq(&fs->lock);
	requeue_all(fs->img, &works);
}

static void trim(struct qcow2_trims *t)
{
	struct qcow2_image *img = t->fs->img;
	unsigned int bits = img->geo.cluster_bits, noio;

	noio = memalloc_noio_save();
	while (begin_next(t)) {
		qcow2_test_hold(QCOW2_HOLD_TRIM);
		if (!qcow2_failed(img))
			qcow2_file_discard(qcow2_data_file(img), t->now.first << bits,
					   t->now.count << bits);
		end_now(t);
	}
	memalloc_noio_restore(noio);
}

static void trim_work(struct work_struct *work)
{
	trim(container_of(to_delayed_work(work), struct qcow2_trims, work));
}

/* Life */

int qcow2_trims_init(struct qcow2_fills *fs)
{
	struct qcow2_trims *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	t->fs = fs;
	INIT_LIST_HEAD(&t->crowd);
	INIT_DELAYED_WORK(&t->work, trim_work);
	fs->trims = t;
	return 0;
}

void qcow2_trims_finish(struct qcow2_fills *fs)
{
	if (!fs->trims)
		return;
	cancel_delayed_work_sync(&fs->trims->work);
	trim(fs->trims);
}

void qcow2_trims_exit(struct qcow2_fills *fs)
{
	if (fs->trims)
		cancel_delayed_work_sync(&fs->trims->work);
	kfree(fs->trims);
	fs->trims = NULL;
}
