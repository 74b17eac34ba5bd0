// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/vhost-blk: open, release, ioctl.
 *
 * An open is one disk of one guest. All of its state changes through ioctls,
 * one at a time under dev.mutex; queues run on their own in between.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "backend.h"
#include "complete.h"
#include "device.h"
#include "drain.h"
#include "stats.h"
#include "vq.h"

/* A run of a kick handler; the driver bounds bytes by what is in flight. */
#define WEIGHT		256
#define BYTE_WEIGHT	0

/*
 * What vhost core does, and virtio-blk bits that change what the kernel does. Not
 * VIRTIO_F_NOTIFY_ON_EMPTY: vhost core would then interrupt drivers that asked for
 * no interrupts.
 */
#define FEATURES	(BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |	\
			 BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |	\
			 BIT_ULL(VHOST_F_LOG_ALL) |		\
			 BIT_ULL(VIRTIO_F_ANY_LAYOUT) |		\
			 BIT_ULL(VIRTIO_F_VERSION_1) |		\
			 BIT_ULL(VIRTIO_BLK_F_MQ) |		\
			 BIT_ULL(VIRTIO_BLK_F_FLUSH) |		\
			 BIT_ULL(VIRTIO_BLK_F_DISCARD) |	\
			 BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES) |	\
			 BIT_ULL(VIRTIO_BLK_F_SECURE_ERASE))

static struct vhost_blk_vq *alloc_queue(struct vhost_blk *vdev, unsigned int index)
{
	struct vhost_blk_vq *q = kvzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);

	if (!q)
		return NULL;
	q->vdev = vdev;
	q->index = index;
	q->vq.handle_kick = vhost_blk_handle_kick;
	mutex_init(&q->fetch_lock);
	init_waitqueue_head(&q->drained);
	vhost_blk_init_completion(q);
	return q;
}

static void free_device(struct vhost_blk *vdev)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vdev->queues) && vdev->queues[i]; i++) {
		vhost_blk_vq_free_memory(vdev->queues[i]);
		kvfree(vdev->queues[i]);
	}
	kfree(vdev);
}

static int vhost_blk_open(struct inode *inode, struct file *file)
{
	struct vhost_blk *vdev;
	unsigned int i;

	vdev = kzalloc(sizeof(*vdev), GFP_KERNEL_ACCOUNT);
	if (!vdev)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(vdev->queues); i++) {
		vdev->queues[i] = alloc_queue(vdev, i);
		if (!vdev->queues[i]) {
			free_device(vdev);
			return -ENOMEM;
		}
		vdev->vqs[i] = &vdev->queues[i]->vq;
	}
	vhost_dev_init(&vdev->dev, vdev->vqs, ARRAY_SIZE(vdev->vqs),
		       VHOST_BLK_MAX_IOV, WEIGHT, BYTE_WEIGHT, true, NULL);
	file->private_data = vdev;
	return 0;
}

static void stop_all(struct vhost_blk *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->dev.nvqs; i++)
		vhost_blk_vq_stop(vdev->queues[i]);
}

/*
 * All requests are in the used ring. Wait for whoever put the last ones there,
 * in whatever context; then nobody refers to queues, workers or the mm.
 */
static void quiesce(struct vhost_blk *vdev)
{
	unsigned int i;

	/* bio ends that have handed their request over and not yet returned */
	synchronize_rcu();
	vhost_dev_stop(&vdev->dev);
	for (i = 0; i < vdev->dev.nvqs; i++)
		flush_work(&vdev->queues[i]->reap_work);
}

static void detach(struct vhost_blk *vdev)
{
	if (!vdev->backend)
		return;
	vhost_blk_backend_close(vdev->backend);
	vdev->backend = NULL;
}

static int vhost_blk_release(struct inode *inode, struct file *file)
{
	struct vhost_blk *vdev = file->private_data;

	stop_all(vdev);
	vhost_blk_drain_for_release(vdev);
	quiesce(vdev);
	/* From here on a successor may start from the used ring's index. */
	detach(vdev);
	vhost_dev_cleanup(&vdev->dev);
	free_device(vdev);
	return 0;
}

