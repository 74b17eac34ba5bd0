/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fill, for those who work on it.
 */
#ifndef DM_QCOW2_FILL_INTERNAL_H
#define DM_QCOW2_FILL_INTERNAL_H

#include <linux/bitmap.h>

#include "fill.h"

/**
 * struct qcow2_fill - a cluster that no entry points at yet; or whose entry hides parts of it
 * @cluster: the guest cluster
 * @host_off: the host cluster; taken by qcow2_space_take(), or the one that is kept for it, or the
 *	only one that a data file has for it
 * @is_in_place: one of the latter: it stays the guest cluster's
 * @is_pulled: it is to be whole even if nobody writes to it
 * @may_be_late: older writes to it may be under way
 * @kept: then, cookie of the grace period behind which none is
 * @old: the entry
 * @touched: of an extended entry: subclusters that the guest has written to, or that are pulled
 * @whole: those of them that it has written all of
 * @drops: to let go of what it points at
 * @page: the L2 page of its entry, with a reference
 * @number: counts up
 * @hash: in qcow2_fills.by_cluster
 * @node: in qcow2_fills.open, or with whoever closed it
 * @is_closed: no write begins any more
 * @nr_writes: writes under way
 * @err: why it could not be copied; of whoever closed it
 * @waiting: struct qcow2_work that wait for it to be published
 * @valid: a bit a sector
 */
struct qcow2_fill {
	u64 cluster;
	u64 host_off;
	bool is_in_place;
	bool is_pulled;
	bool may_be_late;
	unsigned long kept;
	struct qcow2_l2_entry old;
	u32 touched;
	u32 whole;
	struct qcow2_drops drops;
	struct qcow2_mpage *page;
	u64 number;
	struct hlist_node hash;
	struct list_head node;
	bool is_closed;
	unsigned int nr_writes;
	int err;
	struct list_head waiting;
	unsigned long valid[];
};

/* As many as are copied together. */
#define QCOW2_FEW_FILLS		QCOW2_COPY_PIECES

/* Whether one more may begin. */
static inline bool qcow2_fills_have_room(const struct qcow2_fills *fs)
{
	lockdep_assert_held(&fs->lock);
	if (fs->count >= fs->limit)
		return false;
	return likely(!fs->nr_few) || fs->count < QCOW2_FEW_FILLS || fs->admitted;
}

/* A data file need not have what is behind the end of the disk. */
static inline unsigned int qcow2_fill_sectors(const struct qcow2_image *img,
					      const struct qcow2_fill *f)
{
	u64 bytes = qcow2_cluster_bytes(&img->geo);

	if (img->geo.has_data_file)
		bytes = min(bytes, img->geo.size - (f->cluster << img->geo.cluster_bits));
	return bytes >> SECTOR_SHIFT;
}

static inline unsigned int qcow2_subcluster_sectors(const struct qcow2_image *img)
{
	return qcow2_unit_bytes(&img->geo) >> SECTOR_SHIFT;
}

/**
 * qcow2_fill_wanted - the subclusters that the new entry will say are data, because of a fill
 * @img: the image, which has subclusters
 * @f: the fill; closed, or with the lock
 *
 * There is one host offset: if it is another one than before, all data comes along.
 */
static inline u32 qcow2_fill_wanted(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	if (f->is_in_place)
		return f->touched;
	if (f->old.word & QCOW2_OFLAG_COMPRESSED)
		return U32_MAX;
	return f->touched | qcow2_l2_allocated(f->old);
}

/**
 * qcow2_fill_is_unwritten - whether it has nothing that somebody has written
 * @img: the image
 * @f: the fill; closed, or with the lock
 */
static inline bool qcow2_fill_is_unwritten(const struct qcow2_image *img,
					   const struct qcow2_fill *f)
{
	return bitmap_empty(f->valid, qcow2_fill_sectors(img, f));
}

static inline u32 qcow2_fill_slot(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	return qcow2_l2_slot(&img->geo, f->cluster << img->geo.cluster_bits);
}

/* An entry that is being changed is another one: who waits for that must not hold the lock. */
static inline bool qcow2_fill_is_old(const struct qcow2_image *img, const struct qcow2_fill *f)
{
	struct qcow2_l2_entry now;

	return qcow2_mpage_l2_entry(&img->geo, f->page, qcow2_fill_slot(img, f), &now) &&
	       qcow2_l2_is_equal(now, f->old);
}

/* fill.c */

/* The lock of the fills is held. */
void qcow2_fills_set_count(struct qcow2_fills *fs, unsigned int count);

/* fill-few.c: some want few, and there are @count from now on. With the lock. */
void qcow2_fills_note_few(struct qcow2_fills *fs, unsigned int count);

/* fill-publish.c: each struct qcow2_work of a list is queued again. */
void qcow2_fills_requeue(struct qcow2_image *img, struct list_head *works);
void qcow2_fill_free(struct qcow2_fill *f);

/* fill-publish.c */

/**
 * qcow2_fills_publish_ahead - let entries point at some fills that are whole
 * @fs: the fills of the image
 *
 * A long write of whole clusters does not have to wait for commits. Does not sleep.
 */
void qcow2_fills_publish_ahead(struct qcow2_fills *fs);

/* fill-data.c */

/**
 * qcow2_fills_copy - copy what clusters lack
 * @fs: the fills of the image; @publishing is held
 * @fills: struct qcow2_fill by @node; closed, and nobody writes to them
 * @may_wait: for space of the host, for what somebody has written
 *
 * Sets @err of each of them: 0 when its cluster is whole. Sleeps for I/O.
 * qcow2_fills_free_bufs() is to follow the last call.
 */
void qcow2_fills_copy(struct qcow2_fills *fs, struct list_head *fills, bool may_wait);
void qcow2_fills_free_bufs(struct qcow2_fills *fs);

#endif /* DM_QCOW2_FILL_INTERNAL_H */
