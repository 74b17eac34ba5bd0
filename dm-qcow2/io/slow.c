// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow pool: threads that may block, so that the others need not.
 *
 * Not a workqueue: file systems flush plain workqueues underneath us, which one
 * with WQ_MEM_RECLAIM must not wait for, and one without has no rescuer.
 *
 *	        work waits, for longer than a moment
 *	(none) ------------------------------------> busy <----> idle --- for long ---> (none)
 *	        grow_work                                         shrink_work
 *
 * To create a thread takes memory, and what frees memory may be work of this very pool. So
 * nobody waits for a thread but a work item of the system's, and the two threads that are
 * always there are enough for progress: one that writes, one that no write ever takes. What
 * a thread waits for is never a work that waits in the queue of its own pool:
 *
 *	it waits for			which is brought about by
 *	I/O, locks of a file system	the host below, which has pools of its own
 *	what another thread loads	that one, by I/O
 *	a commit			its thread; nobody does while there are fills
 *	a thaw				others; but reads have the thread that no write takes
 *
 * What waits for space, or for another write, is parked, and holds no thread.
 *
 * More threads are for work that is held up by some that hangs, and for more at a time.
 *
 * Whatever waits in a queue, and one more thread would take, has one of these: a thread that is
 * awake and has not looked at the queues yet, or grow_work pending. A thread looks, and becomes
 * idle, under one and the same lock, so it is never missed.
 */
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "compat.h"
#include "test-hold.h"

#include "dev.h"

/* What is over sooner needs no thread. */
#define GROW_DELAY	msecs_to_jiffies(5)
/* When there was no memory for one. */
#define RETRY_DELAY	HZ
#define IDLE_TIME	(10 * HZ)

/**
 * struct slow_thread - a thread
 * @pool: its pool
 * @task: the thread, with a reference
 * @node: in qcow2_slow_pool.threads
 * @idle: in qcow2_slow_pool.idle while it waits for work
 * @idle_since: jiffies when that began
 * @is_writing: its work counts in qcow2_slow_pool.nr_writers
 * @is_stopped: it is to end; set when it is in no list any more
 *
 * All but the first two under the pool's lock.
 */
struct slow_thread {
	struct qcow2_slow_pool *pool;
	struct task_struct *task;
	struct list_head node;
	struct list_head idle;
	unsigned long idle_since;
	bool is_writing;
	bool is_stopped;
};

/* The queues */

static unsigned int max_writers(unsigned int nr_threads)
{
	return min(nr_threads - 1, QCOW2_SLOW_WRITERS);
}

static bool has_read(const struct qcow2_slow_pool *pool)
{
	return !list_empty(&pool->queues[READ]);
}

static bool has_write(const struct qcow2_slow_pool *pool)
{
	return !list_empty(&pool->queues[WRITE]);
}

static bool may_write(const struct qcow2_slow_pool *pool)
{
	return pool->nr_writers < max_writers(pool->nr_threads);
}

static struct qcow2_work *pop(struct qcow2_slow_pool *pool)
{
	bool is_write = has_write(pool) && may_write(pool) &&
			!(pool->after_write && has_read(pool));
	struct qcow2_work *work;

	lockdep_assert_held(&pool->lock);
	if (!is_write && !has_read(pool))
		return NULL;
	work = list_first_entry(&pool->queues[is_write], struct qcow2_work, node);
	list_del_init(&work->node);
	pool->after_write = is_write;
	pool->nr_writers += is_write;
	return work;
}

/* Would another thread have something to do? */
static bool lacks_thread(const struct qcow2_slow_pool *pool)
{
	lockdep_assert_held(&pool->lock);
	return pool->nr_threads < QCOW2_SLOW_THREADS &&
	       (has_read(pool) || (has_write(pool) && pool->nr_writers < QCOW2_SLOW_WRITERS));
}

static void grow_later(struct qcow2_slow_pool *pool)
{
	if (lacks_thread(pool))
		queue_delayed_work(system_dfl_wq, &pool->grow_work, GROW_DELAY);
}

/* The one that was busy last: it is the others that are to be found idle for long. */
static bool wake_thread(struct qcow2_slow_pool *pool)
{
	struct slow_thread *t;

	t = list_first_entry_or_null(&pool->idle, struct slow_thread, idle);
	if (!t)
		return false;
	list_del_init(&t->idle);
	wake_up_process(t->task);
	return true;
}

void qcow2_slow_queue(struct qcow2_dev *dev, struct qcow2_work *work)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	list_add_tail(&work->node, &pool->queues[work->is_write]);
	/* Under the lock: once a thread has taken the work, the image may go. */
	if ((work->is_write && !may_write(pool)) || !wake_thread(pool))
		grow_later(pool);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_done(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	if (atomic_dec_and_test(&pool->busy))
		wake_up(&pool->drained);
	spin_unlock_irqrestore(&pool->lock, flags);
}

void qcow2_slow_drain(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;

	wait_event(pool->drained, !atomic_read(&pool->busy));
	/* Whoever woke us may still hold the lock; the image may go after this. */
	spin_lock_irq(&pool->lock);
	spin_unlock_irq(&pool->lock);
}

/* A thread */

/* Behind set_current_state(): whoever takes it off the list wakes it. */
static void become_idle(struct slow_thread *t)
{
	t->idle_since = jiffies;
	list_add(&t->idle, &t->pool->idle);
	/* It was woken for a write that must not take the last thread. */
	grow_later(t->pool);
}

