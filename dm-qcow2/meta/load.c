// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading metadata pages, and giving new tables their place.
 *
 * A table's mutex is held while one of its pages is loaded and while the table
 * is allocated, so that nobody caches a page of it as absent in between.
 */
#include <linux/hash.h>
#include <linux/slab.h>

#include "load.h"
#include "qcow2.h"
#include "space/refcount.h"

struct mutex *qcow2_table_mutex(struct qcow2 *q, enum qcow2_meta_kind kind, u64 table)
{
	return &q->cache.table_mutex[!qcow2_meta_is_fixed(kind)]
				    [hash_64(table, ilog2(QCOW2_TABLE_MUTEXES))];
}

/* The kind and index of the table that points at tables of @kind. */
static enum qcow2_meta_kind parent_kind(enum qcow2_meta_kind kind)
{
	return kind == QCOW2_META_L2 ? QCOW2_META_L1 : QCOW2_META_REFTABLE;
}

static u64 parent_entries(const struct qcow2 *q, enum qcow2_meta_kind kind)
{
	if (kind == QCOW2_META_L2)
		return q->geo.l1_size;
	return qcow2_reftable_entries(q);
}

/* The table may move meanwhile: never take its new size with its old place. */
static bool in_reftable(struct qcow2 *q, u64 host_off)
{
	/* pairs with smp_store_release() in switch_table() */
	u64 clusters = smp_load_acquire(&q->reftable_clusters);

	return in_range(host_off, READ_ONCE(q->reftable_offset), clusters << q->geo.cluster_bits);
}

static int check_table_offset(struct qcow2 *q, u64 host_off)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&q->geo);

	if (qcow2_in_cluster(&q->geo, host_off) || host_off < cluster_bytes ||
	    in_range(host_off, q->geo.l1_offset, (u64)q->geo.l1_size * QCOW2_ENTRY_BYTES) ||
	    in_reftable(q, host_off))
		return qcow2_corrupt(q, "misplaced table", host_off);
	if (host_off > q->host_bytes - cluster_bytes)
		return qcow2_bad_metadata(q, "table outside of the image", host_off);
	return 0;
}

/* Read the entry that points at a table. 0 means that it is not allocated. */
static int read_parent(struct qcow2 *q, enum qcow2_meta_kind kind, u64 table,
		       u64 *entry)
{
	struct qcow2_mpage *parent;

	*entry = 0;
	if (table >= parent_entries(q, kind))
		return 0;
	parent = qcow2_mpage_get(q, parent_kind(kind), table >> q->geo.entry_bits);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	*entry = qcow2_mpage_entry(parent, qcow2_slot(&q->geo, table));
	qcow2_mpage_put(parent);
	return 0;
}

/* Find out where a page is on disk. */
static int locate(struct qcow2 *q, struct qcow2_mpage *p)
{
	unsigned int table_page_bits = qcow2_table_page_bits(&q->geo);
	u64 in_table = p->index & ((1ULL << table_page_bits) - 1);
	u64 entry, host_off;
	int err;

	if (p->kind == QCOW2_META_L1) {
		p->host_off = q->geo.l1_offset + (p->index << q->geo.page_bits);
		return 0;
	}
	if (p->kind == QCOW2_META_REFTABLE) {
		p->host_off = q->reftable_offset + (p->index << q->geo.page_bits);
		return 0;
	}
	err = read_parent(q, p->kind, p->index >> table_page_bits, &entry);
	if (err)
		return err;
	host_off = p->kind == QCOW2_META_L2 ? qcow2_entry_offset(entry) :
					      qcow2_reftable_offset(entry);
	if (!host_off)
		return 0;
	err = check_table_offset(q, host_off);
	if (err)
		return err;
	if (p->kind == QCOW2_META_L2 && !(entry & QCOW2_OFLAG_COPIED))
		set_bit(QCOW2_MPAGE_SHARED, &p->flags);
	p->host_off = host_off + (in_table << q->geo.page_bits);
	return 0;
}

static struct qcow2_mpage *alloc_page_struct(struct qcow2 *q,
					     enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_mpage *p = kzalloc(sizeof(*p), GFP_NOIO);

	if (!p)
		return NULL;
	p->data = kzalloc(qcow2_page_bytes(&q->geo), GFP_NOIO);
	if (!p->data) {
		kfree(p);
		return NULL;
	}
	p->kind = kind;
	p->index = index;
	spin_lock_init(&p->lock);
	refcount_set(&p->refs, 1);
	return p;
}

