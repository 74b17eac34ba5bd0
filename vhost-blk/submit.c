// SPDX-License-Identifier: GPL-2.0-only
/*
 * A request's bios: pages in, off to the device, pages out.
 *
 * Up to VHOST_BLK_INLINE_VECS pages fit the bio inside the request. A longer one
 * gets bios from kmalloc, never from a mempool: a worker that waits for a pool
 * could be the one that has to complete the bios which fill it. All are built
 * before the first is submitted, so that preparing can still fail cleanly.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include "backend.h"
#include "complete.h"
#include "device.h"
#include "pin.h"
#include "request.h"
#include "submit.h"
#include "vq.h"

/* Pages of one bio of a long request: what fits a page of bookkeeping. */
#define LONG_VECS	((PAGE_SIZE - sizeof(struct vhost_blk_bio)) / \
			 sizeof(struct bio_vec))
/* Larger unaligned requests are refused: they get copied to kernel memory. */
#define MAX_BOUNCE	SZ_32M
/* A multiple of whatever a device may want discards to be aligned to. */
#define RANGE_SECTORS	(SZ_1G >> SECTOR_SHIFT)

static void end_bio(struct bio *bio)
{
	struct vhost_blk_request *req = bio->bi_private;

	if (unlikely(bio->bi_status))
		WRITE_ONCE(req->status, bio->bi_status == BLK_STS_NOTSUPP ?
					VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
	if (!req->bios || atomic_dec_and_test(&req->bios_left))
		vhost_blk_request_done(req);
}

static void init_bio(struct vhost_blk_request *req, struct bio *bio,
		     struct bio_vec *vecs, unsigned int nr, blk_opf_t opf)
{
	bio_init(bio, req->backend->bdev, vecs, nr, opf);
	bio->bi_private = req;
	bio->bi_end_io = end_bio;
}

/* A bio of the request that takes @nr_pages, or as many as one can. */
static struct bio *add_bio(struct vhost_blk_request *req, unsigned int nr_pages,
			   blk_opf_t opf)
{
	struct vhost_blk_bio *item;

	if (!req->nr_bios && nr_pages <= VHOST_BLK_INLINE_VECS) {
		init_bio(req, &req->bio, req->vecs, VHOST_BLK_INLINE_VECS, opf);
		req->nr_bios = 1;
		return &req->bio;
	}
	nr_pages = min(nr_pages, LONG_VECS);
	item = kmalloc(struct_size(item, vecs, nr_pages), GFP_KERNEL);
	if (!item)
		return NULL;
	init_bio(req, &item->bio, item->vecs, nr_pages, opf);
	item->next = NULL;
	if (req->bios)
		req->last_bio->next = item;
	else
		req->bios = item;
	req->last_bio = item;
	req->nr_bios++;
	return &item->bio;
}

/* Pin the guest's pages. */
static int pin(struct vhost_blk_request *req, struct iov_iter *iter, blk_opf_t opf)
{
	sector_t sector = req->sector;
	struct bio *bio;
	int ret;

	while (iov_iter_count(iter)) {
		/* The inline bio is for those that fit; a rest is a failed pin. */
		if (req->nr_bios && !req->bios)
			return -EFAULT;
		bio = add_bio(req, iov_iter_npages(iter, LONG_VECS), opf);
		if (!bio)
			return -ENOMEM;
		bio->bi_iter.bi_sector = sector;
		ret = vhost_blk_pin_pages(bio, iter);
		if (ret)
			return ret;
		sector += bio_sectors(bio);
	}
	return 0;
}

/* Fill a bio with pages of our own, and these from @iter if it is a write. */
static int add_own_pages(struct bio *bio, struct iov_iter *iter, size_t bytes)
{
	while (bytes && bio->bi_vcnt < bio->bi_max_vecs) {
		size_t part = min(bytes, PAGE_SIZE);
		struct page *page = alloc_page(GFP_KERNEL_ACCOUNT);

		if (!page)
			return -ENOMEM;
		__bio_add_page(bio, page, part, 0);
		if (op_is_write(bio->bi_opf) &&
		    copy_page_from_iter(page, 0, part, iter) != part)
			return -EFAULT;
		bytes -= part;
	}
	return 0;
}

/* A bounced read has to find the guest's buffers when it completes. */
static int keep_destination(struct vhost_blk_request *req)
{
	req->bounce = kmalloc(struct_size(req->bounce, iov, req->nr_data),
			      GFP_KERNEL);
	if (!req->bounce)
		return -ENOMEM;
	req->bounce->nr = req->nr_data;
	req->bounce->bytes = req->data_bytes;
	memcpy(req->bounce->iov, req->data, array_size(req->nr_data,
						       sizeof(*req->data)));
	return 0;
}

static int bounce(struct vhost_blk_request *req, struct iov_iter *iter, blk_opf_t opf)
{
	size_t done = 0;
	struct bio *bio;
	int ret = 0;

	if (req->data_bytes > MAX_BOUNCE)
		return -EINVAL;
	req->is_bounced = true;
	if (!op_is_write(opf))
		ret = keep_destination(req);

	while (!ret && done < req->data_bytes) {
		size_t left = req->data_bytes - done;

		bio = add_bio(req, DIV_ROUND_UP(left, PAGE_SIZE), opf);
		if (!bio)
			return -ENOMEM;
		bio->bi_iter.bi_sector = req->sector + (done >> SECTOR_SHIFT);
		ret = add_own_pages(bio, iter, left);
		done += bio->bi_iter.bi_size;
	}
	return ret;
}

/* Can the device reach the guest's buffers, block by block? */
static bool is_aligned(const struct vhost_blk_request *req)
{
	unsigned long address_mask = bdev_dma_alignment(req->backend->bdev);
	size_t block_mask = bdev_logical_block_size(req->backend->bdev) - 1;
	unsigned int i;

	for (i = 0; i < req->nr_data; i++)
		if ((unsigned long)req->data[i].iov_base & address_mask ||
		    req->data[i].iov_len & block_mask)
			return false;
	return true;
}

/**
 * vhost_blk_map - build the bios of a read or write
 * @req: @sector and the data segments are checked
 * @opf: REQ_OP_READ or REQ_OP_WRITE, with flags
 *
 * Context: may fault in guest memory.
 * Return: 0 or an error; vhost_blk_unmap() undoes what was done either way.
 */
int vhost_blk_map(struct vhost_blk_request *req, blk_opf_t opf)
{
	struct iov_iter iter;

	iov_iter_init(&iter, op_is_write(opf) ? ITER_SOURCE : ITER_DEST,
		      req->data, req->nr_data, req->data_bytes);
	return is_aligned(req) ? pin(req, &iter, opf) : bounce(req, &iter, opf);
}

static void put_pages(struct vhost_blk_request *req, struct bio *bio)
{
	if (req->is_bounced)
		bio_free_pages(bio);
	else
		bio_release_pages(bio, bio_op(bio) == REQ_OP_READ);
	bio_uninit(bio);
}

/**
 * vhost_blk_unmap - unpin or free pages, free bios and ranges
 * @req: not submitted, or completed
 *
 * Context: process; marks pages dirty that were read into.
 */
void vhost_blk_unmap(struct vhost_blk_request *req)
{
	struct vhost_blk_bio *item, *next;

	if (req->nr_bios && !req->bios)
		put_pages(req, &req->bio);
	for (item = req->bios; item; item = next) {
		next = item->next;
		put_pages(req, &item->bio);
		kfree(item);
	}
	req->bios = NULL;
	req->nr_bios = 0;
	kfree(req->bounce);
	req->bounce = NULL;
	kfree(req->ranges);
	req->ranges = NULL;
}

static int copy_bio_out(struct bio *bio, struct iov_iter *to)
{
	struct bvec_iter_all all;
	struct bio_vec *bvec;

	bio_for_each_segment_all(bvec, bio, all)
		if (copy_page_to_iter(bvec->bv_page, bvec->bv_offset,
				      bvec->bv_len, to) != bvec->bv_len)
			return -EFAULT;
	return 0;
}

/**
 * vhost_blk_copy_out - give the data of a bounced read to the guest
 * @req: completed; may be called again if it fails
 *
 * Return: 0 or EFAULT.
 */
int vhost_blk_copy_out(struct vhost_blk_request *req)
{
	struct vhost_blk_bounce *to = req->bounce;
	struct vhost_blk_bio *item;
	struct iov_iter iter;
	int ret = 0;

	iov_iter_init(&iter, ITER_DEST, to->iov, to->nr, to->bytes);
	if (!req->bios)
		return copy_bio_out(&req->bio, &iter);
	for (item = req->bios; item && !ret; item = item->next)
		ret = copy_bio_out(&item->bio, &iter);
	return ret;
}

static void submit_bios(struct vhost_blk_request *req)
{
	struct vhost_blk_bio *item, *next;

	if (!req->bios) {
		submit_bio(&req->bio);
		return;
	}
	/* With the last one submitted, the request may be gone. */
	atomic_set(&req->bios_left, req->nr_bios);
	for (item = req->bios; item; item = next) {
		next = item->next;
		submit_bio(&item->bio);
	}
}

/**
 * vhost_blk_submit_flush - make written data durable
 * @req: a flush, or a request whose writing is done and unmapped
 *
 * A bare REQ_OP_FLUSH is the block layer's own; newer kernels refuse it.
 */
void vhost_blk_submit_flush(struct vhost_blk_request *req)
{
	init_bio(req, &req->bio, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
	req->nr_bios = 1;
	submit_bio(&req->bio);
}

/* A part of a range: the request's own bio, never submitted, waits for it. */
static struct bio *range_bio(struct vhost_blk_request *req, unsigned int nr_vecs,
			     blk_opf_t opf, sector_t sector)
{
	struct bio *bio = bio_alloc(req->backend->bdev, nr_vecs, opf, GFP_KERNEL);

	bio->bi_iter.bi_sector = sector;
	bio_chain(bio, &req->bio);
	return bio;
}

static void submit_range(struct vhost_blk_request *req, blk_opf_t opf,
			 sector_t sector, sector_t nr_sectors)
{
	while (nr_sectors && !vhost_blk_must_stop(req->q)) {
		unsigned int nr = min(nr_sectors, RANGE_SECTORS);
		struct bio *bio = range_bio(req, 0, opf, sector);

		bio->bi_iter.bi_size = nr << SECTOR_SHIFT;
		submit_bio(bio);
		sector += nr;
		nr_sectors -= nr;
	}
}

/* For devices that cannot zero: at most VHOST_BLK_MAX_ZERO_SECTORS a request. */
static void submit_zeroes(struct vhost_blk_request *req, sector_t sector,
			  sector_t nr_sectors)
{
	size_t bytes = nr_sectors << SECTOR_SHIFT;

	while (bytes && !vhost_blk_must_stop(req->q)) {
		struct bio *bio = range_bio(req, BIO_MAX_VECS, REQ_OP_WRITE, sector);

		while (bytes && bio->bi_vcnt < bio->bi_max_vecs) {
			size_t part = min(bytes, PAGE_SIZE);

			__bio_add_page(bio, ZERO_PAGE(0), part, 0);
			bytes -= part;
		}
		sector += bio_sectors(bio);
		submit_bio(bio);
	}
}

static blk_opf_t range_opf(const struct vhost_blk_request *req, u32 flags)
{
	switch (req->type) {
	case VIRTIO_BLK_T_DISCARD:
		return REQ_OP_DISCARD;
	case VIRTIO_BLK_T_SECURE_ERASE:
		return REQ_OP_SECURE_ERASE;
	default:
		return REQ_OP_WRITE_ZEROES |
		       (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? 0 : REQ_NOUNMAP);
	}
}

static void end_interrupted(struct bio *bio)
{
	complete(bio->bi_private);
}

/*
 * The queue stops in the middle of ranges: wait for what was submitted, and leave
 * the request in the ring. The device can do it all once more: the guest has not
 * been told that it is done.
 */
static enum vhost_blk_verdict interrupt(struct vhost_blk_request *req)
{
	DECLARE_COMPLETION_ONSTACK(ended);

	req->bio.bi_private = &ended;
	req->bio.bi_end_io = end_interrupted;
	bio_endio(&req->bio);
	wait_for_completion_io(&ended);
	vhost_blk_unmap(req);
	return VHOST_BLK_RETRY;
}

static enum vhost_blk_verdict submit_ranges(struct vhost_blk_request *req)
{
	bool can_zero = bdev_write_zeroes_sectors(req->backend->bdev);
	unsigned int i;

	init_bio(req, &req->bio, NULL, 0, REQ_OP_WRITE);
	req->nr_bios = 1;
	/* REQ_FUA is for writes alone. */
	req->needs_flush = !READ_ONCE(req->q->vdev->is_writeback);
	for (i = 0; i < req->nr_ranges; i++) {
		const struct virtio_blk_discard_write_zeroes *range = &req->ranges[i];
		blk_opf_t opf = range_opf(req, le32_to_cpu(range->flags));
		sector_t sector = le64_to_cpu(range->sector);
		sector_t nr_sectors = le32_to_cpu(range->num_sectors);

		if (req->type == VIRTIO_BLK_T_WRITE_ZEROES && !can_zero)
			submit_zeroes(req, sector, nr_sectors);
		else
			submit_range(req, opf, sector, nr_sectors);
		/* Some devices make the submitter wait until they are nearly done. */
		if (vhost_blk_must_stop(req->q))
			return interrupt(req);
	}
	/* Ends when all that were chained to it have ended. */
	bio_endio(&req->bio);
	return VHOST_BLK_SUBMIT;
}

/**
 * vhost_blk_submit - start the I/O of a prepared request
 * @req: do not touch it afterwards, if it was submitted: it may have completed
 *
 * Context: vhost worker; may sleep until the device takes it.
 * Return: VHOST_BLK_SUBMIT, or VHOST_BLK_RETRY for ranges of a queue that stops.
 */
enum vhost_blk_verdict vhost_blk_submit(struct vhost_blk_request *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		submit_bios(req);
		return VHOST_BLK_SUBMIT;
	case VIRTIO_BLK_T_FLUSH:
		vhost_blk_submit_flush(req);
		return VHOST_BLK_SUBMIT;
	default:
		return submit_ranges(req);
	}
}
