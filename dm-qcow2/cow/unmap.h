/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest clusters that are to read as zero: discard and write-zeroes, as changes of entries.
 */
#ifndef DM_QCOW2_UNMAP_H
#define DM_QCOW2_UNMAP_H

#include "cow.h"

/**
 * struct qcow2_unmap - what is to become of guest clusters
 * @drops: their host clusters are let go of; else they are kept, but for compressed ones
 * @marks_holes: holes get the zero flag, too; version 3 only
 * @is_careful: only if they read as zero, or show what is below, by now
 * @subclusters: which ones of each, where there are some; all of them if there are several
 *	clusters, or one that is compressed
 */
struct qcow2_unmap {
	bool drops;
	bool marks_holes;
	bool is_careful;
	u32 subclusters;
};

/**
 * qcow2_unmap - let guest clusters read as zero
 * @img: a writable image. If it is of version 2, it has nothing below, and @how->drops is set
 * @p: the L2 page, with a reference
 * @guest_off: in the first cluster
 * @clusters: how many there are, all in the page
 * @how: what is to become of them
 * @work: of the caller, if it has to wait
 * @done: set for QCOW2_COW_READY to how many are done; at least 1
 *
 * What it changes is in the cache: the next commit makes it durable.
 *
 * Slow pool. Return: enum qcow2_cow_result or a negative errno.
 */
int __must_check qcow2_unmap(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
			     u32 clusters, const struct qcow2_unmap *how, struct qcow2_work *work,
			     u32 *done);

#endif /* DM_QCOW2_UNMAP_H */
