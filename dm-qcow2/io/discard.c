// SPDX-License-Identifier: GPL-2.0-only
/*
 * Discards and write-zeroes: whole clusters are entries that change (cow/unmap.c), in steps of an
 * L2 page, so that others get their turn in the slow pool. What is no whole cluster a discard
 * leaves alone, and zeroes are written, by requests of our own; unless all of the cluster reads as
 * zero then, and no data of it is the top's.
 *
 * In a raw data file zeroes are zeroes, and no entry changes.
 *
 * While a disk with a data file is frozen nothing of it is cleared: zeroes are written, which has what was
 * there saved (cow/saved.h), and discards are left alone.
 *
 * With extended L2 entries all this holds for subclusters, which is what "unit" stands for.
 */
#include <linux/slab.h>
#include <linux/sizes.h>

#include "cow/instant.h"
#include "cow/unmap.h"
#include "image/bitmaps.h"
#include "image/data-file.h"
#include "test-hold.h"

#include "blocks.h"
#include "dev.h"
#include "discard.h"
#include "request.h"

/* Zeroes that are written at once: in one region of blocks.c. */
#define PIECE_BYTES	SZ_256K

/**
 * struct zeroes - zeroes that are written
 * @rq: the request that writes a piece of them
 * @parent: whose they are
 * @guest_off: where what is left begins
 * @bytes: how much is left
 * @piece: how much of it is under way
 * @bio: of @rq
 * @vecs: of @bio
 */
struct zeroes {
	struct qcow2_request rq;
	struct qcow2_request *parent;
	u64 guest_off;
	u32 bytes;
	u32 piece;
	struct bio bio;
	struct bio_vec vecs[PIECE_BYTES / PAGE_SIZE];
};

bool qcow2_offers_discard(const struct qcow2_dev *dev)
{
	return dev->img->file.is_writable && dev->discard != QCOW2_DISCARD_IGNORE;
}

static bool has_zero_flag(const struct qcow2_dev *dev)
{
	return dev->img->geo.version >= 3;
}

/* Without the flag a cluster reads as zero if there is none, and nothing below. */
static bool may_unmap(const struct qcow2_dev *dev)
{
	return has_zero_flag(dev) || (dev->discard == QCOW2_DISCARD_UNMAP && !dev->img->base);
}

bool qcow2_offers_zeroes(const struct qcow2_dev *dev)
{
	return dev->img->file.is_writable && may_unmap(dev);
}

static bool is_discard(const struct qcow2_request *rq)
{
	return bio_op(rq->run.bio) == REQ_OP_DISCARD;
}

/* An image without the zero flag has no other way. */
static bool drops_clusters(const struct qcow2_request *rq)
{
	const struct qcow2_dev *dev = rq->run.dev;

	return !has_zero_flag(dev) || (dev->discard == QCOW2_DISCARD_UNMAP &&
				       !(rq->run.bio->bi_opf & REQ_NOUNMAP));
}

/* What QEMU does: a hole stays one under a discard if it reads as zero for sure. */
static bool marks_holes(const struct qcow2_request *rq)
{
	const struct qcow2_dev *dev = rq->run.dev;

	return has_zero_flag(dev) && (!is_discard(rq) || dev->img->base);
}

static u64 next_guest_off(const struct qcow2_request *rq)
{
	return dm_target_offset(rq->run.dev->ti, rq->iter.bi_sector) << SECTOR_SHIFT;
}

static void advance(struct qcow2_request *rq, u64 bytes)
{
	bio_advance_iter(rq->run.bio, &rq->iter, min_t(u64, bytes, rq->iter.bi_size));
}

/* Zeroes that are written */

static void write_piece(struct qcow2_work *work);

/* May be an interrupt. */
static void piece_endio(struct bio *bio)
{
	struct zeroes *z = container_of(bio, struct zeroes, bio);
	struct qcow2_request *parent = z->parent;
	blk_status_t status = bio->bi_status;

	if (z->rq.run.entered)
		qcow2_blocks_leave(z->rq.run.dev, &z->rq);
	bio_uninit(bio);
	z->guest_off += z->piece;
	z->bytes -= z->piece;
	if (z->bytes && !status) {
		z->rq.work.fn = write_piece;
		qcow2_slow_queue(parent->run.dev, &z->rq.work);
		return;
	}
	kfree(z);
	qcow2_request_put(parent, status);
}

