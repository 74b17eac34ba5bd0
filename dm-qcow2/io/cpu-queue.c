// SPDX-License-Identifier: GPL-2.0-only
/*
 * One thread a CPU that starts direct I/O on files.
 *
 * .map must not call the file system: its caller may hold a journal handle, sits
 * under current->bio_list, and has little stack left. So runs are put on a
 * lockless list of this CPU; the first one on an empty list wakes the thread,
 * which takes the whole batch and starts it under one plug.
 *
 * The threads serve all images. They ask the file system not to sleep (see run.c),
 * and now and then it does: for a block of an extent tree, for the journal. What it
 * waits for may be I/O on another image, if the file system lies on one, that waits
 * for this very thread. So nothing ever waits for a thread that sleeps: what finds
 * it asleep in a file system goes to the slow pools of the images, whose threads
 * serve one image each, with all that waits for the thread already; and a timer looks
 * for what was there before it fell asleep.
 *
 * A thread is made before its CPU comes up for the first time, and starts when the
 * CPU is up. It stays when the CPU goes away, unbound by the scheduler, so nothing
 * queued is ever lost.
 */
#include <linux/blkdev.h>
#include <linux/cpuhotplug.h>
#include <linux/kthread.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/timer.h>

#include "dev.h"
#include "request.h"

#define RESCUE_DELAY	(HZ / 10)

/**
 * struct cpu_queue - what waits for the thread of a CPU
 * @runs: the last one first
 * @batch: taken from @runs and not started yet, the first one first. The thread
 *	alone adds to it; who wants it takes it as a whole, by xchg()
 * @starting: the thread may be in a file system
 * @thread: the thread
 * @rescue: pending from when the thread goes to work until it is found idle
 */
struct cpu_queue {
	struct llist_head runs;
	struct llist_node *batch;
	bool starting;
	struct task_struct *thread;
	struct timer_list rescue;
};

static DEFINE_PER_CPU(struct cpu_queue, cpu_queues);
static enum cpuhp_state prepare_state;
static enum cpuhp_state online_state;

static void give_away(struct llist_node *runs)
{
	struct qcow2_run *run, *next;

	llist_for_each_entry_safe(run, next, runs, node)
		qcow2_run_queue_slow(run);
}

/* Whatever waits for the thread waits no longer. */
static void rescue_runs(struct cpu_queue *cq)
{
	give_away(xchg(&cq->batch, NULL));
	give_away(llist_reverse_order(llist_del_all(&cq->runs)));
}

static void rescue(struct timer_list *timer)
{
	struct cpu_queue *cq = container_of(timer, struct cpu_queue, rescue);

	smp_mb(); /* the timer is not pending any more, then look; pairs with start_runs() */
	if (!READ_ONCE(cq->starting))
		return;
	if (!task_is_running(cq->thread))
		rescue_runs(cq);
	mod_timer(&cq->rescue, jiffies + RESCUE_DELAY);
}

static struct qcow2_run *take_run(struct cpu_queue *cq)
{
	struct llist_node *first = xchg(&cq->batch, NULL);

	if (!first)
		return NULL;
	smp_store_release(&cq->batch, first->next); /* for xchg() of who wants it */
	return llist_entry(first, struct qcow2_run, node);
}

static void start_batch(struct cpu_queue *cq, struct llist_node *runs)
{
	struct qcow2_run *run;
	struct blk_plug plug;

	smp_store_release(&cq->batch, llist_reverse_order(runs)); /* likewise */
	blk_start_plug(&plug);
	while ((run = take_run(cq)))
		qcow2_run_submit(run, false);
	blk_finish_plug(&plug);
}

static void start_runs(struct cpu_queue *cq, struct llist_node *runs)
{
	WRITE_ONCE(cq->starting, true);
	smp_mb(); /* pairs with rescue() */
	if (!timer_pending(&cq->rescue))
		mod_timer(&cq->rescue, jiffies + RESCUE_DELAY);
	/* A single one has nothing to gather: the file system has a plug of its own for it. */
	if (runs->next)
		start_batch(cq, runs);
	else
		qcow2_run_submit(llist_entry(runs, struct qcow2_run, node), false);
	WRITE_ONCE(cq->starting, false);
}

static int queue_thread(void *data)
{
	struct cpu_queue *cq = data;
	struct llist_node *runs;

	current->flags |= PF_LOCAL_THROTTLE;
	memalloc_noio_save();
	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		runs = llist_del_all(&cq->runs);
		if (!runs && !kthread_should_stop()) {
			schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);
		if (runs)
			start_runs(cq, runs);
		cond_resched();
	}
	return 0;
}

/* Whether the thread is in a file system, and may wait there for the run that comes now. */
static bool is_stuck(const struct cpu_queue *cq)
{
	return READ_ONCE(cq->starting) &&
	       (cq->thread == current || !task_is_running(cq->thread));
}

void qcow2_cpu_queue_add(struct qcow2_run *run)
{
	/* Any will do: only the thread itself has to be on its CPU. */
	struct cpu_queue *cq = raw_cpu_ptr(&cpu_queues);

	if (unlikely(is_stuck(cq))) {
		rescue_runs(cq);
		qcow2_run_queue_slow(run);
	} else if (llist_add(&run->node, &cq->runs)) {
		wake_up_process(cq->thread);
	}
}

static int make_thread(unsigned int cpu)
{
	struct cpu_queue *cq = per_cpu_ptr(&cpu_queues, cpu);
	struct task_struct *thread;

	if (cq->thread)
		return 0;
	thread = kthread_create_on_cpu(queue_thread, cq, cpu, "qcow2_io/%u");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	timer_setup(&cq->rescue, rescue, 0);
	cq->thread = thread;
	return 0;
}

static int wake_thread(unsigned int cpu)
{
	wake_up_process(per_cpu_ptr(&cpu_queues, cpu)->thread);
	return 0;
}

static void stop_threads(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct cpu_queue *cq = per_cpu_ptr(&cpu_queues, cpu);

		if (!cq->thread)
			continue;
		kthread_stop(cq->thread);
		timer_delete_sync(&cq->rescue);
		cq->thread = NULL;
	}
}

int qcow2_cpu_queues_init(void)
{
	int ret;

	ret = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "dm/qcow2:prepare", make_thread, NULL);
	if (ret < 0)
		goto err_stop;
	prepare_state = ret;
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dm/qcow2:online", wake_thread, NULL);
	if (ret < 0)
		goto err_remove;
	online_state = ret;
	return 0;

err_remove:
	cpuhp_remove_state_nocalls(prepare_state);
err_stop:
	stop_threads();
	return ret;
}

void qcow2_cpu_queues_exit(void)
{
	cpuhp_remove_state_nocalls(online_state);
	cpuhp_remove_state_nocalls(prepare_state);
	stop_threads();
}
