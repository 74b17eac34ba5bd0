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
 * @q: the image
 * @cluster: the host cluster
 * @value: set on success
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_refcount_read(struct qcow2 *q, u64 cluster, u64 *value);

/**
 * qcow2_refcount_fill - set the refcounts of a run, in the cache
 * @q: the image
 * @cluster: first host cluster; its refcount block exists
 * @count: number of clusters
 * @value: the refcount
 *
 * Return: 0, or a negative errno: then none has changed.
 */
int __must_check qcow2_refcount_fill(struct qcow2 *q, u64 cluster, u64 count, u64 value);

/**
 * qcow2_refcount_pin - hold the pages of a run, so that filling them cannot fail
 * @q: the image; nothing is pinned
 * @cluster: first host cluster; its refcount block need not exist yet
 * @count: number of clusters, up to QCOW2_MAX_STEP and one
 *
 * Return: 0, or a negative errno: then nothing is pinned.
 */
int __must_check qcow2_refcount_pin(struct qcow2 *q, u64 cluster, u64 count);

/**
 * qcow2_refcount_fill_pinned - set the refcounts of a pinned run, in the cache
 * @q: the image
 * @cluster: as it was pinned; its refcount block exists
 * @count: as it was pinned
 * @value: the refcount
 */
void qcow2_refcount_fill_pinned(struct qcow2 *q, u64 cluster, u64 count, u64 value);

/**
 * qcow2_refcount_unpin - undo qcow2_refcount_pin()
 * @q: the image
 */
void qcow2_refcount_unpin(struct qcow2 *q);

/**
 * qcow2_refcount_write - write changed pages of the refcount structures
 * @q: the image
 * @kind: QCOW2_META_REFBLOCK or QCOW2_META_REFTABLE
 *
 * They are durable only behind the next barrier.
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_refcount_write(struct qcow2 *q, enum qcow2_meta_kind kind);

/**
 * qcow2_reftable_entries - number of refcount blocks the table has room for
 * @q: the image
 */
u64 qcow2_reftable_entries(const struct qcow2 *q);

#endif /* DM_QCOW2_REFCOUNT_H */
