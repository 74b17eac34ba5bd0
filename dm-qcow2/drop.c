// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a cluster that an entry does not point at any more.
 *
 * A commit makes the change of the entry durable; after that nobody starts I/O
 * on the cluster, and a grace period later nobody has any under way. Only then
 * its refcount is decreased and its space given back to the host, and from then
 * on it may be prepared for another use. That needs no barrier of its own: until
 * the one of its next use the cluster leaks at most.
 */
#include <linux/slab.h>

#include "qcow2.h"
#include "refcount.h"

void qcow2_drop(struct qcow2 *q, struct qcow2_dropped *d, u64 host_off, u64 commit)
{
	d->cluster = host_off >> q->geo.cluster_bits;
	d->commit = commit;
	spin_lock(&q->space.lock);
	list_add_tail(&d->node, &q->space.dropped);
	spin_unlock(&q->space.lock);
}

/* Those whose entry is durable; they were queued in about that order. */
static void take_durable(struct qcow2 *q, struct list_head *durable)
{
	u64 done = READ_ONCE(q->commit.done);
	struct qcow2_dropped *d, *next;

	spin_lock(&q->space.lock);
	list_for_each_entry_safe(d, next, &q->space.dropped, node)
		if (d->commit <= done)
			list_move_tail(&d->node, durable);
	spin_unlock(&q->space.lock);
}

static int decrease(struct qcow2 *q, struct qcow2_dropped *d, bool *is_free)
{
	u64 refcount;
	int err;

	err = qcow2_refcount_read(q, d->cluster, &refcount);
	if (err)
		return err;
	if (!refcount)
		return qcow2_corrupt(q, "refcount of a cluster in use is zero",
				     d->cluster << q->geo.cluster_bits);
	*is_free = refcount == 1;
	return qcow2_refcount_fill(q, d->cluster, 1, refcount - 1);
}

static void release(struct qcow2 *q, struct qcow2_dropped *d)
{
	qcow2_layer_discard(&q->layer, d->cluster << q->geo.cluster_bits,
			    qcow2_cluster_bytes(&q->geo));
	q->space.cursor = min(q->space.cursor, d->cluster);
}

int qcow2_drop_finish(struct qcow2 *q)
{
	struct qcow2_dropped *d, *next;
	LIST_HEAD(durable);
	bool is_free;
	int err = 0;

	take_durable(q, &durable);
	if (list_empty(&durable))
		return 0;
	synchronize_srcu(&q->inflight);
	list_for_each_entry_safe(d, next, &durable, node) {
		is_free = false;
		if (!err)
			err = decrease(q, d, &is_free);
		if (is_free)
			continue;
		list_del(&d->node);
		kfree(d);
	}
	if (!err)
		err = qcow2_refcount_write(q, QCOW2_META_REFBLOCK);
	list_for_each_entry_safe(d, next, &durable, node) {
		if (!err)
			release(q, d);
		kfree(d);
	}
	return err;
}
