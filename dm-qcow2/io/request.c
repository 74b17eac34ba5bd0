// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that the hot path could not map in one go: load, allocate, copy,
 * split into runs, and for FUA commit.
 *
 *	mapping --- no space ---> parked --- space ---+
 *	  ^  |                                        |
 *	  |  +--> runs under way (each in a read      |
 *	  |       section of its own)                 |
 *	  +-------------------------------------------+
 *	all runs done ---> FUA: commit ---> ended
 *		|
 *		+--- no space to write in place ---> parked, mapped again as a whole
 *
 * A parked request is in no read section, so that a grace period, which may be
 * what frees space, never waits for it.
 */
#include <linux/slab.h>

#include "compat.h"
#include "image/bitmaps.h"
#include "image/compressed.h"
#include "meta/trace.h"

#include "blocks.h"
#include "dev.h"
#include "map.h"
#include "park.h"
#include "request.h"
#include "test-hold.h"

/**
 * struct child - a run of a split request
 * @rq: the request
 * @fill: the write that it is to a fill; none if that is NULL
 * @run: the run
 * @bio: last, for the bio set
 */
struct child {
	struct qcow2_request *rq;
	struct qcow2_fill_write fill;
	struct qcow2_run run;
	struct bio bio;
};

/* Beside enum qcow2_map_result: the request is somebody else's, and may be gone. */
#define PARKED	INT_MAX

static void wait_in_place(struct qcow2_work *work);

static struct bio *request_bio(struct qcow2_request *rq)
{
	return rq->run.bio;
}

/* The policy of a block device that has no space, as dm-thin, is its own. */
static bool lacks_space(const struct qcow2_dev *dev, const struct bio *bio, blk_status_t status)
{
	return status == BLK_STS_NOSPC && op_is_write(bio_op(bio)) &&
	       qcow2_is_file(dev->img->data);
}

bool qcow2_request_wants_space(struct qcow2_dev *dev, struct bio *bio)
{
	const struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));

	/* Not if it has waited; past the file system only blocks are written that it has. */
	return lacks_space(dev, bio, BLK_STS_NOSPC) && rq->run.srcu_idx >= 0 &&
	       rq->run.lease_io.idx < 0;
}

/* May be an interrupt. */
static void end_request(struct qcow2_request *rq)
{
	struct qcow2_dev *dev = rq->run.dev;
	struct bio *bio = request_bio(rq);

	if (rq->lacks_space && !rq->status) {
		rq->work.fn = wait_in_place;
		qcow2_slow_queue(dev, &rq->work);
		return;
	}
	if (rq->has_waited && !rq->status)
		qcow2_park_found_space(dev);
	bio->bi_status = rq->status;
	if (!rq->status && bio->bi_opf & REQ_FUA)
		qcow2_commit_bio(dev->img, bio);
	else
		bio_endio(bio);
	qcow2_slow_done(dev);
}

void qcow2_request_put(struct qcow2_request *rq, blk_status_t status)
{
	if (status)
		cmpxchg(&rq->status, BLK_STS_OK, status);
	if (atomic_dec_and_test(&rq->pending))
		end_request(rq);
}

/* Of a piece of the request. */
static void note_status(struct qcow2_request *rq, blk_status_t status)
{
	if (lacks_space(rq->run.dev, request_bio(rq), status))
		WRITE_ONCE(rq->lacks_space, true);
	else if (status)
		cmpxchg(&rq->status, BLK_STS_OK, status);
}

static void child_endio(struct bio *bio)
{
	struct child *child = container_of(bio, struct child, bio);
	struct qcow2_request *rq = child->rq;
	struct qcow2_image *img = rq->run.dev->img;
	blk_status_t status = bio->bi_status;

	if (child->fill.fill)
		qcow2_fill_end(img, child->fill.fill, child->fill.guest_off, child->fill.bytes,
			       !status);
	qcow2_inflight_leave(img, child->run.srcu_idx);
	bio_put(bio);
	note_status(rq, status);
	qcow2_request_put(rq, BLK_STS_OK);
}

/* Where what is left begins */
static u64 next_guest_off(const struct qcow2_request *rq)
{
	return dm_target_offset(rq->run.dev->ti, rq->iter.bi_sector) << SECTOR_SHIFT;
}

/* Start I/O on the first bytes of what is left; takes over the read section. */
static void start_run(struct qcow2_request *rq, const struct qcow2_mapping *m, int srcu_idx,
		      struct qcow2_fill *fill)
{
	struct qcow2_dev *dev = rq->run.dev;
	struct child *child;
	struct bio *bio;

