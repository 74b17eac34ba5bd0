/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A mapped device on an image, and the ways of its bios.
 *
 *            .map (any context, never sleeps)
 *             | hit                        | miss, no space, FUA, copy
 *             v                            v
 *   block device: remapped          slow.c: a pool of threads
 *   file: remapped when leased,       load, allocate, copy, split
 *     run.c, per-CPU threads
 *             |                            |
 *             +-------- data I/O ----------+
 *                             (blocks.c: of parts of the file's blocks)
 *
 *   meta/commit.c   one thread an image: L1 and L2 pages, FLUSH, FUA
 *   meta/full.c     a host without space; park.c: waiting for it, or for a thaw
 *   space/space.c   one thread an image: prepares free clusters (refill.c), frees
 *                   dropped ones (drop.c); the only user of refcounts (refcount.c)
 */
#ifndef DM_QCOW2_DEV_H
#define DM_QCOW2_DEV_H

#include <linux/bio.h>

#include "cow/cow.h"
#include "cow/fill.h"
#include "cow/instant.h"
#include "format/table.h"
#include "image/base.h"
#include "meta/meta.h"
#include "space/space.h"

#include "pace.h"
#include "park.h"
#include "slow.h"

struct dm_target;
struct qcow2_block_region;

/**
 * struct qcow2_clearing - zeroes that are made in a raw data file
 * @blocks: held by who writes a part of a block; for writing by who clears some
 * @lock: protects the rest
 * @is_busy: somebody does: one at a time, as it may take long, and others need the slow pool
 * @waiting: struct qcow2_work that wait for their turn
 */
struct qcow2_clearing {
	struct rw_semaphore blocks;
	spinlock_t lock;
	bool is_busy;
	struct list_head waiting;
};

/**
 * struct qcow2_dev - a target of a table
 * @ti: the target
 * @img: the image
 * @bases: the images below it
 * @regions: of blocks.c; NULL if the blocks of the file that has the data are sectors
 * @slow: threads for what the hot path cannot do
 * @park: writes that wait for the host
 * @pace: of discards and write-zeroes
 * @clearing: of the blocks of a raw data file
 * @bios: pieces of requests that the slow pool splits
 * @commit: of the image
 * @space: of the image
 * @full: of the image
 * @fills: of the image
 * @cache_mb: of the table line
 * @no_layouts: of the table line
 * @discard: of the table line, or what suits the image
 * @is_hurried: RCU is, too, between presuspend and postsuspend, or the undoing of the former
 * @image: what @img points at
 */
struct qcow2_dev {
	struct dm_target *ti;
	struct qcow2_image *img;
	struct qcow2_bases bases;
	struct qcow2_block_region *regions;

	struct qcow2_slow_pool slow ____cacheline_aligned_in_smp;
	struct qcow2_park park;
	struct qcow2_pace pace;
	struct qcow2_clearing clearing;
	struct bio_set bios;
	struct qcow2_commit commit;
	struct qcow2_space space;
	struct qcow2_full full;
	struct qcow2_fills fills;
	u32 cache_mb;
	bool no_layouts;
	enum qcow2_discard discard;
	bool is_hurried;
	struct qcow2_image image ____cacheline_aligned_in_smp;
};

/* The target whose top an image is. */
static inline struct qcow2_dev *qcow2_dev_of(struct qcow2_image *img)
{
	return container_of(img, struct qcow2_dev, image);
}

/**
 * qcow2_dev_alloc - a device that has no image yet
 * @ti: the target
 * @table: its table line
 *
 * Return: what kfree() frees, or NULL.
 */
struct qcow2_dev *qcow2_dev_alloc(struct dm_target *ti, const struct qcow2_table *table);

/**
 * qcow2_dev_init - get ready to be activated
 * @dev: the device; its image is open, and the geometry known
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check qcow2_dev_init(struct qcow2_dev *dev);

/**
 * qcow2_dev_exit - undo qcow2_dev_init()
 * @dev: a device that is not active
 */
void qcow2_dev_exit(struct qcow2_dev *dev);

/**
 * qcow2_dev_drain - wait until no request is under way
 * @dev: an active device; dm submits no more
 *
 * Usually dm has waited for all bios, but not when the device is destroyed:
 * wait for our own work, but not for space: there is no file system any more to give it to.
 * Bios that wait for a commit complete with the last one. No fill is left.
 */
void qcow2_dev_drain(struct qcow2_dev *dev);

#endif /* DM_QCOW2_DEV_H */
