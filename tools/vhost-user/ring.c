// SPDX-License-Identifier: GPL-2.0-only
/*
 * The queues of a connection: which run in the kernel, and with which addresses.
 *
 *            KICK                     GET_VRING_BASE, reset, end
 *   stopped ------> started, enabled ----------------------------> stopped
 *                   = running, while its addresses are in mapped memory
 *
 * What the front-end says is kept, and the kernel device is opened when the first
 * queue is to run. That way a reset is a close, and a table that misses the memory
 * of a ring for a moment only pauses that ring.
 */
#include <errno.h>
#include <linux/virtio_ring.h>

#include "cmd/err.h"
#include "ring.h"

/** vhost_rings_set_cache() - tell the kernel whether writes may be cached, if it is there */
int vhost_rings_set_cache(struct vhost_user *vu)
{
	bool can_flush = vu->features & BIT(VIRTIO_BLK_F_FLUSH);

	if (vu->kernel.fd < 0)
		return 0;
	return vhost_kernel_set_write_cache(&vu->kernel,
					    can_flush && !vu->disk->is_write_through);
}

/** vhost_rings_set_features() - tell the kernel what was acknowledged, if it is there */
int vhost_rings_set_features(struct vhost_user *vu)
{
	int err;

	if (vu->kernel.fd < 0)
		return 0;
	/* Without the bits of the configuration space. A change of FLUSH sets the cache. */
	err = vhost_kernel_set_features(&vu->kernel, vu->features & vu->disk->kernel_features);
	return err ? err : vhost_rings_set_cache(vu);
}

/**
 * vhost_ring_translate() - where a ring is in this process
 * @m: the memory table
 * @r: the ring as the front-end described it
 * @out: filled in
 *
 * Return: 0, -EFAULT when it is not described, or not in that memory.
 */
int vhost_ring_translate(const struct vhost_mem *m, const struct ring *r,
			  struct vhost_vring_addr *out)
{
	const uint64_t n = r->size;
	uint64_t desc, used, avail;

	if (!r->has_addr || !n ||
	    vhost_mem_translate(m, r->addr.desc, 16 * n, &desc) ||
	    vhost_mem_translate(m, r->addr.avail, 6 + 2 * n, &avail) ||
	    vhost_mem_translate(m, r->addr.used, 6 + 8 * n, &used))
		return -EFAULT;
	*out = (struct vhost_vring_addr){
		.index = r->addr.index,
		.flags = r->addr.flags,
		.desc_user_addr = desc,
		.used_user_addr = used,
		.avail_user_addr = avail,
		.log_guest_addr = r->addr.log,
	};
	return 0;
}

/** vhost_ring_should_run() - does the front-end want the queue to run, and nobody else that not? */
bool vhost_ring_should_run(const struct vhost_user *vu, const struct ring *r)
{
	/* Without protocol features there is no message that enables. */
	bool is_enabled = r->is_enabled ||
		!(vu->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return r->is_started && is_enabled && !vu->is_paused;
}

static int open_kernel(struct vhost_user *vu)
{
	int err;

	if (vu->kernel.fd >= 0)
		return 0;
	err = vhost_kernel_open(&vu->kernel, vu->disk, vu->stop_fd);
	if (err)
		return err;
	err = vhost_rings_set_features(vu);
	if (!err)
		err = vhost_kernel_set_memory(&vu->kernel, vu->mem);
	if (err)
		vhost_kernel_close(&vu->kernel);
	return err;
}

/* A driver without indirect descriptors takes seg_max at its word. */
static void say_short(struct vhost_user *vu, const struct ring *r)
{
	unsigned int offered = vu->disk->queue_size;

	if (vu->has_said_short || r->size >= offered ||
	    vu->features & BIT(VIRTIO_RING_F_INDIRECT_DESC))
		return;
	vu->has_said_short = true;
	err_report(VBLK_FAILED, vu->disk->name,
		   "queue %ld has %u descriptors, but the driver was told of up to %u segments a request",
		   (long)(r - vu->rings), r->size,
		   offered - 2);
	err_hint("vblk-attach --queue-size %u, or queues of %u in the front-end",
		 r->size, offered);
}

static int start_ring(struct vhost_user *vu, struct ring *r)
{
	struct vhost_kernel_ring kr = {
		.size = r->size,
		.kick = r->kick,
		.call = r->call,
		.err = r->err,
	};
	int err;

	if (vhost_ring_translate(vu->mem, r, &kr.addr))
		return 0;	/* until its memory is there */
	err = open_kernel(vu);
	if (!err)
		err = vhost_kernel_start_ring(&vu->kernel, &kr);
	if (err)
		return err;
	r->is_running = true;
	r->running_addr = kr.addr;
	say_short(vu, r);
	return 0;
}

/** vhost_ring_stop() - stop a queue, if it runs, when its requests are done; 0 or -errno */
int vhost_ring_stop(struct vhost_user *vu, struct ring *r)
{
	unsigned int index = r - vu->rings;
	int err;

	if (!r->is_running)
		return 0;
	err = vhost_kernel_stop_ring(&vu->kernel, index);
	if (!err)
		err = vhost_kernel_get_base(&vu->kernel, index, &r->base);
	if (!err)
		r->is_running = false;
	return err;
}

/** vhost_ring_update() - have a queue run, or not, as the front-end wants it; 0 or -errno */
int vhost_ring_update(struct vhost_user *vu, struct ring *r)
{
	if (!vhost_ring_should_run(vu, r))
		return vhost_ring_stop(vu, r);
	return r->is_running ? 0 : start_ring(vu, r);
}

/** vhost_rings_close() - let the kernel device go; returns when all requests are done */
void vhost_rings_close(struct vhost_user *vu)
{
	unsigned int i;

	vhost_kernel_close(&vu->kernel);
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++)
		vu->rings[i].is_running = false;
}

/** vhost_rings_reset() - stop, and forget what was said of the queues and features */
void vhost_rings_reset(struct vhost_user *vu)
{
	unsigned int i;

	vhost_rings_close(vu);
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++) {
		vu->rings[i].is_started = false;
		vu->rings[i].is_enabled = false;
		vu->rings[i].has_addr = false;
	}
	vu->features = 0;
}

/** vhost_rings_run() - does any queue run? */
bool vhost_rings_run(const struct vhost_user *vu)
{
	unsigned int i;

	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++)
		if (vu->rings[i].is_running)
			return true;
	return false;
}