	bio = bio_alloc_clone(request_bio(rq)->bi_bdev, request_bio(rq), GFP_NOIO, &dev->bios);
	bio->bi_iter = rq->iter;
	bio->bi_iter.bi_size = m->bytes;
	bio->bi_opf &= ~(REQ_FUA | REQ_PREFLUSH | REQ_NOWAIT | REQ_POLLED);
	bio->bi_end_io = child_endio;

	child = container_of(bio, struct child, bio);
	child->rq = rq;
	child->fill = (struct qcow2_fill_write) { fill, next_guest_off(rq), m->bytes };
	child->run = (struct qcow2_run) {
		.dev = dev,
		.file = &m->img->file,
		.bio = bio,
		.host_off = m->host_off,
		.srcu_idx = srcu_idx,
	};
	atomic_inc(&rq->pending);
	bio_advance_iter(request_bio(rq), &rq->iter, m->bytes);
	if (!child->run.file->bdev) {
		qcow2_run_submit(&child->run, true);
	} else {
		bio_set_dev(bio, child->run.file->bdev);
		bio->bi_iter.bi_sector = m->host_off >> SECTOR_SHIFT;
		submit_bio_noacct(bio);
	}
}

/* A block that is read for the rest of it must not become zeroes before it is written. */
static int rw_parts(struct qcow2_dev *dev, struct bio *bio, struct bvec_iter iter,
		    const struct qcow2_mapping *m)
{
	int err;

	if (!op_is_write(bio_op(bio)))
		return qcow2_blocks_rw(bio, iter, m);
	down_read(&dev->clearing.blocks);
	err = qcow2_blocks_rw(bio, iter, m);
	up_read(&dev->clearing.blocks);
	return err;
}

/* Where the layer has larger blocks. Return: as act(). */
static int do_parts(struct qcow2_request *rq, const struct qcow2_mapping *m, int srcu_idx)
{
	struct qcow2_dev *dev = rq->run.dev;
	struct bvec_iter iter = rq->iter;
	int err;

	iter.bi_size = m->bytes;
	err = rw_parts(dev, request_bio(rq), iter, m);
	qcow2_inflight_leave(dev->img, srcu_idx);
	bio_advance_iter(request_bio(rq), &rq->iter, m->bytes);
	note_status(rq, qcow2_data_status(err));
	return rq->status ? -EIO : 0;
}

static void read_zeroes(struct qcow2_request *rq, const struct qcow2_mapping *m)
{
	struct bvec_iter iter = rq->iter;

	iter.bi_size = m->bytes;
	zero_fill_bio_iter(request_bio(rq), iter);
	bio_advance_iter(request_bio(rq), &rq->iter, m->bytes);
}

/* Here a request may be parked, and be gone. */
static int map_result(int cow_result)
{
	switch (cow_result) {
	case QCOW2_COW_READY:
		return 0;
	case QCOW2_COW_AGAIN:
		return QCOW2_MAP_AGAIN;
	case QCOW2_COW_NO_CLUSTER:
		return QCOW2_MAP_NO_CLUSTER;
	case QCOW2_COW_PARKED:
		return PARKED;
	default:
		return cow_result;
	}
}

/* A read or write of host clusters; takes over the read section. Return: as act(). */
static int do_data(struct qcow2_request *rq, const struct qcow2_mapping *m, int srcu_idx)
{
	if (unlikely(!qcow2_run_fits(m, request_bio(rq), rq->iter)))
		return do_parts(rq, m, srcu_idx);
	start_run(rq, m, srcu_idx, NULL);
	return 0;
}

static void copy_to_guest(struct qcow2_request *rq, const void *data, u32 bytes)
{
	struct bvec_iter i, iter = rq->iter;
	struct bio_vec bv;

	iter.bi_size = bytes;
	__bio_for_each_segment(bv, request_bio(rq), i, iter) {
		memcpy_to_bvec(&bv, data);
		data += bv.bv_len;
	}
	bio_advance_iter(request_bio(rq), &rq->iter, bytes);
}

/* A read of a part of a compressed cluster; takes over the read section. Return: as act(). */
static int read_compressed(struct qcow2_request *rq, const struct qcow2_mapping *m, int srcu_idx)
{
	u64 in_cluster = qcow2_in_cluster(&m->img->geo, next_guest_off(rq));
	struct qcow2_inflated *cluster;

	qcow2_test_hold(QCOW2_HOLD_STREAM);
	cluster = qcow2_compressed_get(m->img, m->host_off);
	if (!IS_ERR(cluster)) {
		copy_to_guest(rq, qcow2_inflated_data(cluster) + in_cluster, m->bytes);
		qcow2_compressed_put(m->img, cluster);
	}
	qcow2_inflight_leave(rq->run.dev->img, srcu_idx);
	return PTR_ERR_OR_ZERO(cluster);
}

