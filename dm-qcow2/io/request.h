/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's request, and the runs of host clusters that it becomes.
 */
#ifndef DM_QCOW2_REQUEST_H
#define DM_QCOW2_REQUEST_H

#include <linux/bio.h>
#include <linux/fs.h>
#include <linux/llist.h>
#include <linux/refcount.h>

#include "lease/lease.h"

#include "blocks.h"
#include "slow.h"

struct qcow2_dev;
struct qcow2_fill;
struct qcow2_image;

/**
 * enum qcow2_entered - where a write is known to be under way; bits
 * @QCOW2_ENTERED_BLOCKS: qcow2_blocks_enter()
 * @QCOW2_ENTERED_FILL: qcow2_request.fill
 */
enum qcow2_entered {
	QCOW2_ENTERED_BLOCKS	= 1,
	QCOW2_ENTERED_FILL	= 2,
};

/**
 * struct qcow2_fill_write - a write to a fill
 * @fill: the fill
 * @guest_off: where it begins
 * @bytes: its length
 */
struct qcow2_fill_write {
	struct qcow2_fill *fill;
	u64 guest_off;
	u32 bytes;
};

/**
 * struct qcow2_run - I/O on one contiguous piece of the image
 * @dev: the mapped device
 * @file: what it is on
 * @bio: its iterator is the guest's memory; ended when the run is done
 * @host_off: where the piece is
 * @srcu_idx: read section of qcow2_image.inflight, or -1; left by the bio's end_io
 * @entered: enum qcow2_entered; left likewise
 * @lease_io: of qcow2_lease_map(); left likewise
 *
 * The rest is for files only:
 * @done: bytes done by earlier attempts
 * @may_block: the file system may sleep in this attempt
 * @ret: what this attempt came to
 * @refs: one for the submitter, one for the completion: either may come last
 * @iocb: the request to the file system
 * @node: in a per-CPU list, or with a plug
 * @work: in the slow pool
 */
struct qcow2_run {
	struct qcow2_dev *dev;
	struct qcow2_file *file;
	struct bio *bio;
	u64 host_off;
	int srcu_idx;
	u8 entered;
	struct qcow2_lease_io lease_io;
	u32 done;
	bool may_block;
	long ret;
	refcount_t refs;
	struct kiocb iocb;
	union {
		struct llist_node node;
		struct qcow2_work work;
	};
};

/**
 * struct qcow2_request - per-bio data: a request of dm's
 * @run: the request in one run, when the hot path could map it
 * @work: in the slow pool, or waiting for space
 * @iter: what is left to be mapped
 * @pending: runs under way, and one for the mapping itself
 * @status: the first error
 * @lacks_space: a run found no space to write in place
 * @has_waited: it was parked for that
 * @block: on a layer of blocks, a write
 * @fill: a write to a fill, in one run
 * @instant: of a read: what it is to see; NULL for the disk as it is
 */
struct qcow2_request {
	struct qcow2_run run;
	struct qcow2_work work;
	struct bvec_iter iter;
	atomic_t pending;
	blk_status_t status;
	bool lacks_space;
	bool has_waited;
	struct qcow2_block_write block;
	struct qcow2_fill_write fill;
	struct qcow2_instant *instant;
};

/**
 * qcow2_data_status - how data I/O on a file ended
 * @err: 0 or a negative errno of its file system
 *
 * Return: BLK_STS_NOSPC for a quota, too: it is lifted as a file system is made larger.
 */
static inline blk_status_t qcow2_data_status(int err)
{
	return err == -EDQUOT ? BLK_STS_NOSPC : errno_to_blk_status(err);
}

/* request.c */

/**
 * qcow2_request_wants_space - whether a run in the request's own bio found no space
 * @dev: the image
 * @bio: a bio of dm's that has ended with BLK_STS_NOSPC, and has left nothing yet
 *
 * Return: true when the slow pool should have it again, to let it wait.
 */
