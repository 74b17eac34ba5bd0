// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading metadata pages, and giving new tables their place.
 *
 * A table's mutex is held while one of its pages is loaded and while the table
 * is allocated, so that nobody caches a page of it as absent in between.
 */
#include <linux/hash.h>
#include <linux/slab.h>

#include "commit.h"
#include "load.h"
#include "tables.h"

struct mutex *qcow2_table_mutex(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 table)
{
	return &img->cache.table_mutex[!qcow2_meta_is_fixed(kind)]
				    [hash_64(table, ilog2(QCOW2_TABLE_MUTEXES))];
}

/* The kind and index of the table that points at tables of @kind. */
static enum qcow2_meta_kind parent_kind(enum qcow2_meta_kind kind)
{
	return kind == QCOW2_META_L2 ? QCOW2_META_L1 : QCOW2_META_REFTABLE;
}

static u64 parent_entries(const struct qcow2_image *img, enum qcow2_meta_kind kind)
{
	if (kind == QCOW2_META_L2)
		return img->geo.l1_size;
	return qcow2_reftable_entries(img);
}

/* The table may move meanwhile: never take its new size with its old place. */
static bool in_reftable(struct qcow2_image *img, u64 host_off)
{
	/* pairs with smp_store_release() in switch_table() */
	u64 clusters = smp_load_acquire(&img->reftable_clusters);

	return in_range(host_off, READ_ONCE(img->reftable_offset),
			clusters << img->geo.cluster_bits);
}

static int check_table_offset(struct qcow2_image *img, u64 host_off)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);

	if (qcow2_in_cluster(&img->geo, host_off) || host_off < cluster_bytes ||
	    in_range(host_off, img->geo.l1_offset, (u64)img->geo.l1_size * QCOW2_ENTRY_BYTES) ||
	    in_reftable(img, host_off))
		return qcow2_corrupt(img, "misplaced table", host_off);
	if (host_off > img->host_bytes - cluster_bytes)
		return qcow2_bad_metadata(img, "table outside of the image", host_off);
	return 0;
}

/* Read the entry that points at a table. 0 means that it is not allocated. */
static int read_parent(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 table,
		       u64 *entry)
{
	struct qcow2_mpage *parent;

	*entry = 0;
	if (table >= parent_entries(img, kind))
		return 0;
	parent = qcow2_mpage_get(img, parent_kind(kind), table >> img->geo.entry_bits);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	*entry = qcow2_mpage_entry(parent, qcow2_slot(&img->geo, table));
	qcow2_mpage_put(parent);
	return 0;
}

/* Find out where a page is on disk. */
static int locate(struct qcow2_image *img, struct qcow2_mpage *p)
{
	unsigned int table_page_bits = qcow2_table_page_bits(&img->geo);
	u64 in_table = p->index & ((1ULL << table_page_bits) - 1);
	u64 entry, host_off;
	int err;

	if (p->kind == QCOW2_META_L1) {
		p->host_off = img->geo.l1_offset + (p->index << img->geo.page_bits);
		return 0;
	}
	if (p->kind == QCOW2_META_REFTABLE) {
		p->host_off = img->reftable_offset + (p->index << img->geo.page_bits);
		return 0;
	}
	err = read_parent(img, p->kind, p->index >> table_page_bits, &entry);
	if (err)
		return err;
	host_off = p->kind == QCOW2_META_L2 ? qcow2_entry_offset(entry) :
					      qcow2_reftable_offset(entry);
	if (!host_off)
		return 0;
	err = check_table_offset(img, host_off);
	if (err)
		return err;
	if (p->kind == QCOW2_META_L2 && !(entry & QCOW2_OFLAG_COPIED))
		set_bit(QCOW2_MPAGE_SHARED, &p->flags);
	p->host_off = host_off + (in_table << img->geo.page_bits);
	return 0;
}

static struct qcow2_mpage *alloc_page_struct(struct qcow2_image *img,
					     enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_mpage *p = kzalloc(sizeof(*p), GFP_NOIO);

	if (!p)
		return NULL;
	p->data = kzalloc(qcow2_page_bytes(&img->geo), GFP_NOIO);
	if (!p->data) {
		kfree(p);
		return NULL;
	}
	p->kind = kind;
	p->index = index;
	spin_lock_init(&p->lock);
	seqcount_init(&p->seq);
	refcount_set(&p->refs, 1);
	return p;
}

/* Where an image is large most of its L1 table is zeroes. */
static void share_zeroes(struct qcow2_mpage *p)
{
	kfree(p->data);
	p->data = qcow2_zeroes();
}

