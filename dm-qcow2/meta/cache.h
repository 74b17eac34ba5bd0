/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cache of metadata pages: L1, L2, refcount table, refcount blocks.
 *
 * A page holds min(4 KiB, cluster) of one table. L2 and refcount pages exist in
 * the cache also for tables that are not allocated yet (@host_off is 0): they
 * are all zeroes and never dirty, so that a hole is found as fast as data.
 *
 * Life of a page:
 *
 *   load (table mutex) --> clean <--------------------+
 *                            |  entry changed          |
 *                            v                         | barrier done
 *                          DIRTY --> DIRTY|WRITEBACK --+   (snapshot clears
 *                            ^        snapshot written      DIRTY)
 *                            +--- entry changed again
 *
 * Only a clean page with no other reference is evicted. The hot path finds pages
 * under RCU and reads an entry without taking a reference or a lock; whoever
 * changes an entry holds a reference, so that the page is not evicted under it,
 * and the page's lock.
 *
 * Lock order: table mutex of an L2 or refcount-block page -> table mutex of an L1 or
 * refcount-table page -> page lock -> ready-space lock or dirty lock; the LRU lock and the
 * lock of the index of tables nest in a table mutex and in nothing else.
 */
#ifndef DM_QCOW2_CACHE_H
#define DM_QCOW2_CACHE_H

#include <linux/cache.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "format/l2-entry.h"

struct qcow2_image;
struct qcow2_tables;
struct shrinker;

/**
 * enum qcow2_meta_kind - what a page is a piece of
 * @QCOW2_META_L1: L1 table, keyed by L1 index
 * @QCOW2_META_REFTABLE: refcount table, keyed by refcount-block index
 * @QCOW2_META_L2: L2 tables, keyed by guest offset
 * @QCOW2_META_REFBLOCK: refcount blocks, keyed by host cluster
 * @QCOW2_NR_META_KINDS: how many there are
 */
enum qcow2_meta_kind {
	QCOW2_META_L1,
	QCOW2_META_REFTABLE,
	QCOW2_META_L2,
	QCOW2_META_REFBLOCK,
	QCOW2_NR_META_KINDS,
};

/* Tables that map guest offsets: written by a commit, the others by space.c. */
static inline bool qcow2_meta_is_mapping(enum qcow2_meta_kind kind)
{
	return kind == QCOW2_META_L1 || kind == QCOW2_META_L2;
}

/* Bits of qcow2_mpage.flags */
enum {
	QCOW2_MPAGE_REFERENCED,	/* used since the eviction scan last came by */
	QCOW2_MPAGE_DIRTY,	/* differs from the disk; changed under @lock */
	QCOW2_MPAGE_WRITEBACK,	/* a snapshot is written but not yet durable */
	QCOW2_MPAGE_SHARED,	/* L2 table without COPIED: must not be changed */
};

/**
 * struct qcow2_mpage - a page of metadata
 * @flags: QCOW2_MPAGE_* bits
 * @data: the page; entries change under @lock, whole words at a time; of two words with @seq.
 *	An L1 page that is all zeroes shares qcow2_zeroes() until qcow2_mpage_own_data(), which
 *	changes this under @lock.
 * @host_off: where it is on disk; 0 while the table is not allocated. Set once,
 *	under the table's mutex.
 * @index: key in the xarray of its kind
 * @refs: one for the cache, one for each user and each list of dirty pages
 * @lock: serialises changes of entries and of the dirty bit
 * @seq: odd while an entry of two words changes; under @lock
 * @kind: enum qcow2_meta_kind
 * @data_seq: newest copied-data sequence number that an entry depends on: the
 *	data must be durable before this page is written; under @lock
 * @lru: in qcow2_cache.lru, under its lock
 * @dirty: in qcow2_cache.dirty[@kind], under its dirty lock
 * @writeback: in the list of a qcow2_writeback() under way
 * @rcu: delays the release for readers of the hot path
 */
struct qcow2_mpage {
	unsigned long flags;
	void *data;
	u64 host_off;
	u64 index;
	refcount_t refs;
	spinlock_t lock;
	seqcount_t seq;
	u8 kind;
	u64 data_seq;

