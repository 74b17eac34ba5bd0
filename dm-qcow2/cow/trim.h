/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Space of a data file that is given back: what discards have left without data.
 *
 * A discard changes entries, and the guest waits for nothing else. The ranges are remembered, and joined,
 * and become holes a moment later, in large pieces, by a work item of the system's.
 *
 *	a cluster of a range that is remembered has no data by its entry, and no fill
 *
 * So they are remembered where entries change (qcow2_fills_change()), and a fill that begins takes its
 * cluster out of them; while that is being made a hole, it waits. A hole may be there before the
 * entries are durable: who has discarded something has let go of it.
 *
 * There is room for some ranges. Who discards more waits until there is again.
 */
#ifndef DM_QCOW2_TRIM_H
#define DM_QCOW2_TRIM_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct qcow2_fills;
struct qcow2_image;
struct qcow2_work;

#define QCOW2_MAX_TRIMS	128U

/* Of guest clusters */
struct qcow2_trim {
	u64 first;
	u64 count;
};

/**
 * struct qcow2_trims - what of a data file is to be given back
 * @fs: the fills of the image, whose lock protects the rest
 * @ranges: what is remembered
 * @count: how many ranges there are
 * @now: what is being made a hole; nothing if its count is 0
 * @crowd: struct qcow2_work that wait for room
 * @work: makes the holes
 */
struct qcow2_trims {
	struct qcow2_fills *fs;
	struct qcow2_trim ranges[QCOW2_MAX_TRIMS];
	unsigned int count;
	struct qcow2_trim now;
	struct list_head crowd;
	struct delayed_work work;
};

/**
 * qcow2_trims_init - get ready to give back
 * @fs: the fills of an image that has a data file, which is not raw, and whose clusters can be
 *	holes
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check qcow2_trims_init(struct qcow2_fills *fs);
void qcow2_trims_exit(struct qcow2_fills *fs);

/**
 * qcow2_trims_finish - give back the rest
 * @fs: the fills of any image; no request is under way
 */
void qcow2_trims_finish(struct qcow2_fills *fs);

/**
 * qcow2_trims_are_crowded - see whether there is room
 * @fs: the fills of any image
 * @work: of who wants to discard
 *
 * Return: true when there is none: @work is parked until there is.
 */
bool qcow2_trims_are_crowded(struct qcow2_fills *fs, struct qcow2_work *work);

/* With the lock of the fills, which has to have trims: */

/**
 * qcow2_trims_add - remember clusters
 * @t: the trims
 * @first: the first of them
 * @count: how many
 */
void qcow2_trims_add(struct qcow2_trims *t, u64 first, u64 count);

/**
 * qcow2_trims_take - a cluster is about to get data
 * @t: the trims
 * @cluster: the cluster; not one that qcow2_trims_has_now()
 */
void qcow2_trims_take(struct qcow2_trims *t, u64 cluster);

/**
 * qcow2_trims_has_now - is a cluster being made a hole?
 * @t: the trims
 * @cluster: the cluster
 */
static inline bool qcow2_trims_has_now(const struct qcow2_trims *t, u64 cluster)
{
	return cluster - t->now.first < t->now.count;
}

#endif /* DM_QCOW2_TRIM_H */
