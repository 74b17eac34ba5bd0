// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's pages, pinned, in a bio.
 *
 * bio_iov_iter_get_pages() is not for modules since 6.18. What it would do, and
 * this leaves out, is to look for pages of other devices: a guest's disk
 * requests are in its memory.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/uio.h>
#include "pin.h"

/* Pinned at once, their addresses on the stack: a block may have as many. */
#define BATCH_PAGES	((SZ_64K >> PAGE_SHIFT) + 1)
/* Enough for a bio, and far from what its size can hold. */
#define MAX_BYTES	SZ_1G

/*
 * Only whole pages join: one that was pinned twice, for two segments that share
 * it, has to be in two bio_vecs to be unpinned twice.
 */
static bool follows(const struct bio_vec *last, const struct page *page)
{
	unsigned int end = last->bv_offset + last->bv_len;

	return !offset_in_page(end) &&
	       last->bv_page + (end >> PAGE_SHIFT) == page &&
	       page_folio(last->bv_page) == page_folio(page);
}

static void add_page(struct bio *bio, struct page *page, unsigned int bytes,
		     unsigned int offset)
{
	struct bio_vec *last = bio->bi_io_vec + bio->bi_vcnt - 1;

	if (bio->bi_vcnt && !offset && follows(last, page)) {
		last->bv_len += bytes;
		bio->bi_iter.bi_size += bytes;
		return;
	}
	__bio_add_page(bio, page, bytes, offset);
}

static void add_batch(struct bio *bio, struct page **pages, size_t bytes,
		      size_t offset)
{
	while (bytes) {
		size_t part = min(bytes, PAGE_SIZE - offset);

		add_page(bio, *pages++, part, offset);
		bytes -= part;
		offset = 0;
	}
}

/* What is next of the segment and has room, in whole blocks. */
static size_t next_bytes(const struct bio *bio, const struct iov_iter *iter,
			 unsigned int nr_pages)
{
	size_t room = nr_pages * PAGE_SIZE - offset_in_page(iter_iov_addr(iter));

	return min(round_down(room, bdev_logical_block_size(bio->bi_bdev)),
		   iter_iov_len(iter));
}

/**
 * vhost_blk_pin_pages - add what fits of the guest's buffers to a bio
 * @bio: empty; bio_release_pages() unpins, after an error, too
 * @iter: segments that are a multiple of the device's block long; is advanced
 *
 * Some is left in @iter if there is no room for more of it in @bio, which then
 * ends with a block.
 *
 * Context: may fault in guest memory.
 * Return: 0 or an error, EFAULT if there is no room for one block.
 */
int vhost_blk_pin_pages(struct bio *bio, struct iov_iter *iter)
{
	struct page *batch[BATCH_PAGES], **pages = batch;

	bio_set_flag(bio, BIO_PAGE_PINNED);
	while (iov_iter_count(iter) && bio->bi_vcnt < bio->bi_max_vecs &&
	       bio->bi_iter.bi_size < MAX_BYTES) {
		unsigned int nr_pages = min(bio->bi_max_vecs - bio->bi_vcnt,
					    BATCH_PAGES);
		size_t wanted = next_bytes(bio, iter, nr_pages), offset;
		ssize_t bytes;

		if (!wanted)
			break;
		bytes = iov_iter_extract_pages(iter, &pages, wanted, nr_pages, 0,
					       &offset);
		if (bytes < 0)
			return bytes;
		add_batch(bio, pages, bytes, offset);
		if (bytes != wanted)
			return -EFAULT;
	}
	return bio->bi_iter.bi_size ? 0 : -EFAULT;
}
