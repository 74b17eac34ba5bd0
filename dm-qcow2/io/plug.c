// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs on files that a vhost worker starts itself, when it unplugs.
 *
 * A hand-over to the thread of a CPU costs a wake-up and two switches between
 * threads. .map cannot call the file system, but a vhost worker can once its plug
 * is flushed: it is then below nothing, holds no lock of a file system and is in
 * no reclaim. So .map parks the runs of such a task with its plug. Other tasks may
 * hold the locks of a file system that lies on the mapped device.
 */
#include <linux/blkdev.h>
#include <linux/sched/signal.h>

#include "dev.h"
#include "request.h"

/**
 * struct parked - the runs that wait for a task's plug
 * @cb: the plug's; has to be first, it is freed by us
 * @runs: the last one first
 */
struct parked {
	struct blk_plug_cb cb;
	struct llist_node *runs;
};

static_assert(offsetof(struct parked, cb) == 0);

static bool is_vhost_worker(void)
{
	return (current->flags & (PF_USER_WORKER | PF_IO_WORKER)) == PF_USER_WORKER;
}

/* The size limit of files would be that of the worker's owner. */
static bool may_call_file_system(bool from_schedule)
{
	return !from_schedule && !current->bio_list && !current->journal_info &&
	       !(current->flags & (PF_MEMALLOC | PF_MEMALLOC_NOFS | PF_MEMALLOC_NOIO)) &&
	       !fatal_signal_pending(current) && rlimit(RLIMIT_FSIZE) == RLIM_INFINITY;
}

static void unplug(struct blk_plug_cb *cb, bool from_schedule)
{
	struct parked *parked = container_of(cb, struct parked, cb);
	bool may_submit = may_call_file_system(from_schedule);
	struct qcow2_run *run, *next;

	llist_for_each_entry_safe(run, next, llist_reverse_order(parked->runs), node) {
		if (may_submit)
			qcow2_run_submit(run, false);
		else
			qcow2_cpu_queue_add(run);
	}
	kfree(parked);
}

bool qcow2_plug_add(struct qcow2_run *run)
{
	struct blk_plug_cb *cb;
	struct parked *parked;

	if (!is_vhost_worker())
		return false;
	cb = blk_check_plugged(unplug, NULL, sizeof(*parked));
	if (!cb)
		return false;
	parked = container_of(cb, struct parked, cb);
	run->node.next = parked->runs;
	parked->runs = &run->node;
	return true;
}
