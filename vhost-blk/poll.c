// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether a worker looks for a queue's next request, or sleeps until it is woken.
 *
 * A wait begins when the worker has done all there was for the queue, and ends with
 * the next request, or with one that the device has done. To poll through it pays if
 * it is short, which is known in the end only; but a guest's waits resemble each other.
 * There are two kinds, as those of a guest with one request in flight alternate:
 * some request is at the device, or none is.
 *
 *  - A wait is polled through, for at most the busy-loop timeout, if the last one of its
 *    kind was shorter than that. A guest that stops costs one timeout, one that
 *    does something now and then costs what it does with a worker that sleeps.
 *  - As KVM does for virtual CPUs, never while another task wants the CPU, the guest
 *    itself for example.
 *
 * All of it is a guess, made by the worker for itself. While a queue is moved to
 * another worker two may guess at once, and guess wrong.
 */
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/stat.h>
#include "device.h"
#include "poll.h"

/**
 * vhost_blk_poll_limit_ns - the busy-loop timeout
 * @q: queue
 *
 * Return: nanoseconds, 0 if there is to be no polling.
 */
u64 vhost_blk_poll_limit_ns(const struct vhost_blk_vq *q)
{
	return READ_ONCE(q->vq.busyloop_timeout) * (u64)NSEC_PER_USEC;
}

/**
 * vhost_blk_wait_begins - the worker has done something, and looks for more
 * @q: queue
 *
 * Context: the vhost worker.
 */
void vhost_blk_wait_begins(struct vhost_blk_vq *q)
{
	if (!vhost_blk_poll_limit_ns(q))
		return;
	q->busy_ns = local_clock();
	q->waits_for_device = vhost_blk_in_flight(q);
}

/**
 * vhost_blk_wait_ended - the worker was woken: learn from how long that took
 * @q: queue
 *
 * Context: the vhost worker.
 */
void vhost_blk_wait_ended(struct vhost_blk_vq *q)
{
	u64 limit_ns = vhost_blk_poll_limit_ns(q);

	if (limit_ns)
		q->is_short[q->waits_for_device] = local_clock() - q->busy_ns < limit_ns;
}

/**
 * vhost_blk_polls_at_all - whether there are waits that would be polled through now
 * @q: queue
 *
 * Context: the vhost worker.
 */
bool vhost_blk_polls_at_all(const struct vhost_blk_vq *q)
{
	return vhost_blk_poll_limit_ns(q) &&
	       (q->is_short[false] || q->is_short[true]) && single_task_running();
}

/**
 * vhost_blk_may_poll - whether this wait is polled through, and is not over yet
 * @q: queue
 * @now: local_clock()
 *
 * Context: the vhost worker.
 */
bool vhost_blk_may_poll(const struct vhost_blk_vq *q, u64 now)
{
	return q->is_short[q->waits_for_device] &&
	       now - q->busy_ns < vhost_blk_poll_limit_ns(q) && single_task_running();
}