bool qcow2_request_wants_space(struct qcow2_dev *dev, struct bio *bio);

/**
 * qcow2_request_prepare - make a request one of the slow pool's
 * @dev: the image
 * @bio: a read or write of dm's; its per-bio data is initialised here
 *
 * Any context. qcow2_slow_queue() of its work is to follow.
 */
void qcow2_request_prepare(struct qcow2_dev *dev, struct bio *bio);

/**
 * qcow2_request_begin - likewise, for a request that need not be dm's
 * @dev: the mapped device
 * @rq: the request; what of its run is left by the bio's end is initialised
 * @bio: a bio on the mapped device, or its clone; ends with the request
 *
 * Any context. qcow2_slow_queue() of its work is to follow.
 */
void qcow2_request_begin(struct qcow2_dev *dev, struct qcow2_request *rq, struct bio *bio);

/**
 * qcow2_request_put - a piece of a request, or its mapping, is done
 * @rq: the request; may be gone afterwards
 * @status: how that went
 *
 * Any context.
 */
void qcow2_request_put(struct qcow2_request *rq, blk_status_t status);

/* How a request ends for an error that is not one of its data. */
blk_status_t qcow2_request_error(int err);

/**
 * qcow2_request_mark - have bitmaps say on disk that a range may change, before it does
 * @img: the image
 * @guest_off: start of the range
 * @bytes: its length, at least 1
 *
 * Sleeps. Return: QCOW2_COW_AGAIN when it may; QCOW2_COW_NO_CLUSTER; or a negative errno.
 */
int qcow2_request_mark(struct qcow2_image *img, u64 guest_off, u32 bytes);

/**
 * qcow2_request_refusal - how a request ends that is not to wait for space
 * @dev: the mapped device
 * @err: from qcow2_space_wait() or qcow2_park_in_place()
 */
blk_status_t qcow2_request_refusal(struct qcow2_dev *dev, int err);

/**
 * qcow2_request_slow - let the slow pool serve a request
 * @dev: the image
 * @bio: a read or write of dm's; qcow2_request_prepare() is called for it
 * @why: for the tracepoint: what kept it from being mapped, an enum qcow2_map_result or a negative
 *	errno
 */
void qcow2_request_slow(struct qcow2_dev *dev, struct bio *bio, int why);

/**
 * qcow2_request_slow_instant - likewise, for a read of an instant
 * @dev: the image
 * @bio: the read, of a device that holds the instant
 * @instant: what it is to see
 * @why: as for qcow2_request_slow()
 */
void qcow2_request_slow_instant(struct qcow2_dev *dev, struct bio *bio,
				struct qcow2_instant *instant, int why);

int __must_check qcow2_request_init(struct qcow2_dev *dev);
void qcow2_request_exit(struct qcow2_dev *dev);

/* run.c */

/**
 * qcow2_run_submit - start a run on a file
 * @run: mapped, in its read section
 * @may_block: whether the file system may sleep; false but in the slow pool
 *
 * Never called below the submission of a bio.
 */
void qcow2_run_submit(struct qcow2_run *run, bool may_block);

/**
 * qcow2_run_queue_slow - let the slow pool start a run on a file
 * @run: mapped, in its read section, and not under way
 *
 * Any context.
 */
void qcow2_run_queue_slow(struct qcow2_run *run);

/* cpu-queue.c */

/**
 * qcow2_cpu_queue_add - let this CPU's thread start a run on a file
 * @run: mapped, in its read section
 */
void qcow2_cpu_queue_add(struct qcow2_run *run);

int __must_check qcow2_cpu_queues_init(void);
void qcow2_cpu_queues_exit(void);

/* plug.c */

/**
 * qcow2_plug_add - let the submitter start a run on a file when it unplugs
 * @run: mapped, in its read section
 *
 * For .map. Return: false when this task must not; the run is the caller's still.
 */
bool qcow2_plug_add(struct qcow2_run *run);

#endif /* DM_QCOW2_REQUEST_H */
