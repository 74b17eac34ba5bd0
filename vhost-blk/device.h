/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The device and its queues.
 *
 * Lock order (outer to inner):
 *
 *	dev.mutex	ioctls, one at a time; backend, serial
 *	q->fetch_lock	one run of a queue's kick handler, also while workers
 *			are being swapped; q->iov, q->batch.  Held while bios
 *			are submitted, so it may be held for long; nobody but
 *			kick handlers takes it.
 *	vq.mutex	the ring, the request pool, in-flight counts, counters
 *
 * dev.mutex and fetch_lock are never held together.  Nothing waits for a
 * request with vq.mutex held.  Bio completion takes no lock and may be in hard
 * irq; everything else is process context with the owner's mm: the vhost
 * worker, or the reaper once the worker was killed.
 */
#ifndef VHOST_BLK_DEVICE_H
#define VHOST_BLK_DEVICE_H

#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/vhost_blk.h>
#include "vhost.h"

struct vhost_blk_backend;
struct vhost_blk_request;

/* A chain has at most UIO_MAXIOV segments plus those cut by memory regions. */
#define VHOST_BLK_MAX_IOV	(UIO_MAXIOV + 64)
#define VHOST_BLK_BATCH		64
/* Popping pauses when this much is in flight in a queue. */
#define VHOST_BLK_MAX_REQUESTS	1024
#define VHOST_BLK_MAX_IN_FLIGHT	SZ_64M
/* As do ranges of this many sectors, or of the whole device if that is longer. */
#define VHOST_BLK_MAX_RANGE_SECTORS	SZ_64M

/**
 * struct vhost_blk_vq - one queue
 * @vq: vhost core's part; vq.private_data is the backend while it runs
 * @vdev: device
 * @index: of the queue
 * @fetch_lock: see above
 * @iov: segments of the batch being fetched, room for two longest chains;
 *	under @fetch_lock, allocated at the first start
 * @batch: requests being fetched, in ring order; under @fetch_lock
 * @pool: all request slots; allocated by a start, when nothing is in flight
 * @nr_requests: slots in @pool
 * @free: unused slots; under vq.mutex
 * @is_broken: the guest broke the ring: kicks are ignored until the next
 *	start; under vq.mutex
 * @is_stalled: too much is in flight: the next completion kicks; under vq.mutex
 * @in_flight: requests popped and not yet in the used ring, by epoch; under
 *	vq.mutex, read without it by drains
 * @in_flight_bytes: guest memory that they span, and what their ranges count
 *	for; under vq.mutex
 * @range_bytes: what ranges count for in @in_flight_bytes; under vq.mutex
 * @epoch: which of @in_flight counts newly popped requests; under vq.mutex,
 *	flipped by drains with dev.mutex held
 * @drained: woken when a count in @in_flight gets to zero
 * @is_polling: the kick handler is running, and polls, or will be back when the
 *	worker's other queues have had their turn; written by the worker
 * @busy_ns: local_clock() when the worker last had something to do, see poll.c; it is
 *	written by the worker, as what follows
 * @waits_for_device: some requests were under way then
 * @is_short: whether the last wait without and with such was shorter than the
 *	busy-loop timeout
 * @held: entries of the used ring that the guest was not told of, see
 *	announce.c; under vq.mutex, read without
 * @held_since: local_clock() of the first of them; likewise
 * @gather: tell of so many together; under vq.mutex, as what follows
 * @is_trying: whether that is more than what was known to go well
 * @patience: so many more times before more are tried
 * @next_patience: what @patience is set to next
 * @done: requests whose I/O has ended; filled from any context
 * @is_attended: the kick handler is running and looks at @done before it ends,
 *	so that nobody else has to be woken for it
 * @complete_work: moves @done to the used ring, in the vhost worker
 * @reap_work: the same, in a kernel thread, when the worker is dead
 * @stats: counters; under vq.mutex
 */
struct vhost_blk_vq {
	struct vhost_virtqueue vq;
	struct vhost_blk *vdev;
	unsigned int index;

	struct mutex fetch_lock;
	struct iovec *iov;
	struct vhost_blk_request *batch[VHOST_BLK_BATCH];

	struct vhost_blk_request *pool;
	unsigned int nr_requests;
	struct vhost_blk_request *free;
	bool is_broken;
	bool is_stalled;
	unsigned int in_flight[2];
	size_t in_flight_bytes;
	size_t range_bytes;
	unsigned int epoch;
	wait_queue_head_t drained;

	bool is_polling;
	u64 busy_ns;
	bool waits_for_device;
	bool is_short[2];
	unsigned int held;
	u64 held_since;
	unsigned int gather;
	bool is_trying;
	unsigned int patience;
	unsigned int next_patience;

	struct llist_head done ____cacheline_aligned_in_smp;
	bool is_attended;
	struct vhost_work complete_work;
	struct work_struct reap_work;

	struct vhost_blk_vring_stats stats;
};

/**
 * struct vhost_blk - one open of /dev/vhost-blk
 * @dev: vhost core's part
 * @vqs: what @dev works on: the vq of each of @queues
 * @queues: VHOST_BLK_MAX_QUEUES queues, each allocated for itself
 * @backend: claimed device or NULL; under dev.mutex
 * @features: what was set last; under dev.mutex
 * @is_writeback: the guest flushes; else every write is durable when it
 *	completes.  Set under dev.mutex, read without.
 * @serial: answer to VIRTIO_BLK_T_GET_ID; set under dev.mutex, read without
 */
struct vhost_blk {
	struct vhost_dev dev;
	struct vhost_virtqueue *vqs[VHOST_BLK_MAX_QUEUES];
	struct vhost_blk_vq *queues[VHOST_BLK_MAX_QUEUES];
	struct vhost_blk_backend *backend;
	u64 features;
	bool is_writeback;
	char serial[VIRTIO_BLK_ID_BYTES];
};

static inline struct vhost_blk_vq *to_vhost_blk_vq(struct vhost_virtqueue *vq)
{
	return container_of(vq, struct vhost_blk_vq, vq);
}

/* Requests popped and not yet in the used ring; under vq.mutex. */
static inline unsigned int vhost_blk_in_flight(const struct vhost_blk_vq *q)
{
	return q->in_flight[0] + q->in_flight[1];
}

extern const struct file_operations vhost_blk_fops;
extern struct workqueue_struct *vhost_blk_reaper;

#endif