	/* Written on behalf of other pages, so not beside what look-ups read. */
	struct list_head lru ____cacheline_aligned_in_smp;
	struct list_head dirty;
	struct list_head writeback;
	struct rcu_head rcu;
};

#define QCOW2_TABLE_MUTEXES	16

/* At most; a power of two. */
#define QCOW2_RECENT_PAGES	1024

/* Work on new tables is under way for so many at once, as a rule. */
#define QCOW2_NEW_TABLES	2

/* Of an L2 table, at most. */
#define QCOW2_MAX_TABLE_PAGES	(1 << (QCOW2_MAX_CLUSTER_BITS - QCOW2_MAX_PAGE_BITS))

/**
 * struct qcow2_new_table - an L2 table whose pages are zeroes on disk but for those that were ever cached
 * @number: its index, plus 1; 0: there is none
 * @cached: the pages that are in the cache, or were since the table got its place
 */
struct qcow2_new_table {
	u64 number;
	DECLARE_BITMAP(cached, QCOW2_MAX_TABLE_PAGES);
};

/**
 * struct qcow2_cache - all metadata pages of an image
 * @recent: L2 pages by the low bits of their index, the latest of each: spares
 *	most look-ups the way through @pages. RCU for look-ups, @lru_lock for changes.
 * @recent_mask: which bits these are
 * @tables: where all metadata is, see tables.h; RCU in a domain of its own,
 *	qcow2_image.inflight, for look-ups, @tables_lock for changes
 * @hits: look-ups of the hot path that found their page, per CPU
 * @limit: number of pages that the cache may hold
 * @shrinker: gives clean pages back under memory pressure
 * @pages: the pages by kind and index; RCU for look-ups, @lru_lock for changes
 * @owners: host clusters of which pages are here, as an L2 table or refcount block; the
 *	value tells which table. Under @lru_lock.
 * @table_mutex: serialise loading and allocating of tables, hashed by table; one
 *	set for L1 and refcount table, one for what they point at
 * @lru_lock: protects @lru, @nr_pages, and insertion and removal
 * @lru: all pages, oldest first
 * @nr_pages: number of pages
 * @new_tables: the latest ones; under @lru_lock
 * @next_new: which of them is the oldest
 * @tables_lock: held while the index of tables is made or changed
 * @dirty_lock: protects @dirty and @nr_dirty
 * @dirty: dirty pages by kind
 * @nr_dirty: number of dirty L1 and L2 pages
 * @wait: woken when pages become clean
 * @misses: look-ups that had to load a page
 */
struct qcow2_cache {
	/* Every request reads these on every CPU; none is written while there is I/O. */
	struct qcow2_mpage __rcu **recent;
	unsigned long recent_mask;
	struct qcow2_tables __rcu *tables;
	unsigned long __percpu *hits;
	unsigned long limit;
	struct shrinker *shrinker;

	struct xarray pages[QCOW2_NR_META_KINDS] ____cacheline_aligned_in_smp;
	struct xarray owners;
	struct mutex table_mutex[2][QCOW2_TABLE_MUTEXES];
	spinlock_t lru_lock;
	struct list_head lru;
	unsigned long nr_pages;
	struct qcow2_new_table new_tables[QCOW2_NEW_TABLES];
	unsigned int next_new;
	struct mutex tables_lock;
	spinlock_t dirty_lock;
	struct list_head dirty[QCOW2_NR_META_KINDS];
	unsigned long nr_dirty;
	wait_queue_head_t wait;
	atomic_long_t misses;
};

/**
 * qcow2_cache_init - make an empty cache
 * @img: the image; its geometry is set
 * @cache_mb: limit in MiB
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check qcow2_cache_init(struct qcow2_image *img, u32 cache_mb);

/**
 * qcow2_cache_set_limit - limit a cache by its image's geometry
 * @img: the image; its geometry is set
 * @cache_mb: limit in MiB
 */
void qcow2_cache_set_limit(struct qcow2_image *img, u32 cache_mb);

/**
 * qcow2_cache_exit - undo qcow2_cache_init(); the cache is dropped
 * @img: the image
 */
void qcow2_cache_exit(struct qcow2_image *img);