static void init_piece(struct zeroes *z)
{
	u32 part;

	z->piece = min_t(u64, z->bytes, PIECE_BYTES - (z->guest_off & (PIECE_BYTES - 1)));
	bio_init(&z->bio, z->parent->run.bio->bi_bdev, z->vecs, ARRAY_SIZE(z->vecs),
		 REQ_OP_WRITE | REQ_SYNC);
	z->bio.bi_iter.bi_sector = z->parent->run.dev->ti->begin + (z->guest_off >> SECTOR_SHIFT);
	z->bio.bi_end_io = piece_endio;
	for (u32 done = 0; done < z->piece; done += part) {
		part = min_t(u32, z->piece - done, PAGE_SIZE);
		__bio_add_page(&z->bio, ZERO_PAGE(0), part, 0);
	}
}

static void write_piece(struct qcow2_work *work)
{
	struct zeroes *z = container_of(work, struct zeroes, rq.work);
	struct qcow2_dev *dev = z->parent->run.dev;

	init_piece(z);
	qcow2_request_begin(dev, &z->rq, &z->bio);
	if (!qcow2_has_blocks(dev) || qcow2_blocks_enter_begun(dev, &z->rq))
		qcow2_slow_queue(dev, &z->rq.work);
}

/* The next bytes of a request. */
static void write_zeroes(struct qcow2_request *rq, u32 bytes)
{
	struct zeroes *z = kzalloc(sizeof(*z), GFP_NOIO | __GFP_NOFAIL);

	z->parent = rq;
	z->guest_off = next_guest_off(rq);
	z->bytes = bytes;
	z->rq.run.srcu_idx = -1;
	z->rq.run.lease_io.idx = -1;
	atomic_inc(&rq->pending);
	advance(rq, bytes);
	write_piece(&z->rq.work);
}

/* Raw data files */

/* A discard is worth no zeroes that a device would have to be written. */
static bool may_clear(const struct qcow2_request *rq)
{
	const struct qcow2_file *f = qcow2_data_file(rq->run.dev->img);

	return !is_discard(rq) || !f->bdev || bdev_write_zeroes_sectors(f->bdev);
}

/*
 * There zeroes are zeroes. Whether some bytes of a cluster, or all that it has of the disk, are to
 * be written.
 */
static bool are_written(const struct qcow2_request *rq, u64 guest_off, u32 bytes)
{
	const struct qcow2_image *img = rq->run.dev->img;

	if (!img->geo.has_raw_data)
		return false;
	if (!is_discard(rq))
		return true;
	return may_clear(rq) && !qcow2_in_cluster(&img->geo, guest_off) &&
	       (bytes == qcow2_cluster_bytes(&img->geo) || guest_off + bytes == img->geo.size);
}

/* The whole clusters that come next, and not too many of them, so that others get their turn. */
static u32 next_clusters(const struct qcow2_request *rq, u64 guest_off)
{
	const struct qcow2_geometry *g = &rq->run.dev->img->geo;
	u64 clusters = rq->iter.bi_size >> g->cluster_bits;

	if (guest_off + rq->iter.bi_size == g->size && !g->has_raw_data)
		clusters = DIV_ROUND_UP_ULL(rq->iter.bi_size, qcow2_cluster_bytes(g));
	return min_t(u64, clusters, BIT_ULL(g->l2_page_bits) - qcow2_l2_slot(g, guest_off));
}

/*
 * A write of a part of a block writes the rest of it as it has read it. Return: 0 or a negative
 * errno.
 */
static int clear_range(const struct qcow2_request *rq, u64 guest_off, u64 bytes)
{
	struct qcow2_dev *dev = rq->run.dev;
	int err;

	down_write(&dev->clearing.blocks);
	err = qcow2_file_clear(qcow2_data_file(dev->img), guest_off, bytes, drops_clusters(rq),
			       !is_discard(rq));
	up_write(&dev->clearing.blocks);
	return is_discard(rq) && err == -EOPNOTSUPP ? 0 : err;
}