static long set_features(struct vhost_blk *vdev, const u64 __user *argp)
{
	bool has_log, had_log = false;
	unsigned int i;
	u64 features;

	if (copy_from_user(&features, argp, sizeof(features)))
		return -EFAULT;
	if (features & ~FEATURES)
		return -EOPNOTSUPP;
	has_log = features & BIT_ULL(VHOST_F_LOG_ALL);
	if (has_log && !vhost_log_access_ok(&vdev->dev))
		return -EFAULT;

	/* Features are set again to turn the log on: the mode that was set stays. */
	if ((features ^ vdev->features) & BIT_ULL(VIRTIO_BLK_F_FLUSH))
		WRITE_ONCE(vdev->is_writeback,
			   features & BIT_ULL(VIRTIO_BLK_F_FLUSH));
	vdev->features = features;
	for (i = 0; i < vdev->dev.nvqs; i++) {
		struct vhost_virtqueue *vq = vdev->vqs[i];

		mutex_lock(&vq->mutex);
		had_log = vhost_has_feature(vq, VHOST_F_LOG_ALL);
		vq->acked_features = features;
		mutex_unlock(&vq->mutex);
	}
	/* What requests popped without logging write must be seen by the caller. */
	return has_log && !had_log ? vhost_blk_drain(vdev) : 0;
}

static int stop_and_drain(struct vhost_blk *vdev)
{
	stop_all(vdev);
	return vhost_blk_drain(vdev);
}

/* Start every queue that is set up. */
static int start_all(struct vhost_blk *vdev)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < vdev->dev.nvqs && !ret; i++) {
		struct vhost_blk_vq *q = vdev->queues[i];
		bool is_setup;

		mutex_lock(&q->vq.mutex);
		is_setup = vhost_vq_is_setup(&q->vq);
		mutex_unlock(&q->vq.mutex);
		if (is_setup)
			ret = vhost_blk_vq_start(q, vdev->backend);
	}
	return ret;
}

static int attach(struct vhost_blk *vdev, int fd)
{
	struct vhost_blk_backend *backend;
	int ret;

	if (vdev->backend)
		return -EBUSY;
	backend = vhost_blk_backend_open(fd);
	if (IS_ERR(backend))
		return PTR_ERR(backend);
	vdev->backend = backend;
	ret = start_all(vdev);
	if (!ret)
		return 0;
	/* If even that is killed, release does the rest. */
	if (!stop_and_drain(vdev))
		detach(vdev);
	return ret;
}

static long set_backend(struct vhost_blk *vdev, const void __user *argp)
{
	struct vhost_vring_file backend;
	int ret;

	if (copy_from_user(&backend, argp, sizeof(backend)))
		return -EFAULT;
	if (backend.fd != VHOST_FILE_UNBIND)
		return attach(vdev, backend.fd);
	ret = stop_and_drain(vdev);
	if (!ret)
		detach(vdev);
	return ret;
}

static long set_serial(struct vhost_blk *vdev, const void __user *argp)
{
	return copy_from_user(vdev->serial, argp, sizeof(vdev->serial)) ? -EFAULT : 0;
}

static long set_write_cache(struct vhost_blk *vdev, const u32 __user *argp)
{
	u32 mode;

	if (get_user(mode, argp))
		return -EFAULT;
	if (mode > 1)
		return -EINVAL;
	WRITE_ONCE(vdev->is_writeback, mode);
	return 0;
}

static long set_vring_run(struct vhost_blk *vdev, const void __user *argp)
{
	struct vhost_vring_state state;
	struct vhost_blk_vq *q;

	if (copy_from_user(&state, argp, sizeof(state)))
		return -EFAULT;
	if (state.index >= vdev->dev.nvqs)
		return -ENOBUFS;
	if (state.num > 1)
		return -EINVAL;
	q = vdev->queues[array_index_nospec(state.index, vdev->dev.nvqs)];
	if (!state.num) {
		vhost_blk_vq_stop(q);
		return vhost_blk_drain_vq(q);
	}
	return vdev->backend ? vhost_blk_vq_start(q, vdev->backend) : -ENXIO;
}

static long reset_owner(struct vhost_blk *vdev)
{
	struct vhost_iotlb *umem;
	int ret;

	umem = vhost_dev_reset_owner_prepare();
	if (!umem)
		return -ENOMEM;
	ret = stop_and_drain(vdev);
	if (ret) {
		vhost_iotlb_free(umem);
		return ret;
	}
	quiesce(vdev);
	detach(vdev);
	vhost_dev_reset_owner(&vdev->dev, umem);
	vdev->features = 0;
	WRITE_ONCE(vdev->is_writeback, false);
	return 0;
}