/**
 * qcow2_cache_drop - forget all pages, dirty ones too
 * @img: the image; no I/O is under way and no thread of it works
 */
void qcow2_cache_drop(struct qcow2_image *img);

/**
 * qcow2_cache_forget - drop the pages of one kind
 * @img: the image
 * @kind: nobody uses pages of it, and none is dirty
 */
void qcow2_cache_forget(struct qcow2_image *img, enum qcow2_meta_kind kind);

/**
 * qcow2_mpage_find - the hot path's look-up
 * @img: the image
 * @kind: what is looked for
 * @index: its key
 *
 * Context: RCU read side. Never sleeps, writes nothing that another CPU reads.
 *
 * Return: the page, without a reference, or NULL.
 */
struct qcow2_mpage *qcow2_mpage_find(struct qcow2_image *img, enum qcow2_meta_kind kind,
				     u64 index);

/**
 * qcow2_mpage_tryget - take a reference to a page found under RCU
 * @p: the page
 *
 * Return: false when the page is being evicted.
 */
static inline bool qcow2_mpage_tryget(struct qcow2_mpage *p)
{
	return refcount_inc_not_zero(&p->refs);
}

/**
 * qcow2_mpage_get - find or load a page
 * @img: the image
 * @kind: what is wanted
 * @index: its key
 *
 * Context: our own threads; sleeps for I/O and for room in the cache.
 *
 * Return: the page with a reference, or an ERR_PTR: -EUCLEAN when the table
 * lies where no table can be, -EIO, -ENOMEM.
 */
struct qcow2_mpage *__must_check qcow2_mpage_get(struct qcow2_image *img,
						 enum qcow2_meta_kind kind, u64 index);

/**
 * qcow2_mpage_put - drop a reference
 * @p: the page
 */
void qcow2_mpage_put(struct qcow2_mpage *p);

/**
 * qcow2_mpage_mark_dirty - announce a change of an entry
 * @img: the image
 * @p: the page; its lock and a reference are held, its table is allocated
 *
 * Called before the entry is changed, so that a lockless reader who sees the new
 * entry and then no dirty bit knows that the entry is durable.
 */
void qcow2_mpage_mark_dirty(struct qcow2_image *img, struct qcow2_mpage *p);

/**
 * qcow2_mpage_is_durable - are all entries seen in this page on disk?
 * @p: the page, found before the entries were read
 */
static inline bool qcow2_mpage_is_durable(const struct qcow2_mpage *p)
{
	smp_rmb(); /* pairs with smp_wmb() in qcow2_mpage_mark_dirty() */
	return !(READ_ONCE(p->flags) &
		 (BIT(QCOW2_MPAGE_DIRTY) | BIT(QCOW2_MPAGE_WRITEBACK)));
}

/**
 * qcow2_table_attach - give a table that was just allocated its place
 * @img: the image
 * @kind: QCOW2_META_L2 or QCOW2_META_REFBLOCK
 * @table: index of the table: its L1 or refcount-table index
 * @host_off: where it is; reads as zero, durably
 *
 * Context: the table's mutex is held.
 *
 * Return: 0, -ENOMEM, or -EUCLEAN when the cluster is known as another table.
 */
int __must_check qcow2_table_attach(struct qcow2_image *img, enum qcow2_meta_kind kind,
				    u64 table, u64 host_off);

/**
 * qcow2_table_mutex - the mutex of a table
 * @img: the image
 * @kind: the kind of its pages
 * @table: index of the table
 */
struct mutex *qcow2_table_mutex(struct qcow2_image *img, enum qcow2_meta_kind kind,
				u64 table);

/* A page for all that is zero; never written. */
static inline void *qcow2_zeroes(void)
{
	return page_address(ZERO_PAGE(0));
}

/**
 * qcow2_mpage_own_data - make the entries of an L1 page writable
 * @img: the image
 * @p: the page, with a reference
 *
 * Context: sleeps. Return: 0 or -ENOMEM.
 */
int __must_check qcow2_mpage_own_data(struct qcow2_image *img, struct qcow2_mpage *p);

static inline __be64 *qcow2_mpage_entries(const struct qcow2_mpage *p)
{
	return READ_ONCE(p->data);
}

