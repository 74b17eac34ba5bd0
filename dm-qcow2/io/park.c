// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes that wait for the host, and hold no thread meanwhile.
 *
 * Nobody tells when a file system has space or is thawed, so somebody looks from time to time. That
 * is a work item that waits for none of our threads: they may be what waits for the same.
 */
#include "lease/freeze.h"
#include "meta/full.h"
#include "meta/trace.h"

#include "dev.h"
#include "park.h"

#define THAW_DELAY	(HZ / 10)

static void queue_all(struct qcow2_dev *dev, struct list_head *works)
{
	struct qcow2_work *work, *next;

	list_for_each_entry_safe(work, next, works, node)
		qcow2_slow_queue(dev, work);
}

/* No space */

int qcow2_park_in_place(struct qcow2_dev *dev, struct qcow2_work *work)
{
	struct qcow2_park *p = &dev->park;
	int err = 0;

	qcow2_full_enter(dev->img, QCOW2_FULL_IN_PLACE);
	spin_lock(&p->lock);
	if (qcow2_failed(dev->img)) {
		err = -EIO;
	} else if (!qcow2_full_may_wait(dev->img, QCOW2_FULL_IN_PLACE)) {
		err = -ENOSPC;
	} else {
		list_add_tail(&work->node, &p->in_place);
		WRITE_ONCE(p->nr_in_place, p->nr_in_place + 1);
		trace_qcow2_no_space(dev->img, true);
		queue_delayed_work(system_dfl_wq, &p->look_work, QCOW2_FULL_DELAY);
	}
	spin_unlock(&p->lock);
	return err;
}

void qcow2_park_release(struct qcow2_dev *dev)
{
	struct qcow2_park *p = &dev->park;
	LIST_HEAD(works);

	spin_lock(&p->lock);
	list_splice_init(&p->in_place, &works);
	WRITE_ONCE(p->nr_in_place, 0);
	spin_unlock(&p->lock);
	queue_all(dev, &works);
}

void qcow2_park_found_space(struct qcow2_dev *dev)
{
	struct qcow2_park *p = &dev->park;

	if (!(READ_ONCE(dev->full.what) & BIT(QCOW2_FULL_IN_PLACE)) || READ_ONCE(p->has_space))
		return;
	WRITE_ONCE(p->has_space, true);
	mod_delayed_work(system_dfl_wq, &p->look_work, 0);
}

static void look(struct work_struct *work)
{
	struct qcow2_park *p = container_of(to_delayed_work(work), struct qcow2_park, look_work);
	struct qcow2_dev *dev = container_of(p, struct qcow2_dev, park);

	if (READ_ONCE(p->has_space)) {
		WRITE_ONCE(p->has_space, false);
		qcow2_full_leave(dev->img, QCOW2_FULL_IN_PLACE);
	}
	qcow2_park_release(dev);
}

/* Frozen */

static void wait_for_thaw(struct qcow2_park *p)
{
	queue_delayed_work(system_dfl_wq, &p->thaw_work, THAW_DELAY);
}

void qcow2_park_frozen(struct qcow2_dev *dev, struct qcow2_work *work)
{
	struct qcow2_park *p = &dev->park;

	spin_lock(&p->lock);
	list_add_tail(&work->node, &p->frozen);
	wait_for_thaw(p);
	spin_unlock(&p->lock);
}

static void look_for_thaw(struct work_struct *work)
{
	struct qcow2_park *p = container_of(to_delayed_work(work), struct qcow2_park, thaw_work);
	struct qcow2_dev *dev = container_of(p, struct qcow2_dev, park);
	LIST_HEAD(works);

	if (qcow2_freeze_is_near(qcow2_data_file(dev->img)->filp)) {
		wait_for_thaw(p);
		return;
	}
	spin_lock(&p->lock);
	list_splice_init(&p->frozen, &works);
	spin_unlock(&p->lock);
	queue_all(dev, &works);
}

/* Life */

void qcow2_park_init(struct qcow2_dev *dev)
{
	struct qcow2_park *p = &dev->park;

	spin_lock_init(&p->lock);
	INIT_LIST_HEAD(&p->in_place);
	INIT_LIST_HEAD(&p->frozen);
	INIT_DELAYED_WORK(&p->look_work, look);
	INIT_DELAYED_WORK(&p->thaw_work, look_for_thaw);
}

void qcow2_park_exit(struct qcow2_dev *dev)
{
	cancel_delayed_work_sync(&dev->park.look_work);
	cancel_delayed_work_sync(&dev->park.thaw_work);
}
