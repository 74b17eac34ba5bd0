// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cache of metadata pages: finding, changing, evicting. load.c loads.
 */
#include <linux/log2.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "commit.h"
#include "load.h"
#include "tables.h"

#define EVICT_BATCH	512UL

static struct qcow2_mpage __rcu **recent_slot(struct qcow2_cache *c, u64 index)
{
	return &c->recent[index & c->recent_mask];
}

static struct qcow2_mpage *find_recent(struct qcow2_cache *c,
				       enum qcow2_meta_kind kind, u64 index)
{
	struct qcow2_mpage *p;

	if (kind != QCOW2_META_L2)
		return NULL;
	p = rcu_dereference(*recent_slot(c, index));
	return p && p->index == index ? p : NULL;
}

/* Make a page that was inserted the one that is found first. */
static void set_recent(struct qcow2_cache *c, struct qcow2_mpage *p)
{
	lockdep_assert_held(&c->lru_lock);
	if (p->kind == QCOW2_META_L2)
		rcu_assign_pointer(*recent_slot(c, p->index), p);
}

/* A page that leaves the cache is found no more. */
static void clear_recent(struct qcow2_cache *c, struct qcow2_mpage *p)
{
	struct qcow2_mpage __rcu **slot = recent_slot(c, p->index);

	if (rcu_dereference_protected(*slot, lockdep_is_held(&c->lru_lock)) == p)
		RCU_INIT_POINTER(*slot, NULL);
}

struct qcow2_mpage *qcow2_mpage_find(struct qcow2_image *img, enum qcow2_meta_kind kind,
				     u64 index)
{
	struct qcow2_mpage *p = find_recent(&img->cache, kind, index);

	if (!p)
		p = xa_load(&img->cache.pages[kind], index);
	if (!p)
		return NULL;
	/* Test before set: a page in use is not written by every reader. */
	if (!test_bit(QCOW2_MPAGE_REFERENCED, &p->flags))
		set_bit(QCOW2_MPAGE_REFERENCED, &p->flags);
	this_cpu_inc(*img->cache.hits);
	return p;
}

static void free_page_rcu(struct rcu_head *rcu)
{
	struct qcow2_mpage *p = container_of(rcu, struct qcow2_mpage, rcu);

	if (p->data != qcow2_zeroes())
		kfree(p->data);
	kfree(p);
}

void qcow2_mpage_put(struct qcow2_mpage *p)
{
	if (refcount_dec_and_test(&p->refs))
		call_rcu(&p->rcu, free_page_rcu);
}

void qcow2_mpage_mark_dirty(struct qcow2_image *img, struct qcow2_mpage *p)
{
	struct qcow2_cache *c = &img->cache;

	lockdep_assert_held(&p->lock);
	if (!test_bit(QCOW2_MPAGE_DIRTY, &p->flags)) {
		refcount_inc(&p->refs);
		set_bit(QCOW2_MPAGE_DIRTY, &p->flags);
		spin_lock(&c->dirty_lock);
		list_add_tail(&p->dirty, &c->dirty[p->kind]);
		if (qcow2_meta_is_mapping(p->kind))
			WRITE_ONCE(c->nr_dirty, c->nr_dirty + 1);
		spin_unlock(&c->dirty_lock);
		if (qcow2_meta_is_mapping(p->kind))
			qcow2_commit_age(img);
		if (c->nr_dirty > c->limit / 2)
			qcow2_commit_kick(img);
	}
	smp_wmb(); /* pairs with smp_rmb() in qcow2_mpage_is_durable() */
}

/* Is another page of the same table in the cache? */
static bool has_sibling(struct qcow2_cache *c, const struct qcow2_mpage *p,
			unsigned int table_page_bits)
{
	unsigned long first = p->index >> table_page_bits << table_page_bits;
	unsigned long index = first;

	return xa_find(&c->pages[p->kind], &index,
		       first + (1UL << table_page_bits) - 1, XA_PRESENT);
}

/* A page is not in the cache: unless another one of its table is, the cluster has no owner. */
static void unclaim(struct qcow2_image *img, const struct qcow2_mpage *p)
{
	struct qcow2_cache *c = &img->cache;

	lockdep_assert_held(&c->lru_lock);
	if (qcow2_meta_is_fixed(p->kind) || !p->host_off)
		return;
	if (!has_sibling(c, p, qcow2_table_page_bits(&img->geo)))
		xa_erase(&c->owners, p->host_off >> img->geo.cluster_bits);
}