/* Return: false when it is somebody else's turn: the request is parked. */
static bool begin_clearing(struct qcow2_request *rq)
{
	struct qcow2_clearing *c = &rq->run.dev->clearing;
	bool is_first;

	spin_lock(&c->lock);
	is_first = !c->is_busy;
	c->is_busy = true;
	if (!is_first)
		list_add_tail(&rq->work.node, &c->waiting);
	spin_unlock(&c->lock);
	return is_first;
}

/* All try again: the first of them may have something else to wait for, or fail, by now. */
static void end_clearing(struct qcow2_dev *dev)
{
	struct qcow2_clearing *c = &dev->clearing;
	struct qcow2_work *work, *next;
	LIST_HEAD(works);

	spin_lock(&c->lock);
	c->is_busy = false;
	list_splice_init(&c->waiting, &works);
	spin_unlock(&c->lock);
	list_for_each_entry_safe(work, next, &works, node)
		qcow2_slow_queue(dev, work);
}

/* The request waits for space, as writes do, or has ended. */
static int cannot_clear(struct qcow2_request *rq, int err)
{
	struct qcow2_dev *dev = rq->run.dev;
	blk_status_t status = qcow2_data_status(err);

	if (status == BLK_STS_NOSPC && qcow2_is_file(dev->img->data)) {
		rq->has_waited = true;
		err = qcow2_park_in_place(dev, &rq->work);
		if (!err)
			return QCOW2_COW_PARKED;
		status = qcow2_request_refusal(dev, err);
	}
	qcow2_request_put(rq, status);
	return QCOW2_COW_PARKED;
}

/*
 * Whole clusters, whatever their entries say: none changes. What has been written to a fill is there
 * already, and to be zero, too; what a fill copies must not come later. A write of the same sectors
 * that begins before the request ends may be lost here, as by any discard.
 */
static int clear(struct qcow2_request *rq, u64 guest_off)
{
	struct qcow2_dev *dev = rq->run.dev;
	unsigned int bits = dev->img->geo.cluster_bits;
	u32 clusters = next_clusters(rq, guest_off);
	u64 bytes = (u64)clusters << bits;
	int err = 0, srcu_idx;
	bool is_frozen;

	if (!qcow2_fills_settle(dev->img, guest_off >> bits, clusters, &rq->work))
		return QCOW2_COW_PARKED;
	if (!begin_clearing(rq))
		return QCOW2_COW_PARKED;
	qcow2_test_hold(QCOW2_HOLD_CLEAR);
	srcu_idx = qcow2_inflight_enter(dev->img);
	is_frozen = qcow2_is_frozen(dev->img);
	if (!is_frozen)
		err = clear_range(rq, guest_off, bytes);
	qcow2_inflight_leave(dev->img, srcu_idx);
	end_clearing(dev);
	if (is_frozen)
		return QCOW2_COW_AGAIN;
	if (err)
		return cannot_clear(rq, err);
	advance(rq, bytes);
	return QCOW2_COW_READY;
}

static bool has_data(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot)
{
	return qcow2_entry_type(&img->geo, qcow2_mpage_entry(p, slot)) == QCOW2_ENTRY_DATA;
}

/*
 * A discard of a device that cannot be cleared. What it reads as from then on is the device's word,
 * of the image and of the device alone; but not where the image says that there are zeroes.
 */
static int discard_data(struct qcow2_request *rq, const struct qcow2_mpage *p, u64 guest_off)
{
	struct qcow2_image *img = rq->run.dev->img;
	u32 slot = qcow2_l2_slot(&img->geo, guest_off), left = next_clusters(rq, guest_off);
	unsigned int bits = img->geo.cluster_bits;
	int srcu_idx = qcow2_inflight_enter(img);
	u32 i, n;

	for (i = 0; i < left && !qcow2_is_frozen(img); i += n) {
		for (n = 0; i + n < left && has_data(img, p, slot + i + n); n++)
			;
		if (n)
			qcow2_file_discard(qcow2_data_file(img), guest_off + ((u64)i << bits),
					   (u64)n << bits);
		else
			n = 1;
	}
	qcow2_inflight_leave(img, srcu_idx);
	advance(rq, (u64)left << bits);
	return QCOW2_COW_READY;
}

