// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the tables are, all of them: before clusters are written to, zeroed, or
 * given back to the host, on the word of an image that may be damaged.
 *
 * This reads the whole L1 and refcount table: once for the entries of an L2 page,
 * when the first of its clusters is written to in place, and once for what is
 * prepared or freed at a time. Tables that come later lie in clusters that were
 * prepared; qcow2_is_cached_table() knows them as long as they are cached. Before the
 * refcount table moves, its new place counts as a table and pages are verified again.
 */
#include <linux/bsearch.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "image.h"
#include "overlap.h"

struct overlap_check {
	bool (*is_bad)(u64 cluster, const void *arg);
	const void *arg;
};

static int check_cluster(struct qcow2_image *img, const struct overlap_check *c, u64 host_off)
{
	if (!c->is_bad(host_off >> img->geo.cluster_bits, c->arg))
		return 0;
	return qcow2_corrupt(img, "free or data cluster is metadata", host_off);
}

static int check_range(struct qcow2_image *img, const struct overlap_check *c, u64 host_off,
		       u64 bytes)
{
	int err = 0;

	for (u64 off = 0; off < bytes && !err; off += qcow2_cluster_bytes(&img->geo)) {
		err = check_cluster(img, c, host_off + off);
		cond_resched();
	}
	return err;
}

/*
 * Nobody may ever need what a misplaced refcount block would count, but QEMU takes the
 * image for corrupt as soon as it meets one. An L2 table is of no harm before it is used.
 */
static int check_entry(struct qcow2_image *img, const struct overlap_check *c,
		       enum qcow2_meta_kind kind, u64 entry)
{
	u64 host_off = kind == QCOW2_META_REFTABLE ? qcow2_reftable_offset(entry) :
						     qcow2_entry_offset(entry);

	if (!host_off)
		return 0;
	if (kind == QCOW2_META_REFTABLE && qcow2_in_cluster(&img->geo, host_off))
		return qcow2_corrupt(img, "misplaced refcount block", host_off);
	return check_cluster(img, c, host_off);
}

/* The tables that the entries of a page of an L1 or refcount table point at. */
static int check_page(struct qcow2_image *img, const struct overlap_check *c,
		      enum qcow2_meta_kind kind, u64 index, u64 count)
{
	struct qcow2_mpage *p;
	int err = 0;

	p = qcow2_mpage_get(img, kind, index);
	if (IS_ERR(p))
		return PTR_ERR(p);
	for (u32 slot = 0; slot < count && !err; slot++)
		err = check_entry(img, c, kind, qcow2_mpage_entry(p, slot));
	qcow2_mpage_put(p);
	return err;
}

static int check_entries(struct qcow2_image *img, const struct overlap_check *c,
			 enum qcow2_meta_kind kind, u64 entries)
{
	u64 per_page = BIT_ULL(img->geo.entry_bits);
	int err = 0;

	for (u64 first = 0; first < entries && !err; first += per_page) {
		err = check_page(img, c, kind, first >> img->geo.entry_bits,
				 min(entries - first, per_page));
		cond_resched();
	}
	return err;
}

static int walk_tables(struct qcow2_image *img, const struct overlap_check *c)
{
	lockdep_assert_held(&img->cache.walk_lock);
	return check_cluster(img, c, 0) ?:
	       check_range(img, c, img->geo.l1_offset, (u64)img->geo.l1_size * QCOW2_ENTRY_BYTES) ?:
	       check_range(img, c, img->reftable_offset,
			   (u64)img->reftable_clusters << img->geo.cluster_bits) ?:
	       check_range(img, c, img->place_offset, img->place_bytes) ?:
	       check_entries(img, c, QCOW2_META_L1, img->geo.l1_size) ?:
	       check_entries(img, c, QCOW2_META_REFTABLE, qcow2_reftable_entries(img));
}

int qcow2_check_tables(struct qcow2_image *img, bool (*is_bad)(u64 cluster, const void *arg),
		       const void *arg)
{
	const struct overlap_check c = { is_bad, arg };
	int err;

	mutex_lock(&img->cache.walk_lock);
	err = walk_tables(img, &c);
	mutex_unlock(&img->cache.walk_lock);
	return err;
}

/**
 * struct targets - what the entries of a page point at
 * @count: number of clusters
 * @clusters: sorted
 */
struct targets {
	u32 count;
	u64 clusters[];
};

static int compare_clusters(const void *a, const void *b)
{
	u64 x = *(const u64 *)a;
	u64 y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static bool is_target(u64 cluster, const void *arg)
{
	const struct targets *t = arg;

	/* Most tables are far away from what one page points at. */
	if (cluster < t->clusters[0] || cluster > t->clusters[t->count - 1])
		return false;
	return bsearch(&cluster, t->clusters, t->count, sizeof(cluster), compare_clusters);
}

/* Data that a write goes to, in place or in a copy that lets the old cluster go. */
static void collect_targets(struct qcow2_image *img, const struct qcow2_mpage *p, struct targets *t)
{
	enum qcow2_entry_type type;
	u64 entry;

	t->count = 0;
	for (u32 slot = 0; slot < BIT(img->geo.entry_bits); slot++) {
		entry = qcow2_mpage_entry(p, slot);
		type = qcow2_entry_type(&img->geo, entry);
		if (type == QCOW2_ENTRY_DATA || type == QCOW2_ENTRY_SHARED)
			t->clusters[t->count++] =
				qcow2_entry_offset(entry) >> img->geo.cluster_bits;
	}
	sort(t->clusters, t->count, sizeof(*t->clusters), compare_clusters, NULL);
}

int qcow2_verify_page(struct qcow2_image *img, struct qcow2_mpage *p)
{
	struct overlap_check c = { is_target };
	struct targets *t;
	int err = 0;

	t = kmalloc(struct_size(t, clusters, BIT(img->geo.entry_bits)), GFP_NOIO);
	if (!t)
		return -ENOMEM;
	c.arg = t;
	mutex_lock(&img->cache.walk_lock);
	/* Whoever held the lock may have walked for the same page. */
	if (test_bit(QCOW2_MPAGE_VERIFIED, &p->flags))
		goto unlock;
	collect_targets(img, p, t);
	err = t->count ? walk_tables(img, &c) : 0;
	if (!err)
		set_bit(QCOW2_MPAGE_VERIFIED, &p->flags);
unlock:
	mutex_unlock(&img->cache.walk_lock);
	kfree(t);
	return err;
}
