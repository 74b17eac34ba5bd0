// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sectors of 512 bytes on a layer of larger blocks.
 *
 * What does not consist of whole blocks, in memory as the layer wants it, goes through a
 * buffer in the slow pool; a write reads the blocks that it takes parts of, and writes
 * them back. What it writes back beside its own sectors must not be older than what
 * the guest has written there meanwhile. So every write is in a list, from before it is
 * looked up until it has ended, and
 *
 *	of two writes that share a block, one of which takes a part of a block, the
 *	one that came later starts when the other has ended.
 *
 * A write that waits does so in its list only: in no thread, and in no read section.
 * It waits for older writes, so there is an order and no circle. Writes of whole
 * blocks do not wait for each other. Reads are in no list: of a block that is written
 * back, a sector is the same before and after, or it is the one that is being written.
 *
 * Blocks are the guest's. Clusters are no smaller, so that a block of the guest is one
 * of the host wherever its cluster is moved to.
 */
#include <linux/slab.h>
#include <linux/sizes.h>

#include "blocks.h"
#include "map.h"
#include "request.h"

/* No bio is in two regions: device-mapper splits them. */
#define REGION_SECTORS	(SZ_1M >> SECTOR_SHIFT)
#define NR_REGIONS	64

/* As much as the allocator has without compaction, as a rule. */
#define BUFFER_BYTES	SZ_32K

/**
 * struct qcow2_block_region - writes to every NR_REGIONS-th piece of the image
 * @lock: protects the rest; taken in interrupts; outside of that of the slow pool
 * @writes: struct qcow2_block_write, the oldest first
 * @nr_partial: how many of them are partial
 */
struct qcow2_block_region {
	spinlock_t lock;
	struct list_head writes;
	unsigned int nr_partial;
} ____cacheline_aligned_in_smp;

static struct qcow2_block_region *find_region(const struct qcow2_dev *dev, const struct bio *bio)
{
	return &dev->regions[(bio->bi_iter.bi_sector / REGION_SECTORS) % NR_REGIONS];
}

static u32 block_mask(const struct qcow2_file *file)
{
	return file->io_align - 1;
}

/* Guest and host offsets are alike within a cluster, and so within a block. */
static bool is_partial(const struct qcow2_file *file, const struct bvec_iter *iter)
{
	return ((iter->bi_sector << SECTOR_SHIFT) | iter->bi_size) & block_mask(file);
}

/*
 * A file system wants each vector to be whole blocks. To a device a buffer may be
 * shifted, if it goes on from the end of a page to the start of one; it could not
 * be split anywhere else.
 */
bool qcow2_blocks_fit(const struct qcow2_file *file, const struct bio *bio, struct bvec_iter iter)
{
	u32 mem_mask = file->mem_align - 1, in_block = 0;
	struct bvec_iter i;
	struct bio_vec bv;

	if (is_partial(file, &iter))
		return false;
	__bio_for_each_bvec(bv, bio, i, iter) {
		if (bv.bv_offset & mem_mask || (in_block && offset_in_page(bv.bv_offset)))
			return false;
		in_block = (in_block + bv.bv_len) & block_mask(file);
		if (in_block && (!file->bdev || offset_in_page(bv.bv_offset + bv.bv_len)))
			return false;
	}
	return true;
}

/* Who waits for whom */

static bool conflict(const struct qcow2_block_write *a, const struct qcow2_block_write *b)
{
	return a->first <= b->last && b->first <= a->last && (a->is_partial || b->is_partial);
}

static u32 count_blockers(const struct qcow2_block_region *r, const struct qcow2_block_write *w)
{
	const struct qcow2_block_write *older;
	u32 blockers = 0;

	if (likely(!r->nr_partial && !w->is_partial))
		return 0;
	list_for_each_entry(older, &r->writes, node)
		blockers += conflict(older, w);
	return blockers;
}

static void init_write(const struct qcow2_dev *dev, struct qcow2_block_write *w,
		       const struct bio *bio)
{
	const struct qcow2_file *file = qcow2_data_file(dev->img);
	unsigned int shift = ilog2(file->io_align) - SECTOR_SHIFT;

	w->region = find_region(dev, bio);
	w->first = bio->bi_iter.bi_sector >> shift;
	w->last = (bio_end_sector(bio) - 1) >> shift;
	w->is_partial = is_partial(file, &bio->bi_iter);
}

static bool enter(struct qcow2_dev *dev, struct qcow2_request *rq, struct bio *bio, bool has_begun)
{
	struct qcow2_block_write *w = &rq->block;
	struct qcow2_block_region *r;
	unsigned long flags;
	bool may_start;

	init_write(dev, w, bio);
	rq->run.entered = QCOW2_ENTERED_BLOCKS;
	r = w->region;
	spin_lock_irqsave(&r->lock, flags);
	w->blockers = count_blockers(r, w);
	may_start = !w->blockers;
	/* It starts as soon as the lock is dropped, if what it waits for has ended. */
	if (!may_start && !has_begun)
		qcow2_request_begin(dev, rq, bio);
	list_add_tail(&w->node, &r->writes);
	r->nr_partial += w->is_partial;
	spin_unlock_irqrestore(&r->lock, flags);
	return may_start;
}

bool qcow2_blocks_enter(struct qcow2_dev *dev, struct bio *bio)
{
	return enter(dev, dm_per_bio_data(bio, sizeof(struct qcow2_request)), bio, false);
}

bool qcow2_blocks_enter_begun(struct qcow2_dev *dev, struct qcow2_request *rq)
{
	return enter(dev, rq, rq->run.bio, true);
}

static void start_waiting(struct qcow2_dev *dev, struct qcow2_block_write *w)
{
	qcow2_slow_queue(dev, &container_of(w, struct qcow2_request, block)->work);
}