static inline u64 qcow2_mpage_entry(const struct qcow2_mpage *p, u32 slot)
{
	return be64_to_cpu(READ_ONCE(qcow2_mpage_entries(p)[slot]));
}

/**
 * qcow2_mpage_set_entry - change an entry
 * @img: the image
 * @p: the page; as for qcow2_mpage_mark_dirty(), which is called
 * @slot: number of the entry in the page
 * @entry: what it becomes
 */
static inline void qcow2_mpage_set_entry(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot,
					 u64 entry)
{
	qcow2_mpage_mark_dirty(img, p);
	WRITE_ONCE(qcow2_mpage_entries(p)[slot], cpu_to_be64(entry));
}

/**
 * qcow2_mpage_extended - read an extended L2 entry
 * @p: the page, of an image with subclusters
 * @slot: number of the entry in the page
 * @e: set to both words
 *
 * Any context; never waits.
 *
 * Return: false when the words are not of one instant, as somebody is changing an entry of the
 * page; never with the page's lock held.
 */
static inline bool qcow2_mpage_extended(const struct qcow2_mpage *p, u32 slot,
					struct qcow2_l2_entry *e)
{
	const __be64 *words = qcow2_mpage_entries(p) + 2 * slot;
	unsigned int seq = raw_read_seqcount(&p->seq);

	e->word = be64_to_cpu(READ_ONCE(words[0]));
	e->bitmap = be64_to_cpu(READ_ONCE(words[1]));
	return !read_seqcount_retry(&p->seq, seq) && !(seq & 1);
}

/**
 * qcow2_mpage_l2_entry - read an L2 entry of either kind
 * @g: the geometry
 * @p: the page
 * @slot: number of the entry in the page
 * @e: set to the entry
 *
 * As qcow2_mpage_extended().
 */
static inline bool qcow2_mpage_l2_entry(const struct qcow2_geometry *g,
					const struct qcow2_mpage *p, u32 slot,
					struct qcow2_l2_entry *e)
{
	if (qcow2_has_subclusters(g))
		return qcow2_mpage_extended(p, slot, e);
	*e = (struct qcow2_l2_entry) { .word = qcow2_mpage_entry(p, slot) };
	return true;
}

/**
 * qcow2_mpage_set_l2_entry - change an L2 entry of either kind
 * @g: the geometry
 * @p: the page, with its lock held and marked dirty
 * @slot: number of the entry in the page
 * @e: what it becomes
 */
static inline void qcow2_mpage_set_l2_entry(const struct qcow2_geometry *g, struct qcow2_mpage *p,
					    u32 slot, struct qcow2_l2_entry e)
{
	__be64 *entries = qcow2_mpage_entries(p);

	if (!qcow2_has_subclusters(g)) {
		WRITE_ONCE(entries[slot], cpu_to_be64(e.word));
		return;
	}
	raw_write_seqcount_begin(&p->seq);
	WRITE_ONCE(entries[2 * slot], cpu_to_be64(e.word));
	WRITE_ONCE(entries[2 * slot + 1], cpu_to_be64(e.bitmap));
	raw_write_seqcount_end(&p->seq);
}

/**
 * qcow2_mpage_count_alike - how many L2 entries are alike
 * @g: the geometry
 * @p: the page
 * @slot: number of the first entry in the page
 * @count: how many to look at, all of the page
 * @e: what the first one is compared with
 * @step: how much larger the word of each next one is to be
 *
 * As qcow2_mpage_extended(): a pair that is not known is another one.
 *
 * Return: how many from @slot on are so.
 */
u32 qcow2_mpage_count_alike(const struct qcow2_geometry *g, const struct qcow2_mpage *p, u32 slot,
			    u32 count, struct qcow2_l2_entry e, u64 step);

/**
 * qcow2_mpage_set_alike - change L2 entries in a row to the same
 * @g: the geometry
 * @p: the page; as for qcow2_mpage_set_l2_entry()
 * @slot: number of the first entry in the page
 * @count: how many
 * @e: what they become
 */
void qcow2_mpage_set_alike(const struct qcow2_geometry *g, struct qcow2_mpage *p, u32 slot,
			   u32 count, struct qcow2_l2_entry e);

#endif /* DM_QCOW2_CACHE_H */
