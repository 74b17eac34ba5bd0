/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the tables of an image are, all of them.
 */
#ifndef DM_QCOW2_OVERLAP_H
#define DM_QCOW2_OVERLAP_H

#include <linux/types.h>

struct qcow2_image;
struct qcow2_mpage;

/**
 * qcow2_check_tables - make sure that no table lies where it should not
 * @img: the image
 * @is_bad: whether a host cluster is one where no table may be
 * @arg: handed to @is_bad
 *
 * Looks at the header, the L1 table, the refcount table, and every L2 table and
 * refcount block that they point at. Our own threads; sleeps for I/O.
 *
 * Return: 0, -EUCLEAN when there is one, or another negative errno.
 */
int __must_check qcow2_check_tables(struct qcow2_image *img,
				    bool (*is_bad)(u64 cluster, const void *arg),
				    const void *arg);

/**
 * qcow2_verify_page - make sure that no entry of an L2 page points at metadata
 * @img: the image
 * @p: the page, with a reference
 *
 * The slow pool; sleeps for I/O. A verified page is marked so.
 *
 * Return: 0, -EUCLEAN when one does, or another negative errno.
 */
int __must_check qcow2_verify_page(struct qcow2_image *img, struct qcow2_mpage *p);

#endif /* DM_QCOW2_OVERLAP_H */