/* Take a page out of the cache; the cache's reference is the caller's then. */
static void unlink_page(struct qcow2_image *img, struct qcow2_mpage *p)
{
	struct qcow2_cache *c = &img->cache;

	lockdep_assert_held(&c->lru_lock);
	xa_erase(&c->pages[p->kind], p->index);
	clear_recent(c, p);
	list_del(&p->lru);
	c->nr_pages--;
	unclaim(img, p);
}

/* Look at no more pages than others can wait for the lock. */
static bool evict_one_of(struct qcow2_image *img, unsigned long tries)
{
	struct qcow2_cache *c = &img->cache;
	struct qcow2_mpage *p, *next;
	bool found = false;

	spin_lock(&c->lru_lock);
	list_for_each_entry_safe(p, next, &c->lru, lru) {
		if (!tries--)
			break;
		if (!test_and_clear_bit(QCOW2_MPAGE_REFERENCED, &p->flags) &&
		    refcount_dec_if_one(&p->refs)) {
			unlink_page(img, p);
			call_rcu(&p->rcu, free_page_rcu);
			found = true;
			break;
		}
		list_move_tail(&p->lru, &c->lru);
	}
	spin_unlock(&c->lru_lock);
	return found;
}

/**
 * qcow2_cache_evict - drop a clean page that nobody used of late
 * @img: the image
 *
 * Pages that are dirty or in use have more than the cache's own reference.
 *
 * Context: may sleep. Return: whether one was found.
 */
bool qcow2_cache_evict(struct qcow2_image *img)
{
	unsigned long left = 2 * READ_ONCE(img->cache.nr_pages);
	unsigned long tries;

	for (; left; left -= tries) {
		tries = min(left, EVICT_BATCH);
		if (evict_one_of(img, tries))
			return true;
		cond_resched();
	}
	return false;
}

/*
 * An earlier page of the same index that left the cache a moment ago may have taken
 * the reservation with it.
 */
static int store_page(struct qcow2_image *img, struct qcow2_mpage *p)
{
	struct qcow2_cache *c = &img->cache;
	int err;

	lockdep_assert_held(&c->lru_lock);
	err = xa_err(xa_store(&c->pages[p->kind], p->index, p, GFP_ATOMIC));
	if (err) {
		unclaim(img, p);
		return err;
	}
	refcount_inc(&p->refs);
	set_recent(c, p);
	list_add_tail(&p->lru, &c->lru);
	c->nr_pages++;
	return 0;
}

/**
 * qcow2_cache_insert - make a loaded page visible
 * @img: the image
 * @p: the page; the cache takes over the caller's reference and gets one more
 *
 * Return: 0, -ENOMEM, or -EUCLEAN when its cluster is another table already.
 */
int qcow2_cache_insert(struct qcow2_image *img, struct qcow2_mpage *p)
{
	struct qcow2_cache *c = &img->cache;
	int err;

	err = xa_reserve(&c->pages[p->kind], p->index, GFP_NOIO);
	if (err)
		return err;
	err = qcow2_cache_reserve(img, p->kind, p->host_off);
	if (err)
		goto release;
	spin_lock(&c->lru_lock);
	err = qcow2_cache_claim(img, p->kind, p->index >> qcow2_table_page_bits(&img->geo),
				p->host_off);
	if (!err)
		err = store_page(img, p);
	spin_unlock(&c->lru_lock);
release:
	if (err)
		xa_release(&c->pages[p->kind], p->index);
	return err;
}

/**
 * qcow2_cache_reserve - have the memory that qcow2_cache_claim() needs
 * @img: the image
 * @kind: kind of the table's pages
 * @host_off: in the table's cluster; 0 for a table that is not allocated
 *
 * An error of the claim fails the image, so it must not depend on what can be
 * had without waiting.
 *
 * Context: may sleep. Return: 0 or -ENOMEM.
 */
int qcow2_cache_reserve(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 host_off)
{
	if (qcow2_meta_is_fixed(kind) || !host_off)
		return 0;
	return xa_reserve(&img->cache.owners, host_off >> img->geo.cluster_bits, GFP_NOIO);
}

/**
 * qcow2_cache_claim - note which table a cluster holds, as long as pages of it are here
 * @img: the image
 * @kind: kind of the table's pages
 * @table: index of the table
 * @host_off: in the cluster; 0 for a table that is not allocated
 *
 * Context: the LRU lock is held, after qcow2_cache_reserve().
 *
 * Return: 0, or -EUCLEAN when the cluster is another table's. -ENOMEM
 * when the last page of the table left the cache in between, and took the
 * reservation with it.
 */