int qcow2_mpage_own_data(struct qcow2_image *img, struct qcow2_mpage *p)
{
	void *data;

	if (READ_ONCE(p->data) != qcow2_zeroes())
		return 0;
	data = kzalloc(qcow2_page_bytes(&img->geo), GFP_NOIO);
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

/* Whether there is nothing to wait for any more. */
static bool has_ended(const struct qcow2_image *img, u64 done)
{
	return READ_ONCE(img->commit->done) != done || qcow2_failed(img) ||
	       READ_ONCE(img->commit->nr_fills);
}

/*
 * Make room for one page. Dirty pages become clean by a commit, and a backing image has none;
 * pages in use are few, so when there is nothing to wait for the limit is stretched.
 */
static void make_room(struct qcow2_image *img)
{
	struct qcow2_cache *c = &img->cache;
	u64 done;

	while (READ_ONCE(c->nr_pages) >= c->limit) {
		done = img->commit ? READ_ONCE(img->commit->done) : 0;
		if (qcow2_cache_evict(img) || !img->commit)
			return;
		if (qcow2_commit_is_idle(img) || qcow2_failed(img))
			return;
		qcow2_commit_kick(img);
		/* Fills wait for writes, which may have to wait for a thread such as this one. */
		wait_event(c->wait, has_ended(img, done));
		if (READ_ONCE(img->commit->nr_fills))
			return;
	}
}

/* A page of a table that has got its place lately, and which nobody has had since: it is not read back. */
static bool is_new_page(struct qcow2_image *img, const struct qcow2_mpage *p)
{
	unsigned int bits = qcow2_table_page_bits(&img->geo);
	struct qcow2_new_table *t = img->cache.new_tables;
	bool is_new = false;

	if (p->kind != QCOW2_META_L2)
		return false;
	spin_lock(&img->cache.lru_lock);
	for (; t < img->cache.new_tables + QCOW2_NEW_TABLES; t++)
		if (t->number == (p->index >> bits) + 1)
			is_new = !__test_and_set_bit(p->index & (BIT(bits) - 1), t->cached);
	spin_unlock(&img->cache.lru_lock);
	return is_new;
}

static struct qcow2_mpage *load(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_iovec vec;
	struct qcow2_mpage *p;
	int err = 0;

	make_room(img);
	p = alloc_page_struct(img, kind, index);
	if (!p)
		return ERR_PTR(-ENOMEM);
	err = locate(img, p);
	if (!err && p->host_off && !is_new_page(img, p)) {
		vec = (struct qcow2_iovec) {
			.host_off = p->host_off,
			.buf = p->data,
			.bytes = qcow2_page_bytes(&img->geo),
		};
		err = qcow2_file_rw(&img->file, REQ_OP_READ, &vec, 1);
	}
	if (kind == QCOW2_META_L1 && !memchr_inv(p->data, 0, qcow2_page_bytes(&img->geo)))
		share_zeroes(p);
	if (!err)
		err = qcow2_cache_insert(img, p);
	if (err) {
		qcow2_mpage_put(p);
		return ERR_PTR(err);
	}
	return p;
}

static struct qcow2_mpage *find_get(struct qcow2_image *img, enum qcow2_meta_kind kind,
				    u64 index)
{
	struct qcow2_mpage *p;

	rcu_read_lock();
	p = qcow2_mpage_find(img, kind, index);
	if (p && !qcow2_mpage_tryget(p))
		p = NULL;
	rcu_read_unlock();
	return p;
}

struct qcow2_mpage *qcow2_mpage_get(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_mpage *p = find_get(img, kind, index);
	struct mutex *mutex;

	if (p)
		return p;
	mutex = qcow2_table_mutex(img, kind, qcow2_meta_is_fixed(kind) ?
				  index : index >> qcow2_table_page_bits(&img->geo));
	mutex_lock(mutex);
	p = find_get(img, kind, index);
	if (!p) {
		atomic_long_inc(&img->cache.misses);
		p = load(img, kind, index);
	}
	mutex_unlock(mutex);
	return p;
}

static struct qcow2_new_table *begin_new_table(struct qcow2_cache *c, u64 table)
{
	struct qcow2_new_table *t = c->new_tables;

	lockdep_assert_held(&c->lru_lock);
	while (t < c->new_tables + QCOW2_NEW_TABLES && t->number != table + 1)
		t++;
	if (t == c->new_tables + QCOW2_NEW_TABLES)
		t = &c->new_tables[c->next_new++ % QCOW2_NEW_TABLES];
	t->number = table + 1;
	bitmap_zero(t->cached, QCOW2_MAX_TABLE_PAGES);
	return t;
}

int qcow2_table_attach(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 table,
		       u64 host_off)
{
	u64 cluster = host_off >> img->geo.cluster_bits;
	unsigned int bits = qcow2_table_page_bits(&img->geo);
	unsigned long first = table << bits;
	struct qcow2_new_table *new = NULL;
	struct qcow2_mpage *p;
	unsigned long index;
	int err;

	lockdep_assert_held(qcow2_table_mutex(img, kind, table));
	err = qcow2_cache_reserve(img, kind, host_off) ?: qcow2_tables_add(img, cluster, 1);
	if (err)
		return err;
	spin_lock(&img->cache.lru_lock);
	err = qcow2_cache_claim(img, kind, table, host_off);
	if (err)
		goto unlock;
	if (kind == QCOW2_META_L2)
		new = begin_new_table(&img->cache, table);
	xa_for_each_range(&img->cache.pages[kind], index, p, first, first + (1UL << bits) - 1) {
		WRITE_ONCE(p->host_off,
			   host_off + ((u64)(index - first) << img->geo.page_bits));
		if (new)
			__set_bit(index - first, new->cached);
	}
unlock:
	spin_unlock(&img->cache.lru_lock);
	if (err)
		qcow2_tables_remove(img, cluster, 1);
	return err;
}
