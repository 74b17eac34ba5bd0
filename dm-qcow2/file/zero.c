// SPDX-License-Identifier: GPL-2.0-only
/*
 * Space of an image that reads as zero.
 *
 * Best is what the file system zeroes without writing it. Of those that cannot, some
 * allocate space (tmpfs, NFS 4.2); for ext2, ext3 and the older versions of NFS
 * zeroes are written, as a block device without a command for it has them written.
 * None of it is durable before a barrier.
 */
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/device-mapper.h>
#include <linux/falloc.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "lease/lease.h"

#include "file.h"

#define ZERO_PAGES	256U

/* One direct write, which may be asynchronous whatever it is asked for. */
struct zero_write {
	struct kiocb iocb;
	struct completion done;
	ssize_t ret;
};

static void zero_write_complete(struct kiocb *iocb, long ret)
{
	struct zero_write *z = container_of(iocb, struct zero_write, iocb);

	kiocb_end_write(iocb);
	z->ret = ret;
	complete(&z->done);
}

/* Return: how much was written, or a negative errno. */
static ssize_t write_some(const struct qcow2_file *f, const struct bio_vec *pages,
			  u64 host_off, u32 bytes)
{
	struct zero_write z = {
		.iocb = {
			.ki_filp = f->filp,
			.ki_pos = host_off,
			.ki_flags = IOCB_DIRECT | IOCB_WRITE,
			.ki_complete = zero_write_complete,
		},
		.done = COMPLETION_INITIALIZER_ONSTACK(z.done),
	};
	struct qcow2_lease_caller caller;
	struct iov_iter iter;
	ssize_t ret;

	ret = qcow2_lease_begin_write(f->lease, &caller, host_off, bytes, true);
	if (ret)
		return ret;
	iov_iter_bvec(&iter, ITER_SOURCE, pages, DIV_ROUND_UP(bytes, PAGE_SIZE), bytes);
	kiocb_start_write(&z.iocb);
	ret = f->filp->f_op->write_iter(&z.iocb, &iter);
	qcow2_lease_end_write(f->lease, &caller);
	if (ret != -EIOCBQUEUED)
		zero_write_complete(&z.iocb, ret);
	wait_for_completion(&z.done);
	return z.ret ?: -EIO;
}

/* A short write is gone on with: the next one says what is the matter. */
static int write_zeroes(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	struct bio_vec *pages;
	ssize_t ret = 0;

	pages = kmalloc_array(ZERO_PAGES, sizeof(*pages), GFP_NOIO);
	if (!pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < ZERO_PAGES; i++)
		bvec_set_page(&pages[i], ZERO_PAGE(0), PAGE_SIZE, 0);
	for (u64 done = 0; done < bytes; done += ret) {
		ret = write_some(f, pages, host_off + done,
				 min_t(u64, bytes - done, ZERO_PAGES * PAGE_SIZE));
		if (ret < 0)
			break;
		ret = round_down(ret, f->io_align);
		if (!ret) {
			ret = -ENOSPC;
			break;
		}
	}
	kfree(pages);
	return ret < 0 ? ret : 0;
}

/* A range of a file that gets other blocks, or none. */
static int change_blocks(const struct qcow2_file *f, int mode, u64 host_off, u64 bytes)
{
	struct qcow2_lease_caller caller;
	int err;

	qcow2_lease_begin_change(f->lease, &caller, host_off, bytes);
	err = vfs_fallocate(f->filp, mode, host_off, bytes);
	if (!err && mode == FALLOC_FL_ZERO_RANGE)
		qcow2_lease_expect(f->lease, host_off, bytes);
	qcow2_lease_end_change(f->lease, &caller);
	return err;
}

static int punch_hole(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	return change_blocks(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, host_off, bytes);
}

/* A hole alone is no space, and space alone keeps what was there. */
static int zero_by_blocks(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	int err = change_blocks(f, FALLOC_FL_ZERO_RANGE, host_off, bytes);

	if (err != -EOPNOTSUPP)
		return err;
	err = change_blocks(f, 0, host_off, bytes);
	if (!err)
		err = punch_hole(f, host_off, bytes) ?: change_blocks(f, 0, host_off, bytes);
	return err;
}

static int zero_file(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	int err = zero_by_blocks(f, host_off, bytes);

	return err == -EOPNOTSUPP ? write_zeroes(f, host_off, bytes) : err;
}

int qcow2_file_zero(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	if (f->bdev)
		return blkdev_issue_zeroout(f->bdev, host_off >> SECTOR_SHIFT,
					    bytes >> SECTOR_SHIFT, GFP_NOIO,
					    BLKDEV_ZERO_NOUNMAP);
	return zero_file(f, host_off, bytes);
}

static int clear_file(const struct qcow2_file *f, u64 host_off, u64 bytes, bool gives_back,
		      bool may_write)
{
	int err = gives_back ? punch_hole(f, host_off, bytes) : -EOPNOTSUPP;

	if (err == -EOPNOTSUPP)
		err = zero_by_blocks(f, host_off, bytes);
	if (err == -ENOSPC || err == -EDQUOT)
		err = punch_hole(f, host_off, bytes);
	return err == -EOPNOTSUPP && may_write ? write_zeroes(f, host_off, bytes) : err;
}

int qcow2_file_clear(const struct qcow2_file *f, u64 host_off, u64 bytes, bool gives_back,
		     bool may_write)
{
	unsigned int flags = (gives_back ? 0 : BLKDEV_ZERO_NOUNMAP) |
			     (may_write ? 0 : BLKDEV_ZERO_NOFALLBACK);

	if (f->bdev)
		return blkdev_issue_zeroout(f->bdev, host_off >> SECTOR_SHIFT,
					    bytes >> SECTOR_SHIFT, GFP_NOIO, flags);
	return clear_file(f, host_off, bytes, gives_back, may_write);
}

/* Parts of blocks are zeroed in the page cache, which direct I/O should not have to look at. */
u32 qcow2_file_hole_align(const struct qcow2_file *f)
{
	return f->bdev ? f->io_align : max_t(u32, f->io_align, i_blocksize(file_inode(f->filp)));
}

int qcow2_file_extend(const struct qcow2_file *f, u64 bytes)
{
	u64 from = qcow2_file_bytes(f);
	int err;

	if (f->bdev || from >= bytes)
		return 0;
	err = vfs_fallocate(f->filp, 0, from, bytes - from);
	if (err != -EOPNOTSUPP)
		return err;
	/* The file system zeroes the rest of the last block, which direct I/O cannot. */
	err = qcow2_file_truncate(f, bytes);
	from = round_up(from, f->io_align);
	return err ?: write_zeroes(f, from, bytes - from);
}

void qcow2_file_discard(const struct qcow2_file *f, u64 host_off, u64 bytes)
{
	u64 end = qcow2_file_bytes(f);

	/* A device may end in its last cluster. */
	if (host_off >= end)
		return;
	bytes = min(bytes, end - host_off);
	if (!bytes)
		return;
	if (f->bdev)
		blkdev_issue_discard(f->bdev, host_off >> SECTOR_SHIFT, bytes >> SECTOR_SHIFT,
				     GFP_NOIO);
	else
		punch_hole(f, host_off, bytes);
}