/* Return: false when the thread is to end; *@work is NULL when it is to sleep. */
static bool take_work(struct slow_thread *t, struct qcow2_work **work)
{
	struct qcow2_slow_pool *pool = t->pool;
	bool is_stopped;

	spin_lock_irq(&pool->lock);
	pool->nr_writers -= t->is_writing;
	t->is_writing = false;
	is_stopped = t->is_stopped;
	if (!is_stopped) {
		/* Something else may have woken it. */
		list_del_init(&t->idle);
		*work = pop(pool);
		if (*work) {
			t->is_writing = (*work)->is_write;
		} else {
			set_current_state(TASK_IDLE);
			become_idle(t);
		}
	}
	spin_unlock_irq(&pool->lock);
	return !is_stopped;
}

static int slow_thread(void *data)
{
	struct slow_thread *t = data;
	struct qcow2_work *work;

	current->flags |= PF_LOCAL_THROTTLE;
	memalloc_noio_save();
	while (take_work(t, &work)) {
		if (work)
			work->fn(work);
		else
			schedule();
	}
	return 0;
}

static int add_thread(struct qcow2_slow_pool *pool)
{
	struct qcow2_dev *dev = container_of(pool, struct qcow2_dev, slow);
	struct slow_thread *t = kzalloc(sizeof(*t), GFP_KERNEL);
	struct task_struct *task;

	if (!t)
		return -ENOMEM;
	task = kthread_create(slow_thread, t, "qcow2_slow/%s", qcow2_name(dev->img));
	if (IS_ERR(task)) {
		kfree(t);
		return PTR_ERR(task);
	}
	t->pool = pool;
	t->task = get_task_struct(task); /* it may have ended when it is stopped */
	INIT_LIST_HEAD(&t->idle);
	spin_lock_irq(&pool->lock);
	list_add(&t->node, &pool->threads);
	pool->nr_threads++;
	spin_unlock_irq(&pool->lock);
	wake_up_process(task);
	return 0;
}

/* Take a thread away that is to be stopped. */
static void unlink_thread(struct slow_thread *t)
{
	lockdep_assert_held(&t->pool->lock);
	list_del(&t->node);
	list_del_init(&t->idle);
	t->is_stopped = true;
	t->pool->nr_threads--;
}

static void stop_thread(struct slow_thread *t)
{
	kthread_stop_put(t->task);
	kfree(t);
}

/* How many there are */

static void grow(struct work_struct *work)
{
	struct qcow2_slow_pool *pool = container_of(to_delayed_work(work), struct qcow2_slow_pool,
						    grow_work);
	bool is_wanted;

	spin_lock_irq(&pool->lock);
	is_wanted = lacks_thread(pool);
	spin_unlock_irq(&pool->lock);
	if (!is_wanted)
		return;
	qcow2_test_hold(QCOW2_HOLD_THREAD);
	if (add_thread(pool)) {
		queue_delayed_work(system_dfl_wq, &pool->grow_work, RETRY_DELAY);
		return;
	}
	queue_delayed_work(system_dfl_wq, &pool->shrink_work, IDLE_TIME);
	spin_lock_irq(&pool->lock);
	grow_later(pool);
	spin_unlock_irq(&pool->lock);
}

/* Take a thread away that has been idle for long, but leave one that no write takes. */
static struct slow_thread *unlink_idle(struct qcow2_slow_pool *pool)
{
	struct slow_thread *t = NULL;

	spin_lock_irq(&pool->lock);
	if (pool->nr_threads > QCOW2_SLOW_MIN_THREADS && !list_empty(&pool->idle) &&
	    pool->nr_writers <= max_writers(pool->nr_threads - 1))
		t = list_last_entry(&pool->idle, struct slow_thread, idle);
	if (t && time_before(jiffies, t->idle_since + IDLE_TIME))
		t = NULL;
	if (t)
		unlink_thread(t);
	spin_unlock_irq(&pool->lock);
	return t;
}

static void shrink(struct work_struct *work)
{
	struct qcow2_slow_pool *pool = container_of(to_delayed_work(work), struct qcow2_slow_pool,
						    shrink_work);
	struct slow_thread *t;
	bool is_small;

	while ((t = unlink_idle(pool)))
		stop_thread(t);
	spin_lock_irq(&pool->lock);
	is_small = pool->nr_threads == QCOW2_SLOW_MIN_THREADS;
	spin_unlock_irq(&pool->lock);
	if (!is_small)
		queue_delayed_work(system_dfl_wq, &pool->shrink_work, IDLE_TIME);
}

/* Life */

int qcow2_slow_init(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	int err;

	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->queues[READ]);
	INIT_LIST_HEAD(&pool->queues[WRITE]);
	INIT_LIST_HEAD(&pool->threads);
	INIT_LIST_HEAD(&pool->idle);
	INIT_DELAYED_WORK(&pool->grow_work, grow);
	INIT_DELAYED_WORK(&pool->shrink_work, shrink);
	init_waitqueue_head(&pool->drained);
	for (int i = 0; i < QCOW2_SLOW_MIN_THREADS; i++) {
		err = add_thread(pool);
		if (err) {
			qcow2_slow_exit(dev);
			return err;
		}
	}
	return 0;
}

void qcow2_slow_exit(struct qcow2_dev *dev)
{
	struct qcow2_slow_pool *pool = &dev->slow;
	struct slow_thread *t, *next;

	/* A thread that is being created waits for memory, and no I/O of ours is left. */
	disable_delayed_work_sync(&pool->grow_work);
	disable_delayed_work_sync(&pool->shrink_work);
	list_for_each_entry_safe(t, next, &pool->threads, node) {
		spin_lock_irq(&pool->lock);
		unlink_thread(t);
		spin_unlock_irq(&pool->lock);
		stop_thread(t);
	}
}
