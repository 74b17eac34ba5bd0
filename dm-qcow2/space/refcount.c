// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refcounts of host clusters, through the metadata cache.
 */
#include "format/refcount-entry.h"

#include "refcount.h"
#include "space.h"

static struct qcow2_mpage *refcount_page(struct qcow2_image *img, u64 cluster, u32 *slot)
{
	*slot = cluster & ((1U << img->geo.refpage_bits) - 1);
	return qcow2_mpage_get(img, QCOW2_META_REFBLOCK, cluster >> img->geo.refpage_bits);
}

int qcow2_refcount_read(struct qcow2_image *img, u64 cluster, u64 *value)
{
	struct qcow2_mpage *p;
	u32 slot;

	p = refcount_page(img, cluster, &slot);
	if (IS_ERR(p))
		return PTR_ERR(p);
	*value = qcow2_refcount_get(p->data, img->geo.refcount_order, slot);
	qcow2_mpage_put(p);
	return 0;
}

void qcow2_refcount_unpin(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	while (s->nr_pinned)
		qcow2_mpage_put(s->pinned[--s->nr_pinned]);
}

int qcow2_refcount_pin(struct qcow2_image *img, u64 cluster, u64 count)
{
	u64 last = (cluster + count - 1) >> img->geo.refpage_bits;
	struct qcow2_space *s = img->space;
	struct qcow2_mpage *p;

	for (u64 page = cluster >> img->geo.refpage_bits; page <= last; page++) {
		p = s->nr_pinned < s->max_pinned ?
		    qcow2_mpage_get(img, QCOW2_META_REFBLOCK, page) : ERR_PTR(-E2BIG);
		if (IS_ERR(p)) {
			qcow2_refcount_unpin(img);
			return PTR_ERR(p);
		}
		s->pinned[s->nr_pinned++] = p;
	}
	return 0;
}

/* Return: how many more clusters than before are in use. */
static s64 fill_page(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 count,
		     u64 value)
{
	unsigned int order = img->geo.refcount_order;
	s64 more = 0;

	spin_lock(&p->lock);
	qcow2_mpage_mark_dirty(img, p);
	for (u64 i = 0; i < count; i++) {
		more += !!value - !!qcow2_refcount_get(p->data, order, slot + i);
		qcow2_refcount_set(p->data, order, slot + i, value);
	}
	spin_unlock(&p->lock);
	return more;
}

void qcow2_refcount_fill_pinned(struct qcow2_image *img, u64 cluster, u64 count, u64 value)
{
	u64 per_page = BIT_ULL(img->geo.refpage_bits);
	u32 slot = cluster & (per_page - 1);
	u64 filled;
	s64 more;

	if (!value)
		qcow2_scan_note_free(img, cluster, count);
	for (unsigned int i = 0; count; i++, count -= filled, cluster += filled, slot = 0) {
		filled = min(count, per_page - slot);
		more = fill_page(img, img->space->pinned[i], slot, filled, value);
		qcow2_left_note_used(img, cluster, more);
	}
}

int qcow2_refcount_fill(struct qcow2_image *img, u64 cluster, u64 count, u64 value)
{
	int err = qcow2_refcount_pin(img, cluster, count);

	if (err)
		return err;
	qcow2_refcount_fill_pinned(img, cluster, count, value);
	qcow2_refcount_unpin(img);
	return 0;
}

/* How many refcounts from @slot on are the first one, if that is 1, or are more than 1. */
static u64 count_alike(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
		       u64 count, u64 first)
{
	bool is_last = first == 1;
	u64 n, refcount;

	for (n = 1; n < count; n++) {
		refcount = qcow2_refcount_get(p->data, img->geo.refcount_order, slot + n);
		if (is_last ? refcount != 1 : refcount < 2)
			break;
	}
	return n;
}

static void decrease_each(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 count)
{
	u64 refcount;

	spin_lock(&p->lock);
	qcow2_mpage_mark_dirty(img, p);
	for (u64 i = 0; i < count; i++) {
		refcount = qcow2_refcount_get(p->data, img->geo.refcount_order, slot + i);
		qcow2_refcount_set(p->data, img->geo.refcount_order, slot + i, refcount - 1);
	}
	spin_unlock(&p->lock);
}

int qcow2_refcount_decrease(struct qcow2_image *img, u64 cluster, u64 count, u64 *done,
			    bool *is_free)
{
	struct qcow2_mpage *p;
	u64 first;
	u32 slot;

	p = refcount_page(img, cluster, &slot);
	if (IS_ERR(p))
		return PTR_ERR(p);
	first = qcow2_refcount_get(p->data, img->geo.refcount_order, slot);
	if (!first) {
		qcow2_mpage_put(p);
		return qcow2_bad_metadata(img, "refcount of a cluster in use is zero",
					  cluster << img->geo.cluster_bits);
	}
	*is_free = first == 1;
	*done = count_alike(img, p, slot, min(count, BIT_ULL(img->geo.refpage_bits) - slot), first);
	if (*is_free)
		qcow2_scan_note_free(img, cluster, *done);
	decrease_each(img, p, slot, *done);
	qcow2_mpage_put(p);
	if (*is_free)
		qcow2_left_note_used(img, cluster, -(s64)*done);
	return 0;
}

int qcow2_refcount_write(struct qcow2_image *img, enum qcow2_meta_kind kind)
{
	struct qcow2_writeback *wb = &img->space->wb;
	int err;

	err = qcow2_writeback_kind(img, wb, kind);
	qcow2_writeback_end(img, wb, err);
	return err;
}
