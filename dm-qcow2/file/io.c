// SPDX-License-Identifier: GPL-2.0-only
/*
 * Synchronous I/O on a layer: metadata, barriers.
 *
 * Everything here may sleep and is called from our own threads, or from a
 * suspend or resume; callers that a write-back could recurse into run under
 * memalloc_noio_save().
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/device-mapper.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "lease/lease.h"

#include "file.h"
#include "test-skip.h"

/* Through a file system; from f->pieces, as is the next. */
struct piece {
	mempool_t *pool;
	struct kiocb iocb;
	struct bio_vec bvec;
	struct qcow2_batch *batch;
	refcount_t refs;
	bool may_be_cut;
};

/* Past it */
struct leased {
	mempool_t *pool;
	struct bio bio;
	struct bio_vec bvec;
	struct qcow2_lease *lease;
	struct qcow2_lease_io io;
	struct qcow2_batch *batch;
};

/*
 * Metadata is written when there is no memory, too: to give up fails the image. Each piece that is
 * under way comes back without another one, so to wait for one is safe.
 */
#define MIN_PIECES	4

int qcow2_file_io_init(struct qcow2_file *f)
{
	f->pieces = mempool_create_kmalloc_pool(MIN_PIECES, max(sizeof(struct piece),
								sizeof(struct leased)));
	return f->pieces ? 0 : -ENOMEM;
}

void qcow2_file_io_exit(struct qcow2_file *f)
{
	mempool_destroy(f->pieces);
}

static void batch_put(struct qcow2_batch *b, int err)
{
	if (err)
		cmpxchg(&b->err, 0, err);
	if (atomic_dec_and_test(&b->pending))
		complete(&b->done);
}

static void piece_put(struct piece *p)
{
	if (refcount_dec_and_test(&p->refs))
		mempool_free(p, p->pool);
}

/* Direct I/O may complete in an interrupt, and before read_iter returns. */
static void piece_complete(struct kiocb *iocb, long ret)
{
	struct piece *p = container_of(iocb, struct piece, iocb);
	bool is_write = iocb->ki_flags & IOCB_WRITE;
	struct qcow2_batch *b = p->batch;
	int err = ret < 0 ? ret : 0;

	if (is_write)
		kiocb_end_write(iocb);
	if (!err && ret < p->bvec.bv_len) {
		if (is_write || !p->may_be_cut)
			err = -EIO;
		else if (!qcow2_test_skips(QCOW2_STEP_CUT))
			memset(bvec_virt(&p->bvec) + ret, 0, p->bvec.bv_len - ret);
	}
	/* The layer may go with the batch. */
	piece_put(p);
	batch_put(b, err);
}

static struct piece *alloc_piece(const struct qcow2_file *f, bool is_write,
				 const struct qcow2_iovec *v, struct qcow2_batch *b)
{
	struct piece *p = mempool_alloc(f->pieces, GFP_NOIO);

	*p = (struct piece) {
		.pool = f->pieces,
		.batch = b,
		.may_be_cut = !f->is_data,
	};
	refcount_set(&p->refs, 2);
	bvec_set_virt(&p->bvec, v->buf, v->bytes);
	p->iocb.ki_filp = f->filp;
	p->iocb.ki_pos = v->host_off;
	p->iocb.ki_flags = IOCB_DIRECT | (is_write ? IOCB_WRITE : 0);
	p->iocb.ki_complete = piece_complete;
	return p;
}

static int read_piece(const struct qcow2_file *f, struct piece *p, ssize_t *ret)
{
	struct iov_iter to;
	int err = qcow2_lease_settle(f->lease, p->iocb.ki_pos, p->bvec.bv_len, true);

	if (err)
		return err;
	iov_iter_bvec(&to, ITER_DEST, &p->bvec, 1, p->bvec.bv_len);
	*ret = f->filp->f_op->read_iter(&p->iocb, &to);
	return 0;
}

