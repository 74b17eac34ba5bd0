// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow pool: threads that may block, so that the others need not.
 *
 * Not a workqueue: file systems flush plain workqueues underneath us, which one
 * with WQ_MEM_RECLAIM must not wait for, and one without has no rescuer.
 */
#include <linux/kthread.h>
#include <linux/sched/mm.h>

#include "dev.h"

static bool has_read(const struct qcow2_slow_pool *pool)
{
	return !list_empty_careful(&pool->queues[READ]);
}

static bool has_write(const struct qcow2_slow_pool *pool)
{
	return !list_empty_careful(&pool->queues[WRITE]) &&
	       READ_ONCE(pool->nr_writers) < QCOW2_SLOW_WRITERS;
}

static struct qcow2_work *pop(struct qcow2_slow_pool *pool)
{
	struct qcow2_work *work = NULL;
	bool is_write;

	spin_lock_irq(&pool->lock);
	is_write = has_write(pool) && !(pool->after_write && has_read(pool));
	if (is_write || has_read(pool)) {
		work = list_first_entry(&pool->queues[is_write], struct qcow2_work, node);
		list_del_init(&work->node);
		pool->after_write = is_write;
		pool->nr_writers += is_write;
	}
	spin_unlock_irq(&pool->lock);
	return work;
}

static void do_work(struct qcow2_slow_pool *pool, struct qcow2_work *work)
{
	bool is_write = work->is_write;

	work->fn(work);
	if (!is_write)
		return;
	spin_lock_irq(&pool->lock);
	pool->nr_writers--;
	spin_unlock_irq(&pool->lock);
}

static int slow_thread(void *data)
{
	struct qcow2_slow_pool *pool = data;
	struct qcow2_work *work;

	current->flags |= PF_LOCAL_THROTTLE;
	memalloc_noio_save();
	while (!kthread_should_stop()) {
		wait_event_idle_exclusive(pool->wait, has_read(pool) || has_write(pool) ||
					  kthread_should_stop());
		while ((work = pop(pool)))
			do_work(pool, work);
	}
	return 0;
}

void qcow2_slow_queue(struct qcow2_dev *dev, struct qcow2_work *work)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	list_add_tail(&work->node, &pool->queues[work->is_write]);
	/* Under the lock: once a thread has taken the work, the image may go. */
	wake_up(&pool->wait);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_done(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	if (atomic_dec_and_test(&pool->busy))
		wake_up(&pool->idle);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_drain(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;

	wait_event(pool->idle, !atomic_read(&pool->busy));
	/* Whoever woke us may still hold the lock; the image may go after this. */
	spin_lock_irq(&pool->lock);
	spin_unlock_irq(&pool->lock);
}

int qcow2_slow_init(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	struct task_struct *task;

	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->queues[READ]);
	INIT_LIST_HEAD(&pool->queues[WRITE]);
	init_waitqueue_head(&pool->wait);
	init_waitqueue_head(&pool->idle);
	for (int i = 0; i < QCOW2_SLOW_THREADS; i++) {
		task = kthread_run(slow_thread, pool, "qcow2_slow/%s", qcow2_name(dev->img));
		if (IS_ERR(task)) {
			qcow2_slow_exit(dev);
			return PTR_ERR(task);
		}
		pool->threads[i] = task;
	}
	return 0;
}

void qcow2_slow_exit(struct qcow2_dev *dev)
{
	for (int i = 0; i < QCOW2_SLOW_THREADS; i++) {
		if (dev->slow.threads[i])
			kthread_stop(dev->slow.threads[i]);
		dev->slow.threads[i] = NULL;
	}
}