/* Parts of clusters */

/*
 * Whether a range below the top reads as zero. Return: 1 or 0; -EAGAIN when it is not known.
 */
static int is_zero_below(struct qcow2_image *img, u64 guest_off, u64 end)
{
	struct qcow2_below run;

	for (; guest_off < end; guest_off += run.bytes) {
		switch (qcow2_below_find(img->base, guest_off, end - guest_off, &run)) {
		case QCOW2_BELOW_ZERO:
			break;
		case QCOW2_BELOW_MISS:
			return -EAGAIN;
		default:
			return 0;
		}
	}
	return 1;
}

/* Whether the rest of a unit shows nothing of what is below. Return: as is_zero_below(). */
static int is_rest_zero_below(struct qcow2_image *img, u64 guest_off, u32 bytes)
{
	u64 unit = qcow2_unit_bytes(&img->geo);
	u64 start = round_down(guest_off, unit);
	u64 end = min(start + unit, img->geo.size);
	int result;

	if (!img->base)
		return 1;
	result = is_zero_below(img, start, guest_off);
	return result == 1 ? is_zero_below(img, guest_off + bytes, end) : result;
}

/*
 * Whether a part of a unit can become zero with all of it: the rest reads as zero, and not by
 * what has been written. Return: as is_zero_below().
 */
static int may_be_whole(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off,
			u32 bytes)
{
	struct qcow2_l2_entry e;
	bool is_known;
	u64 host_off;
	int srcu_idx;

	srcu_idx = qcow2_inflight_enter(img);
	qcow2_fill_find(img, guest_off, &(u32) { bytes }, &host_off, &is_known);
	qcow2_inflight_leave(img, srcu_idx);
	/* Whoever is changing the entry writes data, most likely. */
	if (is_known ||
	    !qcow2_mpage_l2_entry(&img->geo, p, qcow2_l2_slot(&img->geo, guest_off), &e))
		return 0;
	switch (qcow2_l2_type(&img->geo, e, guest_off)) {
	case QCOW2_ENTRY_ZERO:
	case QCOW2_ENTRY_ZERO_ALLOCATED:
		return 1;
	case QCOW2_ENTRY_UNALLOCATED:
	case QCOW2_ENTRY_RESERVED:
		return is_rest_zero_below(img, guest_off, bytes);
	default:
		return 0;
	}
}

static u32 subcluster_of(const struct qcow2_geometry *g, u64 guest_off)
{
	return qcow2_has_subclusters(g) ? BIT(qcow2_subcluster(g, guest_off)) : U32_MAX;
}

/* Steps: return enum qcow2_cow_result or a negative errno */

/* The one way to cow/unmap.c: whoever may let go of clusters waits while there are too many. */
static int unmap(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off, u32 clusters,
		 u32 subclusters, bool is_careful, u32 *done)
{
	const struct qcow2_unmap how = {
		.drops = drops_clusters(rq),
		.marks_holes = marks_holes(rq),
		.is_careful = is_careful,
		.subclusters = subclusters,
	};
	struct qcow2_image *img = rq->run.dev->img;

	if (qcow2_drop_is_crowded(img, &rq->work) ||
	    qcow2_trims_are_crowded(img->fills, &rq->work))
		return QCOW2_COW_PARKED;
	return qcow2_unmap(img, p, guest_off, clusters, &how, &rq->work, done);
}

static int zero_part(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off, u32 bytes)
{
	struct qcow2_image *img = rq->run.dev->img;
	u32 done;
	int result;

	result = may_be_whole(img, p, guest_off, bytes);
	if (result < 0)
		return qcow2_below_load(img->base, guest_off) ?: QCOW2_COW_AGAIN;
	if (!result) {
		write_zeroes(rq, bytes);
		return QCOW2_COW_READY;
	}
	result = unmap(rq, p, guest_off, 1, subcluster_of(&img->geo, guest_off), true, &done);
	if (result == QCOW2_COW_READY)
		advance(rq, bytes);
	return result;
}

