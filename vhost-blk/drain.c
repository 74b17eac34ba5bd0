// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting until the requests that were popped before now are in the used ring.
 *
 * A running queue never has nothing in flight, so there are two counts. New
 * requests go to the current epoch's; a drain waits for the other one (left from
 * a drain that was killed), flips the epoch, and waits for the one that was
 * current. Flips are serialised by dev.mutex.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/sched/signal.h>
#include "backend.h"
#include "device.h"
#include "drain.h"

/* The host administrator is told of longer waits: somebody hangs meanwhile. */
#define PATIENCE	(30 * HZ)

static bool is_drained(const struct vhost_blk_vq *q, unsigned int epoch)
{
	return !READ_ONCE(q->in_flight[epoch]);
}

static void complain(struct vhost_blk_vq *q, unsigned int epoch)
{
	const struct vhost_blk_backend *backend = q->vdev->backend;

	pr_warn_ratelimited("%pg: queue %u waits for %u requests\n",
			    backend->bdev, q->index,
			    READ_ONCE(q->in_flight[epoch]));
}

static int wait_killable(struct vhost_blk_vq *q, unsigned int epoch)
{
	long ret;

	for (;;) {
		ret = wait_event_killable_timeout(q->drained,
						  is_drained(q, epoch), PATIENCE);
		if (ret)
			return ret < 0 ? -EINTR : 0;
		complain(q, epoch);
	}
}

static void wait_for_release(struct vhost_blk_vq *q, unsigned int epoch)
{
	while (!wait_event_timeout(q->drained, is_drained(q, epoch), PATIENCE))
		complain(q, epoch);
}

/* Returns the epoch whose requests are to be waited for. */
static unsigned int flip(struct vhost_blk_vq *q)
{
	unsigned int old;

	mutex_lock(&q->vq.mutex);
	old = q->epoch;
	q->epoch = !old;
	mutex_unlock(&q->vq.mutex);
	return old;
}

/**
 * vhost_blk_drain_vq - wait for the requests that a queue has popped so far
 * @q: running or stopped
 *
 * Context: dev.mutex held, vq.mutex not.
 * Return: 0, or EINTR if the caller is being killed.
 */
int vhost_blk_drain_vq(struct vhost_blk_vq *q)
{
	int ret;

	/* Nobody pops into this one. */
	ret = wait_killable(q, !q->epoch);
	if (ret)
		return ret;
	return wait_killable(q, flip(q));
}

/**
 * vhost_blk_drain - the same for all queues
 * @vdev: device
 *
 * Context: dev.mutex held.
 * Return: 0, or EINTR if the caller is being killed.
 */
int vhost_blk_drain(struct vhost_blk *vdev)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vdev->dev.nvqs; i++) {
		ret = vhost_blk_drain_vq(vdev->queues[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * vhost_blk_drain_stopped - finish what stops that were killed have left
 * @vdev: device
 *
 * vhost core takes a queue without a backend for idle: it stores ring addresses
 * unchecked, and any size. Requests in flight write to the used ring through
 * them, so it may have the device only when there are none.
 *
 * Context: dev.mutex held.
 * Return: 0, or EINTR if the caller is being killed.
 */
int vhost_blk_drain_stopped(struct vhost_blk *vdev)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vdev->dev.nvqs; i++) {
		struct vhost_blk_vq *q = vdev->queues[i];

		/* With dev.mutex held nobody starts it, so both only fall. */
		if (q->vq.private_data || (is_drained(q, 0) && is_drained(q, 1)))
			continue;
		ret = vhost_blk_drain_vq(q);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * vhost_blk_drain_for_release - wait for everything, whatever happens
 * @vdev: all queues are stopped
 *
 * There is no way out: the device still writes to the guest's pages.
 */
void vhost_blk_drain_for_release(struct vhost_blk *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->dev.nvqs; i++) {
		wait_for_release(vdev->queues[i], 0);
		wait_for_release(vdev->queues[i], 1);
	}
}

/**
 * vhost_blk_wake_drains - requests have gone from the count
 * @q: queue
 *
 * Context: vq.mutex held, which orders the count before the look at waiters.
 */
void vhost_blk_wake_drains(struct vhost_blk_vq *q)
{
	lockdep_assert_held(&q->vq.mutex);
	if ((!q->in_flight[0] || !q->in_flight[1]) && wq_has_sleeper(&q->drained))
		wake_up_all(&q->drained);
}
