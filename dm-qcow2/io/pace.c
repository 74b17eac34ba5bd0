// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nobody waits for a trim to end, but others wait for the processors, locks and disks that it
 * keeps busy. So while there are others, all discards rest together after each step,
 * for longer than it took. Write-zeroes are waited for, and do not.
 *
 * Who rests holds no thread, and waits for nothing but time. When it is over a few are let go, and the
 * next ones a moment later, as there may be thousands.
 */
#include <linux/device-mapper.h>
#include <linux/ktime.h>
#include <linux/part_stat.h>

#include "compat.h"

#include "dev.h"

/* For so many times as long as a step took... */
#define RESTS		7
/* ...which may have waited for a disk. */
#define MAX_REST	(10 * NSEC_PER_MSEC)

/* Others that have ended a request are at work for so long, as they may have had no chance to end one. */
#define SHARED_TIME	max(HZ / 50, 2)

#define LET_GO		QCOW2_SLOW_WRITERS
#define NEXT_DELAY	NSEC_PER_MSEC

/* As long as the device counts its requests; else it is taken to have no others. */
static u64 count_others(const struct qcow2_dev *dev)
{
	struct block_device *bdev = dm_disk(dm_table_get_md(dev->ti->table))->part0;

	return part_stat_read(bdev, ios[STAT_READ]) + part_stat_read(bdev, ios[STAT_WRITE]);
}

/* They are counted by processor. */
static bool has_others(struct qcow2_dev *dev)
{
	struct qcow2_pace *p = &dev->pace;
	u64 count;

	lockdep_assert_held(&p->lock);
	if (p->counted_at != jiffies) {
		p->counted_at = jiffies;
		count = count_others(dev);
		/* Whose they were is not known where write-zeroes are at work. */
		if (count != p->nr_others && !READ_ONCE(p->has_zeroed))
			p->shared_until = jiffies + SHARED_TIME;
		WRITE_ONCE(p->has_zeroed, false);
		p->nr_others = count;
	}
	return time_before(jiffies, p->shared_until);
}

void qcow2_pace_took(struct qcow2_dev *dev, u64 begun)
{
	struct qcow2_pace *p = &dev->pace;
	u64 now = ktime_get_ns();
	unsigned long flags;

	spin_lock_irqsave(&p->lock, flags);
	if (has_others(dev))
		p->rests_until = max(p->rests_until, now + min(RESTS * (now - begun), MAX_REST));
	spin_unlock_irqrestore(&p->lock, flags);
}

/* A guest waits for a suspend, and for space. */
static bool is_urgent(const struct qcow2_dev *dev)
{
	const struct qcow2_image *img = dev->img;

	return test_bit(QCOW2_SUSPENDING, &img->state) || test_bit(QCOW2_LEAVING, &img->state) ||
	       READ_ONCE(img->full->what) || READ_ONCE(img->space->nr_waiting);
}

bool qcow2_pace_rest(struct qcow2_dev *dev, struct qcow2_work *work)
{
	struct qcow2_pace *p = &dev->pace;
	unsigned long flags;
	bool rests;

	spin_lock_irqsave(&p->lock, flags);
	rests = ktime_get_ns() < p->rests_until && !is_urgent(dev);
	if (rests) {
		if (list_empty(&p->waiting))
			hrtimer_start(&p->timer, ns_to_ktime(p->rests_until), HRTIMER_MODE_ABS);
		list_add_tail(&work->node, &p->waiting);
	}
	spin_unlock_irqrestore(&p->lock, flags);
	return rests;
}

/* Return: when to come again, or 0. */
static u64 let_go(struct qcow2_pace *p, struct list_head *works)
{
	u64 now = ktime_get_ns();

	lockdep_assert_held(&p->lock);
	if (list_empty(&p->waiting))
		return 0;
	if (now < p->rests_until)
		return p->rests_until;
	for (unsigned int i = 0; i < LET_GO && !list_empty(&p->waiting); i++)
		list_move_tail(p->waiting.next, works);
	return list_empty(&p->waiting) ? 0 : now + NEXT_DELAY;
}

static void queue_all(struct qcow2_dev *dev, struct list_head *works)
{
	struct qcow2_work *work, *next;

	list_for_each_entry_safe(work, next, works, node)
		qcow2_slow_queue(dev, work);
}

static enum hrtimer_restart rest_is_over(struct hrtimer *timer)
{
	struct qcow2_pace *p = container_of(timer, struct qcow2_pace, timer);
	struct qcow2_dev *dev = container_of(p, struct qcow2_dev, pace);
	unsigned long flags;
	LIST_HEAD(works);
	u64 again;

	spin_lock_irqsave(&p->lock, flags);
	again = let_go(p, &works);
	if (again)
		hrtimer_set_expires(timer, ns_to_ktime(again));
	spin_unlock_irqrestore(&p->lock, flags);
	queue_all(dev, &works);
	return again ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

void qcow2_pace_release(struct qcow2_dev *dev)
{
	struct qcow2_pace *p = &dev->pace;
	unsigned long flags;
	LIST_HEAD(works);

	/* The timer finds nobody, or whoever has come since. */
	spin_lock_irqsave(&p->lock, flags);
	list_splice_init(&p->waiting, &works);
	spin_unlock_irqrestore(&p->lock, flags);
	queue_all(dev, &works);
}

void qcow2_pace_init(struct qcow2_dev *dev)
{
	struct qcow2_pace *p = &dev->pace;

	spin_lock_init(&p->lock);
	INIT_LIST_HEAD(&p->waiting);
	p->shared_until = jiffies;
	hrtimer_setup(&p->timer, rest_is_over, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
}

void qcow2_pace_exit(struct qcow2_dev *dev)
{
	hrtimer_cancel(&dev->pace.timer);
}
