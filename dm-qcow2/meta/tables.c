// SPDX-License-Identifier: GPL-2.0-only
/*
 * The index of tables: all host clusters of an image that hold metadata.
 *
 *	filter	| 0 1 0 0 1 0 0 ... |	by cluster, modulo its size
 *	slots	| c - - c GONE c ... |	by a keyed hash of the cluster; one that is taken sends
 *					on to the next, up to one that is EMPTY
 *
 * It holds the header, the L1 and the refcount table, and every L2 table and refcount block that
 * they point at, used or not. It is made from the two tables as they are on disk, by large reads
 * past the cache. That is what they were at activation: to change them takes clusters that were
 * prepared, and none is prepared without the index.
 *
 * Nine bytes a slot, of which up to three quarters are taken: some 20 bytes a table. The two
 * tables have 40 MiB at most, so 5 million entries, so 72 MiB is all that an image can make of it.
 */
#include <linux/log2.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "tables.h"

#define MIN_SLOTS	512ULL

/* Bits of the filter for each slot. */
#define FILTER_BITS	8ULL

#define MAX_READ	SZ_1M

/* Values of slots beside (cluster + 1) << 1 */
#define EMPTY		0ULL
#define GONE		1ULL

/* A bit of the others: it was added more than once, so nobody knows when it could go. */
#define MANY		1ULL

/* Until there is an index: sends all look-ups to where that is noticed. */
static struct qcow2_tables not_made = { .filter = { 1 } };

static u64 value_of(u64 cluster)
{
	return (cluster + 1) << 1;
}

static u64 cluster_of(u64 value)
{
	return (value >> 1) - 1;
}

/* The slot that has the cluster, or the empty one that would. */
static u64 *find_slot(const struct qcow2_tables *t, u64 cluster, u64 *value)
{
	u64 *slot;

	for (u64 i = siphash_1u64(cluster, &t->key);; i++) {
		slot = &t->slots[i & t->slot_mask];
		*value = READ_ONCE(*slot);
		if (*value == EMPTY || (*value & ~MANY) == value_of(cluster))
			return slot;
	}
}

static bool has_cluster(const struct qcow2_tables *t, u64 cluster)
{
	u64 value;

	if (!test_bit(cluster & t->filter_mask, t->filter))
		return false;
	find_slot(t, cluster, &value);
	return value != EMPTY;
}

/*
 * The first cluster of some that may be metadata, or their end. A trim looks at all clusters of a disk, of which hardly any
 * has a bit.
 */
static u64 next_candidate(const struct qcow2_tables *t, u64 cluster, u64 end)
{
	u64 bit, stop, found;

	while (cluster < end) {
		bit = cluster & t->filter_mask;
		stop = min(bit + end - cluster, t->filter_mask + 1);
		found = find_next_bit(t->filter, stop, bit);
		cluster += found - bit;
		if (found < stop)
			break;
	}
	return cluster;
}

static u64 find_in(const struct qcow2_tables *t, u64 cluster, u64 end)
{
	while ((cluster = next_candidate(t, cluster, end)) < end && !has_cluster(t, cluster))
		cluster++;
	return cluster;
}

u64 qcow2_tables_find(const struct qcow2_image *img, u64 first, u64 count)
{
	return find_in(qcow2_tables(&img->cache), first, first + count);
}

bool qcow2_is_table(const struct qcow2_image *img, u64 cluster)
{
	return has_cluster(qcow2_tables(&img->cache), cluster);
}

/* Others may look up meanwhile. There is room. */
static void put(struct qcow2_tables *t, u64 value)
{
	u64 cluster = cluster_of(value);
	u64 old;
	u64 *slot = find_slot(t, cluster, &old);

	if (old != EMPTY) {
		WRITE_ONCE(*slot, old | MANY);
		return;
	}
	WRITE_ONCE(*slot, value);
	t->nr_used++;
	set_bit(cluster & t->filter_mask, t->filter);
}

static void take_out(struct qcow2_tables *t, u64 cluster)
{
	u64 value;
	u64 *slot = find_slot(t, cluster, &value);

	if (value == EMPTY || value & MANY)
		return;
	WRITE_ONCE(*slot, GONE);
	t->nr_gone++;
}

static struct qcow2_tables *alloc_tables(u64 slots)
{
	u64 filter_bytes = slots * FILTER_BITS / BITS_PER_BYTE;
	struct qcow2_tables *t;