/* A write to a cluster that has to be copied; takes over the read section. Return: as act(). */
static int do_fill(struct qcow2_request *rq, struct qcow2_mpage *p, struct qcow2_mapping *m,
		   int srcu_idx)
{
	struct qcow2_image *img = rq->run.dev->img;
	u64 guest_off = next_guest_off(rq);
	struct qcow2_fill *fill;
	int result;

	result = qcow2_fill_begin(img, p, guest_off, m->bytes, m->old, &rq->work, &fill,
				  &m->host_off);
	if (result != QCOW2_COW_READY) {
		qcow2_inflight_leave(img, srcu_idx);
		return result;
	}
	qcow2_test_hold(QCOW2_HOLD_ENTERED);
	m->img = img->data;
	m->is_fresh = false;
	if (likely(qcow2_run_fits(m, request_bio(rq), rq->iter))) {
		start_run(rq, m, srcu_idx, fill);
		return 0;
	}
	result = do_parts(rq, m, srcu_idx);
	qcow2_fill_end(img, fill, guest_off, m->bytes, !result && !READ_ONCE(rq->lacks_space));
	return result;
}

int qcow2_request_mark(struct qcow2_image *img, u64 guest_off, u32 bytes)
{
	int result = qcow2_bitmaps_mark(img, guest_off, bytes);

	if (result == QCOW2_BITMAPS_NO_CLUSTER)
		return QCOW2_COW_NO_CLUSTER;
	return result ?: QCOW2_COW_AGAIN;
}

/* What needs no host cluster, and no read section. */
static int prepare(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off, int result,
		   const struct qcow2_mapping *m)
{
	struct qcow2_image *img = rq->run.dev->img;

	switch (result) {
	case QCOW2_MAP_ZERO:
		read_zeroes(rq, m);
		return 0;
	case QCOW2_MAP_ALLOCATE:
		return map_result(qcow2_table_allocate(img, p));
	case QCOW2_MAP_MISS:
		return qcow2_tables_load(img) ?: QCOW2_MAP_AGAIN;
	case QCOW2_MAP_LOAD:
		return qcow2_below_load(img->base, guest_off) ?: QCOW2_MAP_AGAIN;
	case QCOW2_MAP_UNMARKED:
		return map_result(qcow2_request_mark(img, guest_off, rq->iter.bi_size));
	default:
		return result;
	}
}

static int look_up(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off, bool is_write,
		   struct qcow2_mapping *m)
{
	struct qcow2_image *img = rq->run.dev->img;
	u32 bytes = rq->iter.bi_size;
	int result;

	if (rq->instant)
		return qcow2_map_instant(img, rq->instant, p, guest_off, bytes, m);
	if (is_write && !qcow2_bitmaps_record(img, guest_off, bytes))
		return QCOW2_MAP_UNMARKED;
	result = qcow2_map_page(img, p, guest_off, bytes, is_write, m);
	if (result != QCOW2_MAP_DATA)
		qcow2_test_hold(QCOW2_HOLD_LOOKED);
	if (qcow2_is_unowned(result))
		result = qcow2_map_unowned(img, p, guest_off, is_write, result, m);
	if (result == QCOW2_MAP_ALLOCATE && READ_ONCE(p->host_off))
		result = qcow2_allocate(img, p, guest_off, m->bytes, m);
	return result;
}

/* Do what the look-up found. Return: 0 or another enum qcow2_map_result, or a negative errno. */
static int act(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off)
{
	bool is_write = op_is_write(bio_op(request_bio(rq)));
	struct qcow2_image *img = rq->run.dev->img;
	struct qcow2_mapping m;
	int result, srcu_idx;

	srcu_idx = qcow2_inflight_enter(img);
	result = look_up(rq, p, guest_off, is_write, &m);
	switch (result) {
	case QCOW2_MAP_DATA:
		return do_data(rq, &m, srcu_idx);
	case QCOW2_MAP_TAIL:
		return do_parts(rq, &m, srcu_idx);
	case QCOW2_MAP_INFLATE:
		return read_compressed(rq, &m, srcu_idx);
	case QCOW2_MAP_FILL:
		return map_result(do_fill(rq, p, &m, srcu_idx));
	case QCOW2_MAP_SAVE:
		qcow2_saved_take(img, guest_off, m.host_off, m.bytes);
		result = QCOW2_MAP_AGAIN;
	}
	qcow2_inflight_leave(img, srcu_idx);
	return prepare(rq, p, guest_off, result, &m);
}

