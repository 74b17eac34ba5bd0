/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sectors of 512 bytes on a layer of larger blocks: a disk of 4 KiB sectors, or a file
 * whose file system aligns direct I/O to more than a sector.
 */
#ifndef DM_QCOW2_BLOCKS_H
#define DM_QCOW2_BLOCKS_H

#include <linux/bio.h>
#include <linux/list.h>
#include <linux/types.h>

#include "dev.h"
#include "map.h"

struct qcow2_request;

/**
 * struct qcow2_block_write - a write to a layer of blocks, from .map to its end
 * @region: the region of the image that it is in
 * @node: among the writes of the region, the oldest first
 * @first: number of its first block
 * @last: number of its last block
 * @blockers: how many older writes it waits for
 * @is_partial: it reads a block of which it writes a part
 *
 * @node and @blockers are protected by the lock of the region; the rest is constant.
 */
struct qcow2_block_write {
	struct qcow2_block_region *region;
	struct list_head node;
	u64 first;
	u64 last;
	u32 blockers;
	bool is_partial;
};

int __must_check qcow2_blocks_init(struct qcow2_dev *dev);
void qcow2_blocks_exit(struct qcow2_dev *dev);

/**
 * qcow2_has_blocks - are the blocks of what has the top's data larger than a sector?
 * @dev: the mapped device
 *
 * If not, all requests fit, and no write is entered.
 */
static inline bool qcow2_has_blocks(const struct qcow2_dev *dev)
{
	return dev->regions;
}

/**
 * qcow2_blocks_fit - can a file of blocks take I/O as it is?
 * @file: of any image of the chain
 * @bio: of the mapped device
 * @iter: what of it
 *
 * Any context. Return: whether it is whole blocks, in memory that the file can reach.
 */
bool qcow2_blocks_fit(const struct qcow2_file *file, const struct bio *bio, struct bvec_iter iter);

/**
 * qcow2_run_fits - can the file that a run lies on take it as it is?
 * @m: the run: of any image of the chain, or in a fill
 * @bio: of the mapped device
 * @iter: where the run begins in it
 *
 * Any context.
 */
static inline bool qcow2_run_fits(const struct qcow2_mapping *m, const struct bio *bio,
				  struct bvec_iter iter)
{
	if (!qcow2_file_has_blocks(&m->img->file))
		return true;
	iter.bi_size = m->bytes;
	return qcow2_blocks_fit(&m->img->file, bio, iter);
}

/**
 * qcow2_blocks_enter - a write begins
 * @dev: an image that qcow2_has_blocks()
 * @bio: the write, of one region; not looked up yet
 *
 * From here on, until qcow2_blocks_leave(), a write of which a part of a block is
 * read, and any other write to that block, are not under way together.
 *
 * Any context. Return: false when it has to wait; it is the slow pool's then, and goes
 * there when nothing is in its way.
 */
bool qcow2_blocks_enter(struct qcow2_dev *dev, struct bio *bio);

/**
 * qcow2_blocks_enter_begun - the same for a write that is the slow pool's already
 * @dev: an image that qcow2_has_blocks()
 * @rq: the write, of one region; qcow2_request_begin() has been called for it
 *
 * Any context. Return: false when it has to wait, and is queued later.
 */
bool qcow2_blocks_enter_begun(struct qcow2_dev *dev, struct qcow2_request *rq);

/**
 * qcow2_blocks_leave - a write has ended
 * @dev: the image
 * @rq: the write
 *
 * Any context.
 */
void qcow2_blocks_leave(struct qcow2_dev *dev, struct qcow2_request *rq);

/**
 * qcow2_blocks_rw - do I/O that does not fit, and wait for it
 * @bio: a read, or a write that has entered and waits for nothing
 * @iter: what of it; as long as @m
 * @m: where it is; in a read section of qcow2_image.inflight
 *
 * Slow pool. Return: 0 or a negative errno of the file.
 */
int __must_check qcow2_blocks_rw(struct bio *bio, struct bvec_iter iter,
				 const struct qcow2_mapping *m);

#endif /* DM_QCOW2_BLOCKS_H */
