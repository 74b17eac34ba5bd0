// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refcounts of host clusters, through the metadata cache.
 */
#include "qcow2.h"
#include "refcount.h"
#include "format/refcount-entry.h"

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

void qcow2_refcount_unpin(struct qcow2 *q)
{
	struct qcow2_space *s = &q->space;

	while (s->nr_pinned)
		qcow2_mpage_put(s->pinned[--s->nr_pinned]);
}

int qcow2_refcount_pin(struct qcow2 *q, u64 cluster, u64 count)
{
	u64 last = (cluster + count - 1) >> q->geo.refpage_bits;
	struct qcow2_space *s = &q->space;
	struct qcow2_mpage *p;

	for (u64 page = cluster >> q->geo.refpage_bits; page <= last; page++) {
		p = s->nr_pinned < ARRAY_SIZE(s->pinned) ?
		    qcow2_mpage_get(q, QCOW2_META_REFBLOCK, page) : ERR_PTR(-E2BIG);
		if (IS_ERR(p)) {
			qcow2_refcount_unpin(q);
			return PTR_ERR(p);
		}
		s->pinned[s->nr_pinned++] = p;
	}
	return 0;
}

static void fill_page(struct qcow2 *q, struct qcow2_mpage *p, u32 slot, u64 count, u64 value)
{
	spin_lock(&p->lock);
	qcow2_mpage_mark_dirty(q, p);
	for (u64 i = 0; i < count; i++)
		qcow2_refcount_set(p->data, q->geo.refcount_order, slot + i, value);
	spin_unlock(&p->lock);
}

void qcow2_refcount_fill_pinned(struct qcow2 *q, u64 cluster, u64 count, u64 value)
{
	u64 per_page = BIT_ULL(q->geo.refpage_bits);
	u32 slot = cluster & (per_page - 1);
	u64 filled;

	if (!value)
		qcow2_scan_note_free(q, cluster, count);
	for (unsigned int i = 0; count; i++, count -= filled, slot = 0) {
		filled = min(count, per_page - slot);
		fill_page(q, q->space.pinned[i], slot, filled, value);
	}
}

int qcow2_refcount_fill(struct qcow2 *q, u64 cluster, u64 count, u64 value)
{
	int err = qcow2_refcount_pin(q, cluster, count);

	if (err)
		return err;
	qcow2_refcount_fill_pinned(q, cluster, count, value);
	qcow2_refcount_unpin(q);
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
