// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a bio on the hot path: mapped, started, ended.
 */
#include "image/bitmaps.h"
#include "lease/lease.h"

#include "bio.h"
#include "blocks.h"
#include "dev.h"
#include "discard.h"
#include "map.h"
#include "request.h"

static void remap(struct block_device *bdev, struct bio *bio, const struct qcow2_mapping *m)
{
	bio_set_dev(bio, bdev);
	bio->bi_iter.bi_sector = m->host_off >> SECTOR_SHIFT;
}

static void accept(struct bio *bio, u32 bytes)
{
	if (bytes < bio->bi_iter.bi_size)
		dm_accept_partial_bio(bio, bytes >> SECTOR_SHIFT);
}

/* To whoever calls the file system. */
static int put_run(struct qcow2_dev *dev, struct bio *bio, struct qcow2_run *run,
		   const struct qcow2_mapping *m)
{
	run->dev = dev;
	run->bio = bio;
	run->host_off = m->host_off;
	run->done = 0;
	if (unlikely(!run->file->may_nowait))
		qcow2_run_queue_slow(run);
	else if (!qcow2_plug_add(run))
		qcow2_cpu_queue_add(run);
	return DM_MAPIO_SUBMITTED;
}

/*
 * A run of host clusters; from here on the end of the bio leaves the read section.
 * @read: set to what of the bio it is, or NULL
 */
static __always_inline int map_data(struct qcow2_dev *dev, struct bio *bio, struct qcow2_run *run,
				    struct qcow2_mapping *m, struct bvec_iter *read)
{
	struct qcow2_file *file = &m->img->file;
	bool is_remapped = true;

	if (read)
		*read = bio->bi_iter;
	run->file = file;
	if (file->bdev)
		remap(file->bdev, bio, m);
	else
		is_remapped = qcow2_lease_map(file->lease, bio, m->host_off, m->is_fresh,
					      &m->bytes, &run->lease_io);
	accept(bio, m->bytes);
	if (read)
		read->bi_size = bio->bi_iter.bi_size;
	return is_remapped ? DM_MAPIO_REMAPPED : put_run(dev, bio, run, m);
}

static int read_zeroes(struct bio *bio, u32 bytes)
{
	accept(bio, bytes);
	zero_fill_bio(bio);
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

int qcow2_bio_map_instant(struct qcow2_dev *dev, struct qcow2_instant *instant, struct bio *bio,
			  int srcu_idx)
{
	u64 guest_off = dm_target_offset(dev->ti, bio->bi_iter.bi_sector) << SECTOR_SHIFT;
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct qcow2_image *img = dev->img;
	int result = QCOW2_MAP_MISS;
	struct qcow2_mapping m;
	struct qcow2_mpage *p;

	rcu_read_lock();
	p = qcow2_mpage_find(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, guest_off));
	if (likely(p))
		result = qcow2_map_instant(img, instant, p, guest_off, bio->bi_iter.bi_size, &m);
	rcu_read_unlock();
	if (likely(result == QCOW2_MAP_DATA) && qcow2_run_fits(&m, bio, bio->bi_iter)) {
		rq->run.srcu_idx = srcu_idx;
		return map_data(dev, bio, &rq->run, &m, &rq->iter);
	}
	if (result == QCOW2_MAP_ZERO) {
		qcow2_inflight_leave(img, srcu_idx);
		return read_zeroes(bio, m.bytes);
	}
	/* Nobody waits for the bio but us: from one count to the other. */
	qcow2_request_slow_instant(dev, bio, instant, result);
	qcow2_inflight_leave(img, srcu_idx);
	return DM_MAPIO_SUBMITTED;
}

static int start_in_fill(struct qcow2_dev *dev, struct bio *bio, struct qcow2_request *rq,
			 const struct qcow2_mapping *m)
{
	struct qcow2_file *file = &m->img->file;

	rq->run.file = file;
	accept(bio, m->bytes);
	/* A commit waits for it, and nobody may be there to poll. */
	bio->bi_opf &= ~REQ_POLLED;
	if (file->bdev)
		remap(file->bdev, bio, m);
	/* Not cut: who writes a whole cluster needs nothing of what was there. */
	else if (!qcow2_lease_map_all(file->lease, bio, m->host_off, m->bytes,
				      &rq->run.lease_io))
		return put_run(dev, bio, &rq->run, m);
	return DM_MAPIO_REMAPPED;
}

/* A write to a fill; takes over the read section. */
static noinline int map_in_fill(struct qcow2_dev *dev, struct bio *bio, u64 guest_off,
				const struct qcow2_mapping *m, int srcu_idx)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));

	/* It commits, or goes through a buffer. */
	if (unlikely(bio->bi_opf & REQ_FUA || !qcow2_run_fits(m, bio, bio->bi_iter))) {
		qcow2_fill_end(dev->img, m->fill, guest_off, m->bytes, false);
		qcow2_inflight_leave(dev->img, srcu_idx);
		qcow2_request_slow(dev, bio, QCOW2_MAP_IN_FILL);
		return DM_MAPIO_SUBMITTED;
	}
	rq->run.srcu_idx = srcu_idx;
	rq->run.entered |= QCOW2_ENTERED_FILL;
	rq->fill = (struct qcow2_fill_write) { m->fill, guest_off, m->bytes };
	return start_in_fill(dev, bio, rq, m);
}

