// SPDX-License-Identifier: GPL-2.0-only
/*
 * VHOST_BLK_GET_VRING_STATS.
 */
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include "device.h"
#include "stats.h"

/**
 * vhost_blk_get_vring_stats - copy a queue's counters to user space
 * @vdev: device
 * @argp: struct vhost_blk_vring_stats, with the queue's index
 *
 * Return: 0, ENOBUFS if there is no such queue, or EFAULT.
 */
long vhost_blk_get_vring_stats(struct vhost_blk *vdev, void __user *argp)
{
	struct vhost_blk_vring_stats stats;
	struct vhost_blk_vq *q;
	u32 index;

	if (get_user(index, (u32 __user *)argp))
		return -EFAULT;
	if (index >= vdev->dev.nvqs)
		return -ENOBUFS;
	q = vdev->queues[array_index_nospec(index, vdev->dev.nvqs)];

	mutex_lock(&q->vq.mutex);
	stats = q->stats;
	stats.in_flight = vhost_blk_in_flight(q);
	mutex_unlock(&q->vq.mutex);
	stats.index = index;
	return copy_to_user(argp, &stats, sizeof(stats)) ? -EFAULT : 0;
}