/* Does any queue that has run stand still? */
static bool has_stopped(const struct vhost_blk *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->dev.nvqs; i++)
		if (vdev->queues[i]->pool && !vdev->queues[i]->vq.private_data)
			return true;
	return false;
}

static long worker_ioctl(struct vhost_blk *vdev, unsigned int cmd, void __user *argp)
{
	/*
	 * vhost core warns about work left on a worker that it takes from a
	 * queue with neither backend nor kick; ours may have some after a stop:
	 * the grace period waits for those who are just queueing it.
	 */
	if (cmd == VHOST_ATTACH_VRING_WORKER && has_stopped(vdev)) {
		synchronize_rcu();
		vhost_dev_flush(&vdev->dev);
	}
	return vhost_worker_ioctl(&vdev->dev, cmd, argp);
}

static long core_ioctl(struct vhost_blk *vdev, unsigned int cmd, void __user *argp)
{
	long ret = vhost_dev_ioctl(&vdev->dev, cmd, argp);

	if (ret == -ENOIOCTLCMD)
		ret = vhost_vring_ioctl(&vdev->dev, cmd, argp);
	/* Requests translated by the old table write through it. */
	else if (!ret && cmd == VHOST_SET_MEM_TABLE)
		ret = vhost_blk_drain(vdev);
	return ret;
}

static long own_ioctl(struct vhost_blk *vdev, unsigned int cmd, void __user *argp)
{
	long ret = vhost_dev_check_owner(&vdev->dev);

	if (ret)
		return ret;

	switch (cmd) {
	case VHOST_SET_FEATURES:
		return set_features(vdev, argp);
	case VHOST_RESET_OWNER:
		return reset_owner(vdev);
	case VHOST_BLK_SET_BACKEND:
		return set_backend(vdev, argp);
	case VHOST_BLK_SET_SERIAL:
		return set_serial(vdev, argp);
	case VHOST_BLK_SET_VRING_RUN:
		return set_vring_run(vdev, argp);
	case VHOST_BLK_SET_WRITE_CACHE:
		return set_write_cache(vdev, argp);
	default:
		return vhost_blk_get_vring_stats(vdev, argp);
	}
}

static long locked_ioctl(struct vhost_blk *vdev, unsigned int cmd, void __user *argp)
{
	int ret;

	switch (cmd) {
	case VHOST_SET_FEATURES:
	case VHOST_RESET_OWNER:
	case VHOST_BLK_SET_BACKEND:
	case VHOST_BLK_SET_SERIAL:
	case VHOST_BLK_SET_VRING_RUN:
	case VHOST_BLK_SET_WRITE_CACHE:
	case VHOST_BLK_GET_VRING_STATS:
		return own_ioctl(vdev, cmd, argp);
	}

	/* The others go to vhost core, which looks for a backend only. */
	ret = vhost_blk_drain_stopped(vdev);
	if (ret)
		return ret;

	switch (cmd) {
	case VHOST_NEW_WORKER:
	case VHOST_FREE_WORKER:
	case VHOST_ATTACH_VRING_WORKER:
	case VHOST_GET_VRING_WORKER:
		return worker_ioctl(vdev, cmd, argp);
	default:
		return core_ioctl(vdev, cmd, argp);
	}
}

static long vhost_blk_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vhost_blk *vdev = file->private_data;
	void __user *argp = (void __user *)arg;
	u64 features = FEATURES;
	long ret;

	if (cmd == VHOST_GET_FEATURES)
		return copy_to_user(argp, &features, sizeof(features)) ? -EFAULT : 0;

	/* Another ioctl may be waiting for the device. */
	if (mutex_lock_killable(&vdev->dev.mutex))
		return -EINTR;
	ret = locked_ioctl(vdev, cmd, argp);
	mutex_unlock(&vdev->dev.mutex);
	return ret;
}

const struct file_operations vhost_blk_fops = {
	.owner = THIS_MODULE,
	.open = vhost_blk_open,
	.release = vhost_blk_release,
	.unlocked_ioctl = vhost_blk_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};
