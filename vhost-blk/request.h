/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A request's life:
 *
 *	 free <------------------ un-pop -----------------+
 *	  | pop (vq.c)                                    | dying owner:
 *	  v                                               | nothing was done yet
 *	popped --> prepared (request.c: header read, -----+   or of a stop,
 *	  |           range checked, pages pinned)            ranges half done
 *	  | bad       | submit.c
 *	  |           v
 *	  |        submitted --> bios end, in any context
 *	  v                         |
 *	 done <---------------------+
 *	  | complete.c: pages unpinned, data copied if bounced, status written
 *	  v
 *	used ring --> free
 *
 * From pop to used ring it counts as in flight, so a drain sees every state.
 */
#ifndef VHOST_BLK_REQUEST_H
#define VHOST_BLK_REQUEST_H

#include <linux/bio.h>
#include <linux/llist.h>
#include <linux/vhost_blk.h>

struct vhost_blk_backend;
struct vhost_blk_vq;
struct vhost_log;

/* Pages of a request that needs no allocation: 64 KiB. */
#define VHOST_BLK_INLINE_VECS	16

/**
 * struct vhost_blk_bio - bio of a request that is too long for the inline one
 * @next: next bio of the request
 * @bio: the bio, on @vecs
 * @vecs: its pages
 */
struct vhost_blk_bio {
	struct vhost_blk_bio *next;
	struct bio bio;
	struct bio_vec vecs[];
};

/**
 * struct vhost_blk_bounce - destination of a read that could not be pinned
 * @nr: segments in @iov
 * @bytes: their length
 * @iov: guest's buffers
 */
struct vhost_blk_bounce {
	unsigned int nr;
	size_t bytes;
	struct iovec iov[];
};

/**
 * struct vhost_blk_request - one chain of descriptors, popped from the ring
 *
 * Owned by whoever runs the current step; no field is shared but @bios_left.
 *
 * @next: free list
 * @done: link in q->done
 * @q: queue
 * @backend: device; outlives the request even if the queue is stopped
 * @head: first descriptor, names the chain in the used ring
 * @nr_out: device-readable segments in @iov
 * @nr_in: device-writable segments, after them
 * @iov: segments; a slice of q->iov, valid until the request is submitted
 * @epoch: of q->in_flight
 * @span_bytes: what it counts for in q->in_flight_bytes
 * @range_bytes: the part of it that is for @ranges
 * @in_bytes: length of the writable ones, status included
 * @status_uaddr: where the status goes; NULL without a writable byte
 * @type: VIRTIO_BLK_T_*, from the guest and unchecked
 * @sector: first sector
 * @data: segments of the data alone
 * @nr_data: segments in @data
 * @data_bytes: their length
 * @written: bytes written to the guest on success, status not included
 * @used_bytes: bytes written to the guest, for the used ring
 * @status: VIRTIO_BLK_S_*
 * @is_bounced: pages are ours, not the guest's
 * @needs_flush: data is written, a flush must follow before completion
 * @bounce: where a bounced read goes, or NULL
 * @ranges: of a discard, write-zeroes, secure-erase
 * @nr_ranges: number of @ranges
 * @log: guest-physical writable segments for the dirty log, or NULL
 * @nr_log: segments in @log
 * @bios_left: bios of @bios that have not ended
 * @bios: bios of a long request; NULL if @bio is used
 * @last_bio: end of @bios
 * @nr_bios: bios in use, in @bios or @bio
 * @bio: first choice; parent of the bios of a range request
 * @vecs: pages of @bio
 */
struct vhost_blk_request {
	struct vhost_blk_request *next;
	struct llist_node done;
	struct vhost_blk_vq *q;
	const struct vhost_blk_backend *backend;

	unsigned int head;
	unsigned int nr_out;
	unsigned int nr_in;
	struct iovec *iov;
	unsigned int epoch;
	size_t span_bytes;
	size_t range_bytes;
	size_t in_bytes;

	u8 __user *status_uaddr;
	u32 type;
	sector_t sector;
	struct iovec *data;
	unsigned int nr_data;
	size_t data_bytes;
	u32 written;
	u32 used_bytes;
	u8 status;
	bool is_bounced;
	bool needs_flush;

	struct vhost_blk_bounce *bounce;
	struct virtio_blk_discard_write_zeroes *ranges;
	unsigned int nr_ranges;
	struct vhost_log *log;
	unsigned int nr_log;

	atomic_t bios_left;
	struct vhost_blk_bio *bios;
	struct vhost_blk_bio *last_bio;
	unsigned int nr_bios;
	struct bio bio;
	struct bio_vec vecs[VHOST_BLK_INLINE_VECS];
};

/**
 * enum vhost_blk_verdict - what to do with a prepared request
 * @VHOST_BLK_SUBMIT: submit it
 * @VHOST_BLK_DONE: nothing to submit, @status says how it ended
 * @VHOST_BLK_RETRY: put it back into the ring: the owner is being killed, the
 *	queue was stopped, or it has to wait for other ranges
 */
enum vhost_blk_verdict {
	VHOST_BLK_SUBMIT,
	VHOST_BLK_DONE,
	VHOST_BLK_RETRY,
};

enum vhost_blk_verdict vhost_blk_prepare(struct vhost_blk_request *req);

#endif