	t = kvzalloc(sizeof(*t) + filter_bytes + slots * sizeof(*t->slots),
		     GFP_NOIO | __GFP_NOWARN);
	if (!t)
		return NULL;
	t->filter_mask = slots * FILTER_BITS - 1;
	t->slot_mask = slots - 1;
	t->slots = (void *)t->filter + filter_bytes;
	get_random_bytes(&t->key, sizeof(t->key));
	return t;
}

static bool has_room(const struct qcow2_tables *t, u64 want)
{
	return t->nr_used + want <= (t->slot_mask + 1) / 4 * 3;
}

/* Half of the slots are for later at least, so this is seldom done. */
static struct qcow2_tables *enlarge(const struct qcow2_tables *old, u64 want)
{
	u64 clusters = old->nr_used - old->nr_gone + want;
	struct qcow2_tables *t;

	t = alloc_tables(max(roundup_pow_of_two(2 * clusters), MIN_SLOTS));
	for (u64 i = 0; t && i <= old->slot_mask; i++) {
		if (old->slots[i] & ~MANY)
			put(t, old->slots[i]);
		if (!(i % SZ_1K))
			cond_resched();
	}
	return t;
}

/**
 * struct making - an index that is being made
 * @img: the image
 * @t: the index so far; nobody else knows it
 * @buf: for entries
 * @buf_bytes: its size
 */
struct making {
	struct qcow2_image *img;
	struct qcow2_tables *t;
	void *buf;
	u32 buf_bytes;
};

static int add_cluster(struct making *m, u64 cluster)
{
	struct qcow2_tables *t;

	if (!has_room(m->t, 1)) {
		t = enlarge(m->t, 1);
		if (!t)
			return -ENOMEM;
		kvfree(m->t);
		m->t = t;
	}
	put(m->t, value_of(cluster));
	return 0;
}

static int add_bytes(struct making *m, u64 host_off, u64 bytes)
{
	unsigned int bits = m->img->geo.cluster_bits;
	int err = 0;

	for (u64 off = 0; off < bytes && !err; off += BIT_ULL(bits))
		err = add_cluster(m, (host_off + off) >> bits);
	return err;
}

/*
 * Nobody may ever need what a misplaced refcount block would count, but QEMU takes the
 * image for corrupt as soon as it meets one. An L2 table is of no harm before it is used.
 */
static int add_table(struct making *m, enum qcow2_meta_kind kind, u64 entry)
{
	struct qcow2_image *img = m->img;
	u64 host_off = kind == QCOW2_META_REFTABLE ? qcow2_reftable_offset(entry) :
						     qcow2_entry_offset(entry);

	if (!host_off)
		return 0;
	if (kind == QCOW2_META_REFTABLE && qcow2_in_cluster(&img->geo, host_off))
		return qcow2_corrupt(img, "misplaced refcount block", host_off);
	return add_cluster(m, host_off >> img->geo.cluster_bits);
}

static int add_entries(struct making *m, enum qcow2_meta_kind kind, u64 count)
{
	const __be64 *entries = m->buf;
	int err = 0;

	for (u64 i = 0; i < count && !err; i++) {
		if (entries[i])
			err = add_table(m, kind, be64_to_cpu(entries[i]));
		if (!(i % SZ_1K))
			cond_resched();
	}
	return err;
}

/* The last page of metadata is inside of the image, with what lies behind the last entry. */
static int read_entries(struct making *m, u64 host_off, u64 count)
{
	const struct qcow2_iovec vec = {
		.host_off = host_off,
		.buf = m->buf,
		.bytes = round_up(count * QCOW2_ENTRY_BYTES, qcow2_page_bytes(&m->img->geo)),
	};

	/* Whatever the host says: "no space" would be something else. */
	return qcow2_file_rw(&m->img->file, REQ_OP_READ, &vec, 1) ? -EIO : 0;
}

static int add_all(struct making *m, enum qcow2_meta_kind kind, u64 host_off, u64 entries)
{
	u64 count;
	int err = 0;

	for (u64 i = 0; i < entries && !err; i += count) {
		count = min_t(u64, entries - i, m->buf_bytes / QCOW2_ENTRY_BYTES);
		err = read_entries(m, host_off + i * QCOW2_ENTRY_BYTES, count) ?:
		      add_entries(m, kind, count);
	}
	return err;
}