int qcow2_cache_claim(struct qcow2_image *img, enum qcow2_meta_kind kind, u64 table,
		      u64 host_off)
{
	struct qcow2_cache *c = &img->cache;
	void *value = xa_mk_value(table * QCOW2_NR_META_KINDS + kind);
	u64 cluster = host_off >> img->geo.cluster_bits;
	void *old;

	lockdep_assert_held(&c->lru_lock);
	if (qcow2_meta_is_fixed(kind) || !host_off)
		return 0;
	/* Not xa_cmpxchg(): it takes a reserved entry for another value than NULL. */
	old = xa_load(&c->owners, cluster);
	if (!old)
		return xa_err(xa_store(&c->owners, cluster, value, GFP_ATOMIC));
	if (old != value)
		return qcow2_bad_metadata(img, "table used twice", host_off);
	return 0;
}

void qcow2_cache_drop(struct qcow2_image *img)
{
	struct qcow2_cache *c = &img->cache;
	struct qcow2_mpage *p, *next;
	LIST_HEAD(pages);

	spin_lock(&c->dirty_lock);
	for (int kind = 0; kind < QCOW2_NR_META_KINDS; kind++)
		list_splice_tail_init(&c->dirty[kind], &pages);
	c->nr_dirty = 0;
	spin_unlock(&c->dirty_lock);
	list_for_each_entry_safe(p, next, &pages, dirty)
		qcow2_mpage_put(p);

	for (int kind = 0; kind < QCOW2_NR_META_KINDS; kind++)
		qcow2_cache_forget(img, kind);
	/* What is not zeroes in them any more others decide. */
	spin_lock(&c->lru_lock);
	memset(c->new_tables, 0, sizeof(c->new_tables));
	spin_unlock(&c->lru_lock);
	qcow2_tables_forget(img);
}

void qcow2_cache_forget(struct qcow2_image *img, enum qcow2_meta_kind kind)
{
	struct qcow2_cache *c = &img->cache;
	struct qcow2_mpage *p;
	unsigned long index;

	spin_lock(&c->lru_lock);
	xa_for_each(&c->pages[kind], index, p) {
		unlink_page(img, p);
		qcow2_mpage_put(p);
		cond_resched_lock(&c->lru_lock);
	}
	spin_unlock(&c->lru_lock);
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	struct qcow2_image *img = s->private_data;
	unsigned long pages = READ_ONCE(img->cache.nr_pages);

	/* Others change both. */
	return pages - min(pages, READ_ONCE(img->cache.nr_dirty));
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	struct qcow2_image *img = s->private_data;
	unsigned long freed = 0;

	while (freed < sc->nr_to_scan && qcow2_cache_evict(img))
		freed++;
	return freed ?: SHRINK_STOP;
}

static int init_shrinker(struct qcow2_image *img)
{
	struct shrinker *s = shrinker_alloc(0, "dm-qcow2:%s", qcow2_name(img));

	if (!s)
		return -ENOMEM;
	s->count_objects = shrink_count;
	s->scan_objects = shrink_scan;
	s->private_data = img;
	img->cache.shrinker = s;
	shrinker_register(s);
	return 0;
}

static void free_arrays(struct qcow2_cache *c)
{
	free_percpu(c->hits);
	kvfree(c->recent);
}

/*
 * An image with fewer pages has a slot for each, in cache lines that hold nothing else. Of a
 * backing image it is not known yet.
 */
static unsigned long count_recent(const struct qcow2_geometry *g)
{
	unsigned long least = L1_CACHE_BYTES / sizeof(struct qcow2_mpage *);

	if (!g->size)
		return QCOW2_RECENT_PAGES;
	return roundup_pow_of_two(clamp_t(u64, qcow2_l2_page(g, g->size - 1) + 1, least,
					  QCOW2_RECENT_PAGES));
}

static int alloc_arrays(struct qcow2_cache *c, const struct qcow2_geometry *g)
{
	unsigned long nr = count_recent(g);

	c->recent = kvcalloc(nr, sizeof(*c->recent), GFP_KERNEL);
	c->recent_mask = nr - 1;
	c->hits = alloc_percpu(unsigned long);
	if (c->recent && c->hits)
		return 0;
	free_arrays(c);
	return -ENOMEM;
}