/*
 * Whoever compares a cluster with all tables reads the whole L1 table, of which most
 * is zeroes where an image is large.
 */
static void share_zeroes(struct qcow2_mpage *p)
{
	kfree(p->data);
	p->data = qcow2_zeroes();
}

int qcow2_mpage_own_data(struct qcow2 *q, struct qcow2_mpage *p)
{
	void *data;

	if (READ_ONCE(p->data) != qcow2_zeroes())
		return 0;
	data = kzalloc(qcow2_page_bytes(&q->geo), GFP_NOIO);
	if (!data)
		return -ENOMEM;
	spin_lock(&p->lock);
	if (p->data == qcow2_zeroes()) {
		/* A reader sees the same zeroes in either. */
		smp_store_release(&p->data, data);
		data = NULL;
	}
	spin_unlock(&p->lock);
	kfree(data);
	return 0;
}

/*
 * Make room for one page. Dirty pages become clean by a commit; pages in use
 * are few, so when there is nothing to wait for the limit is stretched.
 */
static void make_room(struct qcow2 *q)
{
	struct qcow2_metacache *c = &q->cache;
	u64 done;

	while (READ_ONCE(c->nr_pages) >= c->limit) {
		done = READ_ONCE(q->commit.done);
		if (qcow2_metacache_evict(q))
			return;
		if (qcow2_commit_is_idle(q) || qcow2_failed(q))
			return;
		qcow2_commit_kick(q);
		wait_event(c->wait, READ_ONCE(q->commit.done) != done || qcow2_failed(q));
	}
}

static struct qcow2_mpage *load(struct qcow2 *q, enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_iovec vec;
	struct qcow2_mpage *p;
	int err = 0;

	make_room(q);
	p = alloc_page_struct(q, kind, index);
	if (!p)
		return ERR_PTR(-ENOMEM);
	err = locate(q, p);
	if (!err && p->host_off) {
		vec = (struct qcow2_iovec) {
			.host_off = p->host_off,
			.buf = p->data,
			.bytes = qcow2_page_bytes(&q->geo),
		};
		err = qcow2_layer_rw(&q->layer, REQ_OP_READ, &vec, 1);
	}
	/* Entries that are filled in later point at prepared clusters. */
	if (!memchr_inv(p->data, 0, qcow2_page_bytes(&q->geo))) {
		set_bit(QCOW2_MPAGE_VERIFIED, &p->flags);
		if (kind == QCOW2_META_L1)
			share_zeroes(p);
	}
	if (!err)
		err = qcow2_metacache_insert(q, p);
	if (err) {
		qcow2_mpage_put(p);
		return ERR_PTR(err);
	}
	return p;
}

static struct qcow2_mpage *find_get(struct qcow2 *q, enum qcow2_meta_kind kind,
				    u64 index)
{
	struct qcow2_mpage *p;

	rcu_read_lock();
	p = qcow2_mpage_find(q, kind, index);
	if (p && !qcow2_mpage_tryget(p))
		p = NULL;
	rcu_read_unlock();
	return p;
}

struct qcow2_mpage *qcow2_mpage_get(struct qcow2 *q, enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_mpage *p = find_get(q, kind, index);
	struct mutex *mutex;

	if (p)
		return p;
	mutex = qcow2_table_mutex(q, kind, qcow2_meta_is_fixed(kind) ?
				  index : index >> qcow2_table_page_bits(&q->geo));
	mutex_lock(mutex);
	p = find_get(q, kind, index);
	if (!p) {
		atomic_long_inc(&q->cache.misses);
		p = load(q, kind, index);
	}
	mutex_unlock(mutex);
	return p;
}

int qcow2_table_attach(struct qcow2 *q, enum qcow2_meta_kind kind, u64 table,
		       u64 host_off)
{
	unsigned int bits = qcow2_table_page_bits(&q->geo);
	unsigned long first = table << bits;
	struct qcow2_mpage *p;
	unsigned long index;
	int err;

	lockdep_assert_held(qcow2_table_mutex(q, kind, table));
	err = qcow2_metacache_reserve(q, kind, host_off);
	if (err)
		return err;
	spin_lock(&q->cache.lru_lock);
	err = qcow2_metacache_claim(q, kind, table, host_off);
	if (err)
		goto unlock;
	xa_for_each_range(&q->cache.pages[kind], index, p, first, first + (1UL << bits) - 1)
		WRITE_ONCE(p->host_off,
			   host_off + ((u64)(index - first) << q->geo.page_bits));
unlock:
	spin_unlock(&q->cache.lru_lock);
	return err;
}
