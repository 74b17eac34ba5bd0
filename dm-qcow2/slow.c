// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow pool: threads that may block, so that the others need not.
 *
 * Not a workqueue: file systems flush plain workqueues underneath us, which one
 * with WQ_MEM_RECLAIM must not wait for, and one without has no rescuer.
 */
#include <linux/kthread.h>
#include <linux/sched/mm.h>

#include "qcow2.h"

static struct qcow2_work *pop(struct qcow2_slow_pool *pool)
{
	struct qcow2_work *work;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	work = list_first_entry_or_null(&pool->queue, struct qcow2_work, node);
	if (work)
		list_del_init(&work->node);
	spin_unlock_irqrestore(&pool->lock, flags);
	return work;
}

static int slow_thread(void *data)
{
	struct qcow2_slow_pool *pool = data;
	struct qcow2_work *work;

	current->flags |= PF_LOCAL_THROTTLE;
	memalloc_noio_save();
	while (!kthread_should_stop()) {
		wait_event_idle_exclusive(pool->wait, !list_empty_careful(&pool->queue) ||
					  kthread_should_stop());
		while ((work = pop(pool)))
			work->fn(work);
	}
	return 0;
}

void qcow2_slow_queue(struct qcow2 *q, struct qcow2_work *work)
{
	struct qcow2_slow_pool *pool = &q->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	list_add_tail(&work->node, &pool->queue);
	/* Under the lock: once a thread has taken the work, the image may go. */
	wake_up(&pool->wait);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_done(struct qcow2 *q)
{
	struct qcow2_slow_pool *pool = &q->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	if (atomic_dec_and_test(&pool->busy))
		wake_up(&pool->idle);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_drain(struct qcow2 *q)
{
	struct qcow2_slow_pool *pool = &q->slow;

	wait_event(pool->idle, !atomic_read(&pool->busy));
	/* Whoever woke us may still hold the lock; the image may go after this. */
	spin_lock_irq(&pool->lock);
	spin_unlock_irq(&pool->lock);
}

int qcow2_slow_init(struct qcow2 *q)
{
	struct qcow2_slow_pool *pool = &q->slow;
	struct task_struct *task;

	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->queue);
	init_waitqueue_head(&pool->wait);
	init_waitqueue_head(&pool->idle);
	for (int i = 0; i < QCOW2_SLOW_THREADS; i++) {
		task = kthread_run(slow_thread, pool, "qcow2_slow/%s", qcow2_name(q));
		if (IS_ERR(task)) {
			qcow2_slow_exit(q);
			return PTR_ERR(task);
		}
		pool->threads[i] = task;
	}
	return 0;
}

void qcow2_slow_exit(struct qcow2 *q)
{
	for (int i = 0; i < QCOW2_SLOW_THREADS; i++) {
		if (q->slow.threads[i])
			kthread_stop(q->slow.threads[i]);
		q->slow.threads[i] = NULL;
	}
}