static int unmap_page(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off)
{
	struct qcow2_image *img = rq->run.dev->img;
	u32 left = next_clusters(rq, guest_off), done;
	int result;

	do {
		result = unmap(rq, p, guest_off, left, U32_MAX, false, &done);
		if (result != QCOW2_COW_READY)
			break;
		advance(rq, (u64)done << img->geo.cluster_bits);
		guest_off += (u64)done << img->geo.cluster_bits;
		left -= done;
	} while (left);
	return result;
}

/* The subclusters that come next, of a cluster that is not covered as a whole. */
static u32 next_subclusters(const struct qcow2_request *rq, u64 guest_off)
{
	const struct qcow2_geometry *g = &rq->run.dev->img->geo;
	u32 left = QCOW2_SUBCLUSTERS - qcow2_subcluster(g, guest_off);
	u64 bytes = rq->iter.bi_size;

	if (guest_off + bytes == g->size)
		bytes = round_up(bytes, qcow2_unit_bytes(g));
	return min_t(u64, bytes >> g->subcluster_bits, left);
}

static int unmap_subclusters(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off)
{
	struct qcow2_image *img = rq->run.dev->img;
	u32 count = next_subclusters(rq, guest_off), done;
	u64 bytes = (u64)count << img->geo.subcluster_bits;
	u32 mask = qcow2_subcluster_mask(qcow2_subcluster(&img->geo, guest_off), count);
	struct qcow2_l2_entry e;
	int result = QCOW2_COW_READY;

	if (!qcow2_mpage_l2_entry(&img->geo, p, qcow2_l2_slot(&img->geo, guest_off), &e))
		return QCOW2_COW_AGAIN;
	if (e.word & QCOW2_OFLAG_COMPRESSED) {
		if (!is_discard(rq)) {
			write_zeroes(rq, min_t(u64, bytes, rq->iter.bi_size));
			return QCOW2_COW_READY;
		}
	} else {
		result = unmap(rq, p, guest_off, 1, mask, false, &done);
	}
	if (result == QCOW2_COW_READY)
		advance(rq, bytes);
	return result;
}

/* How much of its first unit a request covers, if not all of it; else 0. */
static u32 first_part(const struct qcow2_request *rq, u64 guest_off)
{
	const struct qcow2_image *img = rq->run.dev->img;
	const struct qcow2_geometry *g = &img->geo;
	u64 unit = qcow2_unit_bytes(g), in_unit = guest_off & (unit - 1);
	u64 bytes = rq->iter.bi_size;
	bool is_whole;

	is_whole = g->has_raw_data ? bytes >= unit && qcow2_data_has_holes(img) :
		   bytes >= unit || guest_off + bytes == g->size;
	if (!in_unit && is_whole)
		return 0;
	return min(bytes, unit - in_unit);
}

/* Return: as the steps. */
static int do_whole(struct qcow2_request *rq, struct qcow2_mpage *p, u64 guest_off)
{
	const struct qcow2_geometry *g = &rq->run.dev->img->geo;

	if (g->has_raw_data)
		return discard_data(rq, p, guest_off);
	if (qcow2_has_subclusters(g) &&
	    (qcow2_in_cluster(g, guest_off) || !next_clusters(rq, guest_off)))
		return unmap_subclusters(rq, p, guest_off);
	return unmap_page(rq, p, guest_off);
}

/*
 * The end of the L2 table that maps an offset, if there is none: what lies below a hole of the L1
 * table need not be looked at. Return: 0 when there is one, or a negative errno.
 */
static s64 end_of_hole(struct qcow2_image *img, u64 guest_off)
{
	unsigned int bits = img->geo.cluster_bits + img->geo.l2_bits;
	u64 table = guest_off >> bits;
	struct qcow2_mpage *l1;
	bool is_hole;

	l1 = qcow2_mpage_get(img, QCOW2_META_L1, table >> img->geo.entry_bits);
	if (IS_ERR(l1))
		return PTR_ERR(l1);
	is_hole = !qcow2_entry_offset(qcow2_mpage_entry(l1, qcow2_slot(&img->geo, table)));
	qcow2_mpage_put(l1);
	return is_hole ? (table + 1) << bits : 0;
}