static int write_piece(const struct qcow2_file *f, struct piece *p, ssize_t *ret)
{
	struct qcow2_lease_caller caller;
	struct iov_iter from;
	int err = qcow2_lease_begin_write(f->lease, &caller, p->iocb.ki_pos, p->bvec.bv_len,
					  true);

	if (err)
		return err;
	iov_iter_bvec(&from, ITER_SOURCE, &p->bvec, 1, p->bvec.bv_len);
	kiocb_start_write(&p->iocb);
	*ret = f->filp->f_op->write_iter(&p->iocb, &from);
	qcow2_lease_end_write(f->lease, &caller);
	return 0;
}

static int submit_file(const struct qcow2_file *f, enum req_op op,
		       const struct qcow2_iovec *v, struct qcow2_batch *b)
{
	bool is_write = op == REQ_OP_WRITE;
	struct piece *p = alloc_piece(f, is_write, v, b);
	ssize_t ret;
	int err;

	err = is_write ? write_piece(f, p, &ret) : read_piece(f, p, &ret);
	if (err) {
		mempool_free(p, p->pool);
		return err;
	}
	if (ret != -EIOCBQUEUED)
		piece_complete(&p->iocb, ret);
	piece_put(p);
	return 0;
}

static void free_leased(struct leased *p)
{
	bio_uninit(&p->bio);
	mempool_free(p, p->pool);
}

static void leased_endio(struct bio *bio)
{
	struct leased *p = container_of(bio, struct leased, bio);
	int err = blk_status_to_errno(bio->bi_status);
	struct qcow2_batch *b = p->batch;

	qcow2_lease_leave(p->lease, bio, &p->io);
	free_leased(p);
	batch_put(b, err);
}

static bool submit_leased(const struct qcow2_file *f, enum req_op op,
			  const struct qcow2_iovec *v, struct qcow2_batch *b)
{
	struct leased *p;

	if (qcow2_lease_extents(f->lease) < 0)
		return false;
	p = mempool_alloc(f->pieces, GFP_NOIO);
	*p = (struct leased) { .pool = f->pieces, .lease = f->lease, .batch = b };
	bio_init(&p->bio, NULL, &p->bvec, 1, op | REQ_META | REQ_SYNC);
	p->bio.bi_end_io = leased_endio;
	__bio_add_page(&p->bio, virt_to_page(v->buf), v->bytes, offset_in_page(v->buf));
	if (!qcow2_lease_map_all(f->lease, &p->bio, v->host_off, v->bytes, &p->io)) {
		free_leased(p);
		return false;
	}
	submit_bio(&p->bio);
	return true;
}

