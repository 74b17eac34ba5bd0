// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost_blk: virtio-blk queues served by the host kernel. Module and device node.
 *
 *	kick eventfd --> vhost worker: vq.c pops, request.c checks, submit.c
 *	                    |                                        | bios
 *	                    |                                        v
 *	call eventfd <-- vhost worker: complete.c <-- bio end <-- block device
 *
 * device.c has the ioctls; backend.c the block device; drain.c the waiting;
 * poll.c says when a worker does not sleep.
 * Lock order: device.h. Life of a request: request.h. Death of an owner:
 * complete.c.
 */
#define CREATE_TRACE_POINTS
#include <linux/blkdev.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/workqueue.h>
#include "device.h"
#include "trace.h"

struct workqueue_struct *vhost_blk_reaper;

static struct miscdevice vhost_blk_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vhost-blk",
	.fops = &vhost_blk_fops,
	.mode = 0600,
};

static int __init vhost_blk_init(void)
{
	int ret;

	vhost_blk_reaper = alloc_workqueue("vhost_blk_reaper", WQ_UNBOUND, 0);
	if (!vhost_blk_reaper)
		return -ENOMEM;
	ret = misc_register(&vhost_blk_misc);
	if (ret)
		destroy_workqueue(vhost_blk_reaper);
	return ret;
}

static void __exit vhost_blk_exit(void)
{
	misc_deregister(&vhost_blk_misc);
	destroy_workqueue(vhost_blk_reaper);
}

module_init(vhost_blk_init);
module_exit(vhost_blk_exit);

MODULE_DESCRIPTION("virtio-blk queues served by the host kernel");
MODULE_LICENSE("GPL");