static int do_page(struct qcow2_request *rq, u64 guest_off, u32 part)
{
	struct qcow2_image *img = rq->run.dev->img;
	struct qcow2_mpage *p;
	int result;

	p = qcow2_mpage_get(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, guest_off));
	if (IS_ERR(p))
		return PTR_ERR(p);
	result = part ? zero_part(rq, p, guest_off, part) : do_whole(rq, p, guest_off);
	qcow2_mpage_put(p);
	return result;
}

static int leave_alone(struct qcow2_request *rq, u64 bytes)
{
	advance(rq, bytes);
	return QCOW2_COW_READY;
}

/* All that is left of a request. */
static int keep_frozen(struct qcow2_request *rq)
{
	if (is_discard(rq))
		return leave_alone(rq, rq->iter.bi_size);
	write_zeroes(rq, rq->iter.bi_size);
	return QCOW2_COW_READY;
}

static int do_next(struct qcow2_request *rq)
{
	struct qcow2_image *img = rq->run.dev->img;
	u64 guest_off = next_guest_off(rq);
	u32 part = first_part(rq, guest_off);
	s64 end = 0;

	if (qcow2_failed(img))
		return -EIO;
	if (!qcow2_bitmaps_are_marked(img, guest_off, rq->iter.bi_size))
		return qcow2_request_mark(img, guest_off, rq->iter.bi_size);
	/* It may change without an entry. */
	if (img->geo.has_raw_data)
		qcow2_bitmaps_record_marked(img, guest_off, rq->iter.bi_size);
	if (img->geo.has_data_file && qcow2_is_frozen(img))
		return keep_frozen(rq);
	if (part && are_written(rq, guest_off, part)) {
		write_zeroes(rq, part);
		return QCOW2_COW_READY;
	}
	if (part && is_discard(rq))
		return leave_alone(rq, part);
	if (img->geo.has_raw_data && !part && may_clear(rq))
		return clear(rq, guest_off);
	if (img->geo.has_raw_data && !drops_clusters(rq))
		return leave_alone(rq, rq->iter.bi_size);
	if (!part && !marks_holes(rq))
		end = end_of_hole(img, guest_off);
	if (end <= 0)
		return end ?: do_page(rq, guest_off, part);
	return leave_alone(rq, end - guest_off);
}

/* One that is parked may have ended. */
static int do_step(struct qcow2_request *rq)
{
	struct qcow2_dev *dev = rq->run.dev;
	bool is_paced = is_discard(rq);
	u64 begun = ktime_get_ns();
	int result;

	if (!is_paced)
		WRITE_ONCE(dev->pace.has_zeroed, true);
	result = do_next(rq);
	if (is_paced && result != QCOW2_COW_PARKED)
		qcow2_pace_took(dev, begun);
	return result;
}

static void discard_request(struct qcow2_work *work)
{
	struct qcow2_request *rq = container_of(work, struct qcow2_request, work);
	struct qcow2_dev *dev = rq->run.dev;
	int err, result = work->err;

	if (!result && is_discard(rq) && qcow2_pace_rest(dev, work))
		return;
	if (!result)
		result = do_step(rq);
	if (result == QCOW2_COW_PARKED)
		return;
	if (result == QCOW2_COW_NO_CLUSTER) {
		err = qcow2_space_wait(dev->img, work);
		if (!err)
			return;
		if (err != -EAGAIN) {
			qcow2_request_put(rq, qcow2_request_refusal(dev, err));
			return;
		}
	}
	if (result < 0)
		qcow2_request_put(rq, qcow2_request_error(result));
	else if (rq->iter.bi_size && !READ_ONCE(rq->status))
		qcow2_slow_queue(dev, work);
	else
		qcow2_request_put(rq, BLK_STS_OK);
}

int qcow2_discard_map(struct qcow2_dev *dev, struct bio *bio)
{
	struct qcow2_request *rq = dm_per_bio_data(bio, sizeof(*rq));

	/* As QEMU does where the data below would show. */
	if (bio_op(bio) == REQ_OP_DISCARD && !may_unmap(dev)) {
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	qcow2_request_begin(dev, rq, bio);
	rq->work.fn = discard_request;
	qcow2_slow_queue(dev, &rq->work);
	return DM_MAPIO_SUBMITTED;
}
