/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copy-on-write: what has to be there before a write can go to its cluster.
 */
#ifndef DM_QCOW2_COW_H
#define DM_QCOW2_COW_H

#include "space/space.h"

/**
 * enum qcow2_cow_result - how it went, when there was no error
 * @QCOW2_COW_READY: the write may start
 * @QCOW2_COW_AGAIN: something was done, by us or by somebody else: look the cluster up again
 * @QCOW2_COW_NO_CLUSTER: none is ready to be allocated
 * @QCOW2_COW_PARKED: the work of the write is queued again later
 */
enum qcow2_cow_result {
	QCOW2_COW_READY,
	QCOW2_COW_AGAIN,
	QCOW2_COW_NO_CLUSTER,
	QCOW2_COW_PARKED,
};

/**
 * qcow2_table_allocate - allocate the L2 table of a page
 * @img: the image
 * @p: an L2 page without a table, with a reference
 *
 * Slow pool. Return: QCOW2_COW_AGAIN, QCOW2_COW_NO_CLUSTER or a negative errno.
 */
int __must_check qcow2_table_allocate(struct qcow2_image *img, struct qcow2_mpage *p);

#endif /* DM_QCOW2_COW_H */
