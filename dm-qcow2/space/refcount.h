/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Refcounts of host clusters, through the metadata cache. The space thread only,
 * or a suspend that has stopped it.
 */
#ifndef DM_QCOW2_REFCOUNT_H
#define DM_QCOW2_REFCOUNT_H

#include "meta/cache.h"

/**
 * qcow2_refcount_read - the refcount of a cluster
 * @img: the image
 * @cluster: the host cluster
 * @value: set on success
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_refcount_read(struct qcow2_image *img, u64 cluster, u64 *value);

/**
 * qcow2_refcount_fill - set the refcounts of a run, in the cache
 * @img: the image
 * @cluster: first host cluster; its refcount block exists
 * @count: number of clusters
 * @value: the refcount
 *
 * Return: 0, or a negative errno: then none has changed.
 */
int __must_check qcow2_refcount_fill(struct qcow2_image *img, u64 cluster, u64 count, u64 value);

/**
 * qcow2_refcount_pin - hold the pages of a run, so that filling them cannot fail
 * @img: the image; nothing is pinned
 * @cluster: first host cluster; its refcount block need not exist yet
 * @count: number of clusters, up to QCOW2_MAX_STEP and one
 *
 * Return: 0, or a negative errno: then nothing is pinned.
 */
int __must_check qcow2_refcount_pin(struct qcow2_image *img, u64 cluster, u64 count);

/**
 * qcow2_refcount_fill_pinned - set the refcounts of a pinned run, in the cache
 * @img: the image
 * @cluster: as it was pinned; its refcount block exists
 * @count: as it was pinned
 * @value: the refcount
 */
void qcow2_refcount_fill_pinned(struct qcow2_image *img, u64 cluster, u64 count, u64 value);

/**
 * qcow2_refcount_unpin - undo qcow2_refcount_pin()
 * @img: the image
 */
void qcow2_refcount_unpin(struct qcow2_image *img);

/**
 * qcow2_refcount_decrease - decrease the refcounts of the first clusters of a run by one
 * @img: the image
 * @cluster: first host cluster
 * @count: number of clusters; at least 1
 * @done: set on success to how many were decreased, in the cache; at least 1
 * @is_free: set to whether these have refcount 0 now; else all of them have more
 *
 * Return: 0; -EUCLEAN when the first refcount is 0, or another negative errno: then none has
 * changed.
 */
int __must_check qcow2_refcount_decrease(struct qcow2_image *img, u64 cluster, u64 count,
					 u64 *done, bool *is_free);

/**
 * qcow2_refcount_write - write changed pages of the refcount structures
 * @img: the image
 * @kind: QCOW2_META_REFBLOCK or QCOW2_META_REFTABLE
 *
 * They are durable only behind the next barrier.
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_refcount_write(struct qcow2_image *img, enum qcow2_meta_kind kind);

#endif /* DM_QCOW2_REFCOUNT_H */