static int map_next(struct qcow2_request *rq)
{
	struct qcow2_image *img = rq->run.dev->img;
	u64 guest_off = next_guest_off(rq);
	struct qcow2_mpage *p;
	int result;

	if (op_is_write(bio_op(request_bio(rq))) && qcow2_failed(img))
		return -EIO;
	p = qcow2_mpage_get(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, guest_off));
	if (IS_ERR(p))
		return PTR_ERR(p);
	result = act(rq, p, guest_off);
	qcow2_mpage_put(p);
	return result;
}

/* What is wrong with metadata is nothing for the guest to act upon. */
blk_status_t qcow2_request_error(int err)
{
	switch (err) {
	case -EUCLEAN:
	case -EOPNOTSUPP:
	case -ENOSPC:
	case -EAGAIN:
		return BLK_STS_IOERR;
	default:
		return errno_to_blk_status(err);
	}
}

/* A write that is not to wait for space. */
blk_status_t qcow2_request_refusal(struct qcow2_dev *dev, int err)
{
	if (err != -ENOSPC)
		return qcow2_request_error(err);
	return qcow2_full_goes_back(dev->img) ? BLK_STS_DM_REQUEUE : BLK_STS_NOSPC;
}

static void map_request(struct qcow2_work *work)
{
	struct qcow2_request *rq = container_of(work, struct qcow2_request, work);
	struct qcow2_dev *dev = rq->run.dev;
	int result = rq->work.err;
	int err;

	while (rq->iter.bi_size && result >= 0) {
		result = map_next(rq);
		if (result == PARKED)
			return;
		if (result != QCOW2_MAP_NO_CLUSTER)
			continue;
		err = qcow2_space_wait(dev->img, &rq->work);
		if (!err)
			return;
		if (err != -EAGAIN) {
			qcow2_request_put(rq, qcow2_request_refusal(dev, err));
			return;
		}
	}
	qcow2_request_put(rq, result < 0 ? qcow2_request_error(result) : BLK_STS_OK);
}

static void start_mapping(struct qcow2_request *rq)
{
	rq->iter = request_bio(rq)->bi_iter;
	rq->status = BLK_STS_OK;
	rq->lacks_space = false;
	rq->work.fn = map_request;
	rq->work.is_write = op_is_write(bio_op(request_bio(rq)));
	rq->work.err = 0;
	atomic_set(&rq->pending, 1);
}

/* What it wrote already is written again. */
static void wait_in_place(struct qcow2_work *work)
{
	struct qcow2_request *rq = container_of(work, struct qcow2_request, work);
	struct qcow2_dev *dev = rq->run.dev;
	int err;

	start_mapping(rq);
	rq->has_waited = true;
	err = qcow2_park_in_place(dev, work);
	if (err)
		qcow2_request_put(rq, qcow2_request_refusal(dev, err));
}

void qcow2_request_begin(struct qcow2_dev *dev, struct qcow2_request *rq, struct bio *bio)
{
	rq->run.dev = dev;
	rq->run.bio = bio;
	rq->instant = NULL;
	rq->has_waited = false;
	start_mapping(rq);
	atomic_inc(&dev->slow.busy);
}

void qcow2_request_prepare(struct qcow2_dev *dev, struct bio *bio)
{
	qcow2_request_begin(dev, dm_per_bio_data(bio, sizeof(struct qcow2_request)), bio);
}

static void trace_why(const struct qcow2_dev *dev, const struct bio *bio, int why)
{
	if (trace_qcow2_slow_enabled())
		trace_qcow2_slow(dev->img, bio, why == -ENOSPC ? "no_space" :
				 why < 0 ? "error" : qcow2_map_names[why]);
}

void qcow2_request_slow(struct qcow2_dev *dev, struct bio *bio, int why)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));

	trace_why(dev, bio, why);
	qcow2_request_prepare(dev, bio);
	qcow2_slow_queue(dev, &rq->work);
}

void qcow2_request_slow_instant(struct qcow2_dev *dev, struct bio *bio,
				struct qcow2_instant *instant, int why)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));

	trace_why(dev, bio, why);
	qcow2_request_prepare(dev, bio);
	rq->instant = instant;
	qcow2_slow_queue(dev, &rq->work);
}

int qcow2_request_init(struct qcow2_dev *dev)
{
	return bioset_init(&dev->bios, BIO_POOL_SIZE, offsetof(struct child, bio), 0);
}

void qcow2_request_exit(struct qcow2_dev *dev)
{
	bioset_exit(&dev->bios);
}
