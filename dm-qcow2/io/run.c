// SPDX-License-Identifier: GPL-2.0-only
/*
 * A run on a regular file: asynchronous direct I/O.
 *
 * The first attempt must not sleep (IOCB_NOWAIT): it comes from a per-CPU
 * thread that serves all images, or from a guest's vhost worker. What the file
 * system cannot start that way is tried again by the slow pool, as are the rest of
 * a short read or write.
 */
#include <linux/uio.h>

#include "compat.h"
#include "lease/freeze.h"
#include "lease/lease.h"

#include "dev.h"
#include "park.h"
#include "request.h"

static void end_run(struct qcow2_run *run, blk_status_t status)
{
	run->bio->bi_status = status;
	bio_endio(run->bio);
}

static void retry_blocking(struct qcow2_work *work)
{
	qcow2_run_submit(container_of(work, struct qcow2_run, work), true);
}

static void init_work(struct qcow2_run *run)
{
	run->work.fn = retry_blocking;
	run->work.is_write = op_is_write(bio_op(run->bio));
}

void qcow2_run_queue_slow(struct qcow2_run *run)
{
	init_work(run);
	qcow2_slow_queue(run->dev, &run->work);
}

static void zero_rest(struct qcow2_run *run)
{
	struct bvec_iter iter = run->bio->bi_iter;

	bio_advance_iter(run->bio, &iter, run->done);
	zero_fill_bio_iter(run->bio, iter);
}

/*
 * A write that may have waited in the file system may have been given space there. While others are
 * parked they say so themselves: this one may have needed none.
 */
static void note_space(struct qcow2_dev *dev)
{
	if (unlikely(READ_ONCE(dev->full.what)) && test_bit(QCOW2_NO_SPACE_ERROR, &dev->img->state))
		qcow2_park_found_space(dev);
}

/* Both the submitter and the completion are through. May be an interrupt. */
static void finish(struct qcow2_run *run)
{
	bool is_write = op_is_write(bio_op(run->bio));
	u32 bytes = run->bio->bi_iter.bi_size;

	/* Some file systems say so where they would have to wait. */
	if ((run->ret == -EAGAIN || run->ret == -EOPNOTSUPP) && !run->may_block) {
		qcow2_run_queue_slow(run);
		return;
	}
	if (run->ret < 0) {
		end_run(run, qcow2_data_status(run->ret));
		return;
	}
	run->done += run->ret;
	if (run->done == bytes) {
		if (is_write && run->may_block)
			note_space(run->dev);
		end_run(run, BLK_STS_OK);
	} else if (run->ret) {
		qcow2_run_queue_slow(run);
	} else if (is_write || run->file->is_data) {
		end_run(run, BLK_STS_IOERR);
	} else {
		/* The end of the file, inside its last cluster. */
		zero_rest(run);
		end_run(run, BLK_STS_OK);
	}
}

static void run_put(struct qcow2_run *run)
{
	if (refcount_dec_and_test(&run->refs))
		finish(run);
}

static void run_complete(struct kiocb *iocb, long ret)
{
	struct qcow2_run *run = container_of(iocb, struct qcow2_run, iocb);

	if (iocb->ki_flags & IOCB_WRITE)
		kiocb_end_write(iocb);
	run->ret = ret;
	run_put(run);
}

static unsigned int count_segments(const struct bio *bio, const struct bvec_iter *iter)
{
	unsigned int segments = 0;
	struct bvec_iter i;
	struct bio_vec bv;

	/* The shortest requests are the ones that there are most of. */
	if (iter->bi_size <= mp_bvec_iter_len(bio->bi_io_vec, *iter))
		return 1;
	__bio_for_each_bvec(bv, bio, i, *iter)
		segments++;
	return segments;
}

/* The guest's memory, from what is done on, without copying its vectors. */
static void init_iter(struct qcow2_run *run, struct iov_iter *to)
{
	const struct bio_vec *vecs = run->bio->bi_io_vec, *first;
	struct bvec_iter iter = run->bio->bi_iter;

	if (run->done)
		bio_advance_iter(run->bio, &iter, run->done);
	first = __bvec_iter_bvec(vecs, iter);
	iov_iter_bvec(to, op_is_write(bio_op(run->bio)) ? ITER_SOURCE : ITER_DEST, first,
		      count_segments(run->bio, &iter), iter.bi_size);
	to->iov_offset = mp_bvec_iter_offset(vecs, iter) - first->bv_offset;
}

static void init_iocb(struct qcow2_run *run)
{
	run->iocb = (struct kiocb) {
		.ki_filp = run->file->filp,
		.ki_pos = run->host_off + run->done,
		.ki_complete = run_complete,
		.ki_flags = IOCB_DIRECT | (run->may_block ? 0 : IOCB_NOWAIT) |
			    (op_is_write(bio_op(run->bio)) ? IOCB_WRITE : 0),
		.ki_ioprio = run->bio->bi_ioprio,
	};
}

/* A frozen file system must not stop a per-CPU thread, nor one of the pool's. */
static void wait_for_thaw(struct qcow2_run *run)
{
	if (!run->may_block) {
		qcow2_run_queue_slow(run);
		return;
	}
	init_work(run);
	qcow2_park_frozen(run->dev, &run->work);
}

/* The file system has taken the request, or has answered it at once. */
static void have_called(struct qcow2_run *run, ssize_t ret)
{
	if (ret != -EIOCBQUEUED)
		run_complete(&run->iocb, ret);
	run_put(run);
}

static void submit_read(struct qcow2_run *run, struct iov_iter *to)
{
	run->ret = qcow2_lease_settle(run->file->lease, run->iocb.ki_pos, iov_iter_count(to),
				      run->may_block);
	if (run->ret) {
		finish(run);
		return;
	}
	refcount_set(&run->refs, 2);
	have_called(run, run->iocb.ki_filp->f_op->read_iter(&run->iocb, to));
}

static void submit_write(struct qcow2_run *run, struct iov_iter *from)
{
	struct qcow2_lease *layout = run->file->lease;
	struct qcow2_lease_caller caller;
	ssize_t ret;

	/* Before begin_write(), which may wait for somebody who waits for the thaw. */
	if (unlikely(qcow2_freeze_is_near(run->iocb.ki_filp))) {
		wait_for_thaw(run);
		return;
	}
	run->ret = qcow2_lease_begin_write(layout, &caller, run->iocb.ki_pos,
					   iov_iter_count(from), run->may_block);
	if (run->ret) {
		finish(run);
		return;
	}
	if (!qcow2_freeze_tryhold(run->iocb.ki_filp)) {
		qcow2_lease_end_write(layout, &caller);
		wait_for_thaw(run);
		return;
	}
	refcount_set(&run->refs, 2);
	ret = run->iocb.ki_filp->f_op->write_iter(&run->iocb, from);
	qcow2_lease_end_write(layout, &caller);
	have_called(run, ret);
}

void qcow2_run_submit(struct qcow2_run *run, bool may_block)
{
	struct iov_iter iter;

	run->may_block = may_block;
	init_iocb(run);
	init_iter(run, &iter);
	if (run->iocb.ki_flags & IOCB_WRITE)
		submit_write(run, &iter);
	else
		submit_read(run, &iter);
}
