// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the tables are, all of them: before clusters are zeroed, or given back
 * to the host, on the word of an image that may be damaged.
 *
 * This reads the whole L1 and refcount table, once for what is prepared or freed
 * at a time; qcow2_is_metadata() is the check of the hot path.
 */
#include "qcow2.h"
#include "refcount.h"

struct overlap_check {
	bool (*is_bad)(u64 cluster, const void *arg);
	const void *arg;
};

static int check_cluster(struct qcow2 *q, const struct overlap_check *c, u64 host_off)
{
	if (!c->is_bad(host_off >> q->geo.cluster_bits, c->arg))
		return 0;
	return qcow2_corrupt(q, "free or data cluster is metadata", host_off);
}

static int check_range(struct qcow2 *q, const struct overlap_check *c, u64 host_off,
		       u64 bytes)
{
	int err = 0;

	for (u64 off = 0; off < bytes && !err; off += qcow2_cluster_bytes(&q->geo))
		err = check_cluster(q, c, host_off + off);
	return err;
}

/* The tables that the entries of a page of an L1 or refcount table point at. */
static int check_page(struct qcow2 *q, const struct overlap_check *c,
		      enum qcow2_meta_kind kind, u64 index, u64 count)
{
	struct qcow2_mpage *p;
	u64 host_off;
	int err = 0;

	p = qcow2_mpage_get(q, kind, index);
	if (IS_ERR(p))
		return PTR_ERR(p);
	for (u32 slot = 0; slot < count && !err; slot++) {
		host_off = qcow2_entry_offset(qcow2_mpage_entry(p, slot));
		if (host_off)
			err = check_cluster(q, c, host_off);
	}
	qcow2_mpage_put(p);
	return err;
}

static int check_entries(struct qcow2 *q, const struct overlap_check *c,
			 enum qcow2_meta_kind kind, u64 entries)
{
	u64 per_page = BIT_ULL(q->geo.entry_bits);
	int err = 0;

	for (u64 first = 0; first < entries && !err; first += per_page)
		err = check_page(q, c, kind, first >> q->geo.entry_bits,
				 min(entries - first, per_page));
	return err;
}

int qcow2_check_tables(struct qcow2 *q, bool (*is_bad)(u64 cluster, const void *arg),
		       const void *arg)
{
	const struct overlap_check c = { is_bad, arg };

	return check_cluster(q, &c, 0) ?:
	       check_range(q, &c, q->geo.l1_offset, (u64)q->geo.l1_size * QCOW2_ENTRY_BYTES) ?:
	       check_range(q, &c, q->reftable_offset,
			   (u64)q->reftable_clusters << q->geo.cluster_bits) ?:
	       check_entries(q, &c, QCOW2_META_L1, q->geo.l1_size) ?:
	       check_entries(q, &c, QCOW2_META_REFTABLE, qcow2_reftable_entries(q));
}