/* Every younger write that conflicts has counted this one. */
void qcow2_blocks_leave(struct qcow2_dev *dev, struct qcow2_request *rq)
{
	struct qcow2_block_write *w = &rq->block, *younger = w;
	struct qcow2_block_region *r = w->region;
	unsigned long flags;

	spin_lock_irqsave(&r->lock, flags);
	if (unlikely(r->nr_partial))
		list_for_each_entry_continue(younger, &r->writes, node)
			if (conflict(w, younger) && !--younger->blockers)
				start_waiting(dev, younger);
	r->nr_partial -= w->is_partial;
	list_del(&w->node);
	spin_unlock_irqrestore(&r->lock, flags);
}

/* I/O through a buffer */

/**
 * struct piece - what goes through the buffer at once
 * @vec: the blocks
 * @start: where in the buffer the guest's data begins
 * @end: where it ends
 */
struct piece {
	struct qcow2_iovec vec;
	u32 start;
	u32 end;
};

/* One block can always be had: who waits for it may be freeing memory. */
static void *alloc_buffer(const struct qcow2_file *file, u32 wanted, u32 *bytes)
{
	void *buf = NULL;

	*bytes = min_t(u32, roundup_pow_of_two(wanted), BUFFER_BYTES);
	if (*bytes > file->io_align)
		buf = kmalloc(*bytes, GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
	if (!buf) {
		*bytes = file->io_align;
		buf = kmalloc(*bytes, GFP_NOIO | __GFP_NOFAIL);
	}
	return buf;
}

/* Between the buffer and the guest's memory, which the iterator goes on in. */
static void copy_guest_data(struct bio *bio, struct bvec_iter *iter, const struct piece *p)
{
	void *data = p->vec.buf + p->start;
	struct bvec_iter i, part = *iter;
	struct bio_vec bv;

	part.bi_size = p->end - p->start;
	__bio_for_each_segment(bv, bio, i, part) {
		if (op_is_write(bio_op(bio)))
			memcpy_from_bvec(data, &bv);
		else
			memcpy_to_bvec(&bv, data);
		data += bv.bv_len;
	}
	bio_advance_iter(bio, iter, part.bi_size);
}

/* The block at either end of a piece, which may be the same one. */
static int read_ends(const struct qcow2_file *file, const struct piece *p)
{
	u32 block = file->io_align, last = p->vec.bytes - block;
	struct qcow2_iovec ends[2];
	unsigned int count = 0;

	if (p->start)
		ends[count++] = (struct qcow2_iovec) { p->vec.host_off, p->vec.buf, block };
	if (p->end < p->vec.bytes && !(count && !last))
		ends[count++] = (struct qcow2_iovec) {
			p->vec.host_off + last, p->vec.buf + last, block
		};
	return count ? qcow2_file_rw(file, REQ_OP_READ, ends, count) : 0;
}

/* Nobody has written to a block that was allocated for this write: it is ours alone. */
static void zero_ends(const struct piece *p)
{
	memset(p->vec.buf, 0, p->start);
	memset(p->vec.buf + p->end, 0, p->vec.bytes - p->end);
}

static int write_piece(const struct qcow2_file *file, struct bio *bio, struct bvec_iter *iter,
		       const struct piece *p, bool is_fresh)
{
	int err = 0;

	if (is_fresh)
		zero_ends(p);
	else
		err = read_ends(file, p);
	if (err)
		return err;
	copy_guest_data(bio, iter, p);
	return qcow2_file_rw(file, REQ_OP_WRITE, &p->vec, 1);
}

static int read_piece(const struct qcow2_file *file, struct bio *bio, struct bvec_iter *iter,
		      const struct piece *p)
{
	int err = qcow2_file_rw(file, REQ_OP_READ, &p->vec, 1);

	if (!err)
		copy_guest_data(bio, iter, p);
	return err;
}

int qcow2_blocks_rw(struct bio *bio, struct bvec_iter iter, const struct qcow2_mapping *m)
{
	const struct qcow2_file *file = &m->img->file;
	u32 mask = block_mask(file), start = m->host_off & mask, room;
	void *buf = alloc_buffer(file, start + m->bytes, &room);
	u64 host_off = m->host_off;
	struct piece p;
	int err = 0;

	while (iter.bi_size && !err) {
		p.start = host_off & mask;
		p.end = min(p.start + iter.bi_size, room);
		p.vec = (struct qcow2_iovec) {
			.host_off = host_off - p.start,
			.buf = buf,
			.bytes = round_up(p.end, file->io_align),
		};
		host_off += p.end - p.start;
		if (op_is_write(bio_op(bio)))
			err = write_piece(file, bio, &iter, &p, m->is_fresh);
		else
			err = read_piece(file, bio, &iter, &p);
	}
	kfree(buf);
	return err;
}

/* Life */

int qcow2_blocks_init(struct qcow2_dev *dev)
{
	struct qcow2_block_region *r;
	int err;

	if (!qcow2_file_has_blocks(qcow2_data_file(dev->img)))
		return 0;
	err = dm_set_target_max_io_len(dev->ti, REGION_SECTORS);
	if (err)
		return err;
	dev->regions = kcalloc(NR_REGIONS, sizeof(*dev->regions), GFP_KERNEL);
	if (!dev->regions)
		return -ENOMEM;
	for (r = dev->regions; r < dev->regions + NR_REGIONS; r++) {
		spin_lock_init(&r->lock);
		INIT_LIST_HEAD(&r->writes);
	}
	return 0;
}

void qcow2_blocks_exit(struct qcow2_dev *dev)
{
	kfree(dev->regions);
}