static void bdev_endio(struct bio *bio)
{
	batch_put(bio->bi_private, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
}

static int submit_bdev(const struct qcow2_file *f, enum req_op op,
		       const struct qcow2_iovec *v, struct qcow2_batch *b)
{
	struct bio *bio;

	bio = bio_alloc(f->bdev, 1, op | REQ_META | REQ_SYNC, GFP_NOIO);
	bio->bi_iter.bi_sector = v->host_off >> SECTOR_SHIFT;
	bio->bi_private = b;
	bio->bi_end_io = bdev_endio;
	__bio_add_page(bio, virt_to_page(v->buf), v->bytes, offset_in_page(v->buf));
	submit_bio(bio);
	return 0;
}

void qcow2_batch_begin(struct qcow2_batch *b)
{
	atomic_set(&b->pending, 1);
	b->err = 0;
	init_completion(&b->done);
	blk_start_plug(&b->plug);
}

void qcow2_batch_add(struct qcow2_batch *b, const struct qcow2_file *f, enum req_op op,
		     const struct qcow2_iovec *vec)
{
	int err = 0;

	atomic_inc(&b->pending);
	if (f->bdev)
		err = submit_bdev(f, op, vec, b);
	else if (!submit_leased(f, op, vec, b))
		err = submit_file(f, op, vec, b);
	if (err)
		batch_put(b, err);
}

int qcow2_batch_end(struct qcow2_batch *b)
{
	blk_finish_plug(&b->plug);
	batch_put(b, 0);
	wait_for_completion(&b->done);
	return b->err;
}

int qcow2_file_rw(const struct qcow2_file *f, enum req_op op,
		  const struct qcow2_iovec *vec, unsigned int count)
{
	struct qcow2_batch b;

	qcow2_batch_begin(&b);
	for (unsigned int i = 0; i < count; i++)
		qcow2_batch_add(&b, f, op, &vec[i]);
	return qcow2_batch_end(&b);
}

#define BOUNCE_BYTES	(32U << 10)

/* A part of a block, or memory that direct I/O does not take. */
static int read_bounced(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes)
{
	/* A device may end between two places that memory would have to be aligned to. */
	u32 align = f->bdev ? f->io_align : qcow2_file_align(f);
	u32 skip = host_off & (align - 1), part;
	u32 room = min(round_up(skip + bytes, align), max(BOUNCE_BYTES, align));
	void *bounce = kmalloc(max(roundup_pow_of_two(room), qcow2_file_align(f)), GFP_NOIO);
	struct qcow2_iovec vec;
	int err = 0;

	if (!bounce)
		return -ENOMEM;
	for (; bytes && !err; bytes -= part, buf += part, host_off += part, skip = 0) {
		part = min(bytes, room - skip);
		vec = (struct qcow2_iovec) {
			host_off - skip, bounce, round_up(skip + part, f->io_align)
		};
		err = qcow2_file_rw(f, REQ_OP_READ, &vec, 1);
		if (!err)
			memcpy(buf, bounce + skip, part);
	}
	kfree(bounce);
	return err;
}

void qcow2_batch_read(struct qcow2_batch *b, const struct qcow2_file *f,
		      const struct qcow2_iovec *vec)
{
	if (qcow2_lease_extents(f->lease) < 0)
		qcow2_lease_ask(f->lease, vec->host_off);
	if (IS_ALIGNED(vec->host_off | vec->bytes | (unsigned long)vec->buf, qcow2_file_align(f)) &&
	    !is_vmalloc_addr(vec->buf)) {
		qcow2_batch_add(b, f, REQ_OP_READ, vec);
		return;
	}
	atomic_inc(&b->pending);
	batch_put(b, read_bounced(f, vec->host_off, vec->buf, vec->bytes));
}

int qcow2_file_read(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes)
{
	struct qcow2_batch b;

	qcow2_batch_begin(&b);
	qcow2_batch_read(&b, f, &(struct qcow2_iovec) { host_off, buf, bytes });
	return qcow2_batch_end(&b);
}

u64 qcow2_file_bytes(const struct qcow2_file *f)
{
	return f->bdev ? bdev_nr_bytes(f->bdev) : i_size_read(file_inode(f->filp));
}

int qcow2_file_invalidate(const struct qcow2_file *f)
{
	int err;

	if (!f->bdev)
		return 0;
	err = sync_blockdev(f->bdev);
	invalidate_bdev(f->bdev);
	return err;
}

/*
 * A file system zeroes parts of blocks in the page cache. DIRTY comes first: a page that goes from
 * one to the other has both in between. One that could not be written has neither, and has
 * left an error.
 */
static bool has_unsynced_pages(struct file *file)
{
	struct address_space *mapping = file->f_mapping;

	return mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) ||
	       mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK) ||
	       filemap_check_wb_err(mapping, READ_ONCE(file->f_wb_err));
}

int qcow2_file_sync(const struct qcow2_file *f)
{
	bool has_pages, is_durable;
	int err;

	if (f->bdev)
		return blkdev_issue_flush(f->bdev);
	/* Before: a page that is written after the journal's flush is not durable by that. */
	has_pages = has_unsynced_pages(f->filp);
	err = qcow2_lease_commit(f->lease, &is_durable);
	if (err || (is_durable && !has_pages))
		return err;
	qcow2_lease_touch(f->lease);
	return vfs_fsync_range(f->filp, 0, LLONG_MAX, 1);
}

int qcow2_file_truncate(const struct qcow2_file *f, u64 bytes)
{
	const struct cred *creds;
	int err;

	if (f->bdev)
		return 0;
	/* Whoever opened the file may do it, not whoever suspends the device. */
	creds = override_creds(f->filp->f_cred);
	err = vfs_truncate(&f->filp->f_path, bytes);
	revert_creds(creds);
	return err;
}