/* As large as the larger table, if that can be had without an effort. */
static int alloc_buf(struct making *m)
{
	u64 entries = max_t(u64, m->img->geo.l1_size, qcow2_reftable_entries(m->img));
	u64 bytes = roundup_pow_of_two(entries * QCOW2_ENTRY_BYTES);
	gfp_t gfp = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN;
	u32 min_bytes = qcow2_page_bytes(&m->img->geo);

	for (bytes = clamp_t(u64, bytes, min_bytes, MAX_READ); bytes >= min_bytes; bytes /= 2) {
		m->buf = kmalloc(bytes, gfp);
		m->buf_bytes = bytes;
		if (m->buf)
			return 0;
	}
	return -ENOMEM;
}

static int fill_index(struct making *m)
{
	const struct qcow2_image *img = m->img;
	u64 l1_bytes = (u64)img->geo.l1_size * QCOW2_ENTRY_BYTES;
	u64 reftable_entries = qcow2_reftable_entries(img);

	return add_cluster(m, 0) ?:
	       add_bytes(m, img->geo.l1_offset, l1_bytes) ?:
	       add_bytes(m, img->reftable_offset, reftable_entries * QCOW2_ENTRY_BYTES) ?:
	       add_all(m, QCOW2_META_L1, img->geo.l1_offset, img->geo.l1_size) ?:
	       add_all(m, QCOW2_META_REFTABLE, img->reftable_offset, reftable_entries);
}

static int make_index(struct qcow2_image *img)
{
	struct making m = { .img = img };
	int err;

	err = alloc_buf(&m);
	if (err)
		return err;
	m.t = alloc_tables(MIN_SLOTS);
	err = m.t ? fill_index(&m) : -ENOMEM;
	kfree(m.buf);
	if (err) {
		kvfree(m.t);
		return err;
	}
	rcu_assign_pointer(img->cache.tables, m.t);
	return 0;
}

bool qcow2_tables_are_known(const struct qcow2_image *img)
{
	return rcu_access_pointer(img->cache.tables) != &not_made;
}

static struct qcow2_tables *locked_tables(struct qcow2_image *img)
{
	return rcu_dereference_protected(img->cache.tables,
					 lockdep_is_held(&img->cache.tables_lock));
}

static int load_locked(struct qcow2_image *img)
{
	return locked_tables(img) == &not_made ? make_index(img) : 0;
}

int qcow2_tables_load(struct qcow2_image *img)
{
	int err;

	mutex_lock(&img->cache.tables_lock);
	err = load_locked(img);
	mutex_unlock(&img->cache.tables_lock);
	return err;
}

int qcow2_tables_check(struct qcow2_image *img, u64 first, u64 count)
{
	u64 found;
	int err;

	mutex_lock(&img->cache.tables_lock);
	err = load_locked(img);
	if (!err) {
		found = find_in(locked_tables(img), first, first + count);
		if (unlikely(found < first + count))
			err = qcow2_corrupt(img, "free or data cluster is metadata",
					    found << img->geo.cluster_bits);
	}
	mutex_unlock(&img->cache.tables_lock);
	return err;
}

static void free_tables(struct rcu_head *rcu)
{
	kvfree(container_of(rcu, struct qcow2_tables, rcu));
}

static int make_room(struct qcow2_image *img, u64 want)
{
	struct qcow2_tables *old = locked_tables(img);
	struct qcow2_tables *t;

	if (has_room(old, want))
		return 0;
	t = enlarge(old, want);
	if (!t)
		return -ENOMEM;
	rcu_assign_pointer(img->cache.tables, t);
	call_srcu(&img->inflight, &old->rcu, free_tables);
	return 0;
}

int qcow2_tables_add(struct qcow2_image *img, u64 first, u64 count)
{
	int err;

	mutex_lock(&img->cache.tables_lock);
	err = load_locked(img) ?: make_room(img, count);
	for (u64 i = 0; i < count && !err; i++)
		put(locked_tables(img), value_of(first + i));
	mutex_unlock(&img->cache.tables_lock);
	return err;
}

void qcow2_tables_remove(struct qcow2_image *img, u64 first, u64 count)
{
	mutex_lock(&img->cache.tables_lock);
	for (u64 i = 0; i < count; i++)
		take_out(locked_tables(img), first + i);
	mutex_unlock(&img->cache.tables_lock);
}

void qcow2_tables_forget(struct qcow2_image *img)
{
	struct qcow2_tables *t;

	mutex_lock(&img->cache.tables_lock);
	t = locked_tables(img);
	RCU_INIT_POINTER(img->cache.tables, &not_made);
	mutex_unlock(&img->cache.tables_lock);
	if (t != &not_made)
		kvfree(t);
}

void qcow2_tables_init(struct qcow2_image *img)
{
	mutex_init(&img->cache.tables_lock);
	RCU_INIT_POINTER(img->cache.tables, &not_made);
}