/* A FUA write completes when its entry is durable, too: the slow pool commits. */
static bool needs_commit(const struct bio *bio, const struct qcow2_mapping *m)
{
	return bio->bi_opf & REQ_FUA && (qcow2_is_file(m->img) || !m->is_durable);
}

/*
 * @fits: the layer can take it as it is; if not, only zeroes are read at once. Where blocks
 * are sectors everything fits, which the compiler shall know.
 */
static __always_inline int map_rw(struct qcow2_dev *dev, struct bio *bio, struct qcow2_run *run,
				  bool fits)
{
	u64 guest_off = dm_target_offset(dev->ti, bio->bi_iter.bi_sector) << SECTOR_SHIFT;
	bool is_write = op_is_write(bio_op(bio));
	struct qcow2_mapping m;
	int result, srcu_idx;

	srcu_idx = qcow2_inflight_enter(dev->img);
	if (is_write && !qcow2_bitmaps_record(dev->img, guest_off, bio->bi_iter.bi_size))
		result = QCOW2_MAP_UNMARKED;
	else
		result = qcow2_map(dev->img, guest_off, bio->bi_iter.bi_size, is_write, &m);
	if (likely(result == QCOW2_MAP_DATA && fits && !needs_commit(bio, &m)) &&
	    likely(qcow2_run_fits(&m, bio, bio->bi_iter))) {
		run->srcu_idx = srcu_idx;
		return map_data(dev, bio, run, &m, NULL);
	}
	if (result == QCOW2_MAP_IN_FILL)
		return map_in_fill(dev, bio, guest_off, &m, srcu_idx);
	qcow2_inflight_leave(dev->img, srcu_idx);
	if (result == QCOW2_MAP_ZERO)
		return read_zeroes(bio, m.bytes);
	qcow2_request_slow(dev, bio, result);
	return DM_MAPIO_SUBMITTED;
}

/* A layer of blocks that are larger than sectors. */
static noinline int map_blocks(struct qcow2_dev *dev, struct bio *bio, struct qcow2_run *run)
{
	bool fits = qcow2_blocks_fit(qcow2_data_file(dev->img), bio, bio->bi_iter);

	if (!op_is_write(bio_op(bio)))
		return map_rw(dev, bio, run, fits);
	if (!qcow2_blocks_enter(dev, bio))
		return DM_MAPIO_SUBMITTED;
	if (fits)
		return map_rw(dev, bio, run, true);
	qcow2_request_slow(dev, bio, QCOW2_MAP_DATA);
	return DM_MAPIO_SUBMITTED;
}

/* All but reads and writes: the empty flush that dm sends, discards, zeroes. */
#define UNUSUAL	(REQ_PREFLUSH | (REQ_OP_MASK & ~(__force blk_opf_t)REQ_OP_WRITE))

static bool may_write(const struct qcow2_dev *dev)
{
	return !qcow2_failed(dev->img) && dev->img->file.is_writable;
}

static noinline int map_unusual(struct qcow2_dev *dev, struct bio *bio)
{
	if (!(bio->bi_opf & REQ_PREFLUSH))
		return may_write(dev) ? qcow2_discard_map(dev, bio) : DM_MAPIO_KILL;
	qcow2_commit_bio(dev->img, bio);
	return DM_MAPIO_SUBMITTED;
}

int qcow2_bio_map(struct dm_target *ti, struct bio *bio)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct qcow2_dev *dev = ti->private;

	rq->run.srcu_idx = -1;
	rq->run.entered = 0;
	rq->run.lease_io.idx = -1;
	if (unlikely(bio->bi_opf & UNUSUAL))
		return map_unusual(dev, bio);
	if (unlikely(op_is_write(bio_op(bio)) && !may_write(dev)))
		return DM_MAPIO_KILL;
	if (unlikely(qcow2_has_blocks(dev)))
		return map_blocks(dev, bio, &rq->run);
	return map_rw(dev, bio, &rq->run, true);
}

int qcow2_bio_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));
	struct qcow2_dev *dev = ti->private;
	int srcu_idx = rq->run.srcu_idx;

	if (rq->run.lease_io.idx >= 0)
		qcow2_lease_leave(rq->run.file->lease, bio, &rq->run.lease_io);
	if (unlikely(rq->run.entered & QCOW2_ENTERED_FILL)) {
		qcow2_fill_end(dev->img, rq->fill.fill, rq->fill.guest_off, rq->fill.bytes,
			       !*error);
		rq->run.entered &= ~QCOW2_ENTERED_FILL;
	}
	if (unlikely(*error == BLK_STS_NOSPC) && qcow2_request_wants_space(dev, bio)) {
		rq->run.srcu_idx = -1;
		qcow2_request_slow(dev, bio, -ENOSPC);
		qcow2_inflight_leave(dev->img, srcu_idx);
		return DM_ENDIO_INCOMPLETE;
	}
	/* With its extent settled, and before its read section ends: then the image may go. */
	if (unlikely(rq->run.entered))
		qcow2_blocks_leave(dev, rq);
	if (srcu_idx >= 0)
		qcow2_inflight_leave(dev->img, srcu_idx);
	return DM_ENDIO_DONE;
}
