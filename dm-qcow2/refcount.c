// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refcounts of host clusters, through the metadata cache.
 */
#include "qcow2.h"
#include "refcount.h"
#include "refcount-entry.h"

static struct qcow2_mpage *refcount_page(struct qcow2 *q, u64 cluster, u32 *slot)
{
	*slot = cluster & ((1U << q->geo.refpage_bits) - 1);
	return qcow2_mpage_get(q, QCOW2_META_REFBLOCK, cluster >> q->geo.refpage_bits);
}

u64 qcow2_reftable_entries(const struct qcow2 *q)
{
	return (u64)q->reftable_clusters << (q->geo.cluster_bits - QCOW2_ENTRY_BITS);
}

int qcow2_refcount_read(struct qcow2 *q, u64 cluster, u64 *value)
{
	struct qcow2_mpage *p;
	u32 slot;

	p = refcount_page(q, cluster, &slot);
	if (IS_ERR(p))
		return PTR_ERR(p);
	*value = qcow2_refcount_get(p->data, q->geo.refcount_order, slot);
	qcow2_mpage_put(p);
	return 0;
}

/* Set as many refcounts of a run as the first one's page holds. */
static int fill_page(struct qcow2 *q, u64 cluster, u64 count, u64 value, u64 *filled)
{
	struct qcow2_mpage *p;
	u32 slot;

	p = refcount_page(q, cluster, &slot);
	if (IS_ERR(p))
		return PTR_ERR(p);
	*filled = min(count, (1ULL << q->geo.refpage_bits) - slot);
	spin_lock(&p->lock);
	qcow2_mpage_mark_dirty(q, p);
	for (u64 i = 0; i < *filled; i++)
		qcow2_refcount_set(p->data, q->geo.refcount_order, slot + i, value);
	spin_unlock(&p->lock);
	qcow2_mpage_put(p);
	return 0;
}

int qcow2_refcount_fill(struct qcow2 *q, u64 cluster, u64 count, u64 value)
{
	u64 filled;
	int err;

	for (; count; cluster += filled, count -= filled) {
		err = fill_page(q, cluster, count, value, &filled);
		if (err)
			return err;
	}
	return 0;
}

int qcow2_refcount_write(struct qcow2 *q, enum qcow2_meta_kind kind)
{
	struct qcow2_writeback *wb = &q->space.wb;
	int err;

	err = qcow2_writeback_kind(q, wb, kind);
	qcow2_writeback_end(q, wb, err);
	return err;
}
