/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/vhost-blk: virtio-blk queues served by the host kernel.
 *
 * The device takes the ioctls of <linux/vhost.h> (VHOST_SET_OWNER, memory
 * table, rings, eventfds, workers, dirty log) and the ones below.  Everything
 * but VHOST_GET_FEATURES belongs to the process that called VHOST_SET_OWNER.
 *
 * The configuration space is user space's business.  VHOST_GET_FEATURES lists
 * the bits that the kernel has to know of; pass to VHOST_SET_FEATURES what the
 * driver acknowledged of these and nothing else.  A driver that did not
 * acknowledge VIRTIO_BLK_F_FLUSH gets a write-through disk; discards, write-zeroes
 * and secure-erase are for one that acknowledged them.
 *
 * VHOST_SET_MEM_TABLE and a VHOST_SET_FEATURES that turns VHOST_F_LOG_ALL on
 * return when every request that was popped before them is completed, so that
 * an old mapping may be unmapped, or memory copied, afterwards.
 */
#ifndef _UAPI_LINUX_VHOST_BLK_H
#define _UAPI_LINUX_VHOST_BLK_H

#include <linux/types.h>
#include <linux/vhost.h>
#include <linux/virtio_blk.h>

/* Limits that user space must not exceed in the configuration space. */
#define VHOST_BLK_MAX_QUEUES		64
/* segments of one discard, write-zeroes or secure-erase request */
#define VHOST_BLK_MAX_RANGES		256
/*
 * Sectors of a write-zeroes request, all ranges together, on a device that cannot
 * do it itself: offer one range of at most so many.
 */
#define VHOST_BLK_MAX_ZERO_SECTORS	(64U << 11)

/**
 * struct vhost_blk_vring_stats - what a queue did since it was opened
 * @index: queue (in)
 * @in_flight: requests popped from the ring and not yet in the used ring
 * @kicks: times that the queue's handler was started
 * @batches: groups of requests submitted under one plug
 * @updates: updates of the used ring; each carries all completions at hand
 * @signals: times that the guest was told of used entries
 * @reads: read requests
 * @read_bytes: bytes that they asked for
 * @writes: write requests
 * @write_bytes: bytes that they carried
 * @flushes: flush requests
 * @others: all other requests, malformed ones included
 * @errors: requests completed with another status than VIRTIO_BLK_S_OK
 * @bounced: reads and writes copied because the guest's buffers are unaligned
 * @reaps: times that a kernel thread completed requests for a killed worker
 * @stalls: times that popping paused because too much was in flight
 */
struct vhost_blk_vring_stats {
	__u32 index;
	__u32 in_flight;
	__u64 kicks;
	__u64 batches;
	__u64 updates;
	__u64 signals;
	__u64 reads;
	__u64 read_bytes;
	__u64 writes;
	__u64 write_bytes;
	__u64 flushes;
	__u64 others;
	__u64 errors;
	__u64 bounced;
	__u64 reaps;
	__u64 stalls;
};

/*
 * Start (num = 1) or stop (num = 0) one queue.  A start takes its position from
 * the used ring's index, not from VHOST_SET_VRING_BASE, signals the call
 * eventfd once and looks at the ring once without being kicked.  A stop returns
 * when all popped requests are in the used ring, or when it is killed.
 * ENXIO: no backend.  EFAULT: the queue is not set up.
 */
#define VHOST_BLK_SET_VRING_RUN	_IOW(VHOST_VIRTIO, 0x90, struct vhost_vring_state)

/*
 * 1: write-back, the driver flushes.  0: write-through, a request completes
 * when it is durable.  A VHOST_SET_FEATURES that changes VIRTIO_BLK_F_FLUSH sets
 * it from that, and one that does not leaves it alone; this is for drivers that
 * change it later (VIRTIO_BLK_F_CONFIG_WCE).
 */
#define VHOST_BLK_SET_WRITE_CACHE _IOW(VHOST_VIRTIO, 0x91, __u32)

#define VHOST_BLK_GET_VRING_STATS \
	_IOWR(VHOST_VIRTIO, 0x92, struct vhost_blk_vring_stats)

/* What VIRTIO_BLK_T_GET_ID answers; all zero until set. */
#define VHOST_BLK_SET_SERIAL	_IOW(VHOST_VIRTIO, 0xFE, char[VIRTIO_BLK_ID_BYTES])

/*
 * Attach a block device and start every queue that is set up.  fd: the device,
 * open for reading, and for writing unless the disk is read-only; it may be
 * closed afterwards.  The device is claimed exclusively (EBUSY) until fd -1
 * detaches it, which stops all queues, or until the file is released; the claim
 * goes after the last used-ring update.  index is ignored.
 */
#define VHOST_BLK_SET_BACKEND	_IOW(VHOST_VIRTIO, 0xFF, struct vhost_vring_file)

#endif