void qcow2_cache_set_limit(struct qcow2_image *img, u32 cache_mb)
{
	img->cache.limit = ((u64)cache_mb << 20) >> img->geo.page_bits;
}

int qcow2_cache_init(struct qcow2_image *img, u32 cache_mb)
{
	struct qcow2_cache *c = &img->cache;
	int err;

	for (int kind = 0; kind < QCOW2_NR_META_KINDS; kind++) {
		xa_init(&c->pages[kind]);
		INIT_LIST_HEAD(&c->dirty[kind]);
	}
	xa_init(&c->owners);
	for (int i = 0; i < QCOW2_TABLE_MUTEXES; i++) {
		mutex_init(&c->table_mutex[0][i]);
		mutex_init(&c->table_mutex[1][i]);
	}
	spin_lock_init(&c->lru_lock);
	spin_lock_init(&c->dirty_lock);
	INIT_LIST_HEAD(&c->lru);
	init_waitqueue_head(&c->wait);
	qcow2_tables_init(img);
	qcow2_cache_set_limit(img, cache_mb);
	err = alloc_arrays(c, &img->geo);
	if (err)
		return err;
	err = init_shrinker(img);
	if (err)
		free_arrays(c);
	return err;
}

void qcow2_cache_exit(struct qcow2_image *img)
{
	struct qcow2_cache *c = &img->cache;

	shrinker_free(c->shrinker);
	qcow2_cache_drop(img);
	for (int kind = 0; kind < QCOW2_NR_META_KINDS; kind++)
		xa_destroy(&c->pages[kind]);
	xa_destroy(&c->owners);
	free_arrays(c);
}

/* Entries in a row: a large disk that is zeroed has thousands of them a page */

#define AT_ONCE	8

/* Whoever is not under the page's lock looks again under it. Of holes, which are the most, each is one instruction. */
static bool are_equal(const __be64 *words, __be64 word)
{
	__be64 differ = 0;

	if (!word) {
#pragma GCC unroll 8
		for (u32 i = 0; i < AT_ONCE; i++)
			differ |= data_race(words[i]);
	} else {
#pragma GCC unroll 8
		for (u32 i = 0; i < AT_ONCE; i++)
			differ |= data_race(words[i]) ^ word;
	}
	return !differ;
}

static u32 count_equal(const __be64 *words, u32 count, __be64 word)
{
	u32 n = 0;

	while (n + AT_ONCE <= count && are_equal(words + n, word))
		n += AT_ONCE;
	while (n < count && READ_ONCE(words[n]) == word)
		n++;
	return n;
}

static u32 count_rising(const __be64 *words, u32 count, u64 word, u64 step)
{
	u32 n = 0;

	while (n < count && READ_ONCE(words[n]) == cpu_to_be64(word)) {
		word += step;
		n++;
	}
	return n;
}

static void set_equal(__be64 *words, __be64 word)
{
#pragma GCC unroll 8
	for (u32 i = 0; i < AT_ONCE; i++)
		WRITE_ONCE(words[i], word);
}

u32 qcow2_mpage_count_alike(const struct qcow2_geometry *g, const struct qcow2_mpage *p, u32 slot,
			    u32 count, struct qcow2_l2_entry e, u64 step)
{
	const __be64 *words = qcow2_mpage_entries(p) + slot;
	struct qcow2_l2_entry other;
	u32 n;

	if (!qcow2_has_subclusters(g))
		return step ? count_rising(words, count, e.word, step) :
			      count_equal(words, count, cpu_to_be64(e.word));
	for (n = 0; n < count; n++, e.word += step)
		if (!qcow2_mpage_l2_entry(g, p, slot + n, &other) || !qcow2_l2_is_equal(other, e))
			break;
	return n;
}

void qcow2_mpage_set_alike(const struct qcow2_geometry *g, struct qcow2_mpage *p, u32 slot,
			   u32 count, struct qcow2_l2_entry e)
{
	__be64 *words = qcow2_mpage_entries(p) + slot, word = cpu_to_be64(e.word);

	if (qcow2_has_subclusters(g)) {
		while (count--)
			qcow2_mpage_set_l2_entry(g, p, slot++, e);
		return;
	}
	for (; count >= AT_ONCE; count -= AT_ONCE, words += AT_ONCE)
		set_equal(words, word);
	while (count--)
		WRITE_ONCE(*words++, word);
}
