// SPDX-License-Identifier: GPL-2.0-only
/*
 * One thread a CPU that starts direct I/O on files.
 *
 * .map must not call the file system: its caller may hold a journal handle, sits
 * under current->bio_list, and has little stack left. So runs are put on a
 * lockless list of this CPU; the first one on an empty list wakes the thread,
 * which takes the whole batch and starts it under one plug. The threads serve
 * all images and never sleep in a file system (see run.c).
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

#include "qcow2.h"
#include "request.h"

struct cpu_queue {
	struct llist_head runs;
	struct task_struct *thread;
};

static DEFINE_PER_CPU(struct cpu_queue, cpu_queues);
static enum cpuhp_state prepare_state;
static enum cpuhp_state online_state;

static void start_runs(struct llist_node *runs)
{
	struct qcow2_run *run, *next;
	struct blk_plug plug;

	blk_start_plug(&plug);
	llist_for_each_entry_safe(run, next, llist_reverse_order(runs), node)
		qcow2_run_submit(run, false);
	blk_finish_plug(&plug);
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
			start_runs(runs);
		cond_resched();
	}
	return 0;
}

void qcow2_cpu_queue_add(struct qcow2_run *run)
{
	struct cpu_queue *cq = get_cpu_ptr(&cpu_queues);

	if (llist_add(&run->node, &cq->runs))
		wake_up_process(cq->thread);
	put_cpu_ptr(&cpu_queues);
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

		if (cq->thread)
			kthread_stop(cq->thread);
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
