// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest clusters that are to read as zero: discard and write-zeroes, as changes of entries.
 *
 *	look at some entries: what they become, what they let go of	-- may fail, and sleep
 *	change them all, if they are what they were and have no fill	-- lock of page, of fills
 *	drop what they pointed at, with the next commit's number
 *
 * A write that allocates changes its entry under the lock of the page; one that copies has a fill,
 * from before it takes its first byte from elsewhere until its entry is set, and begins
 * only if the entry is what it was, under the lock of the fills. So either the change comes
 * first, and the write finds the new entry; or the write does, and the change sees a new entry, or
 * waits for the fill.
 */
#include <linux/slab.h>

#include "image/bitmaps.h"

#include "drops.h"
#include "fill.h"
#include "instant.h"
#include "test-hold.h"
#include "unmap.h"

/**
 * struct run - host clusters that lie together
 * @first: the first one
 * @count: how many
 * @is_kept: they stay allocated
 */
struct run {
	u64 first;
	u32 count;
	bool is_kept;
};

/**
 * struct chunk - entries that are changed at once
 * @change: what they become
 * @old: what they are; if they are alike, the first one
 * @step: if they are alike: how much larger the word of each next one is
 * @run: those of the latest entries
 * @dropped: struct qcow2_dropped that they let go of
 * @subclusters: of a single entry, those that change
 * @held: a bit an entry: it lets go of what is frozen, and is not to be dropped
 * @changes: some of them change
 * @may_fill: some have a host cluster, or something below: there may be a fill
 */
struct chunk {
	struct qcow2_change change;
	struct qcow2_l2_entry old[QCOW2_MAX_CHANGE];
	u64 step;
	struct run run;
	struct list_head dropped;
	u32 subclusters;
	u32 held;
	bool changes;
	bool may_fill;
};

static u64 unmapped_word(const struct qcow2_geometry *g, u64 old, const struct qcow2_unmap *how)
{
	switch (qcow2_entry_type(g, old)) {
	case QCOW2_ENTRY_UNALLOCATED:
		return how->marks_holes ? QCOW2_OFLAG_ZERO : old;
	case QCOW2_ENTRY_ZERO:
		return old;
	case QCOW2_ENTRY_COMPRESSED:
		break;
	default:
		if (!how->drops)
			return old | QCOW2_OFLAG_ZERO;
	}
	return g->version < 3 ? 0 : QCOW2_OFLAG_ZERO;
}

/* A host cluster is let go of when nothing of it can be read, and nothing shows what is below. */
static struct qcow2_l2_entry unmapped_subclusters(struct qcow2_l2_entry old,
						  const struct qcow2_unmap *how)
{
	u32 allocated = qcow2_l2_allocated(old), zero = qcow2_l2_zero(old);
	struct qcow2_l2_entry new = old;

	if (old.word & QCOW2_OFLAG_COMPRESSED)
		return (struct qcow2_l2_entry) { .bitmap = QCOW2_ALL_ZERO };
	if (!qcow2_entry_offset(old.word) && !how->marks_holes)
		return old;
	new.bitmap = qcow2_l2_bitmap(allocated & ~how->subclusters, zero | how->subclusters);
	if (new.bitmap == QCOW2_ALL_ZERO && how->drops)
		new.word = 0;
	return new;
}

static struct qcow2_l2_entry unmapped(const struct qcow2_geometry *g, struct qcow2_l2_entry old,
				      const struct qcow2_unmap *how)
{
	if (qcow2_has_subclusters(g))
		return unmapped_subclusters(old, how);
	return (struct qcow2_l2_entry) { .word = unmapped_word(g, old.word, how) };
}

static_assert(QCOW2_MAX_CHANGE <= 32, "a bit each in struct chunk");

/* What is let go of, or kept to be written to, has to be where data can be. */
static int check_clusters(struct qcow2_image *img, u64 first, u32 count)
{
	u64 last_off = (first + count - 1) << img->geo.cluster_bits;
	int srcu_idx;
	u64 found;

	if (last_off >= READ_ONCE(img->host_bytes))
		return qcow2_bad_metadata(img, "data cluster outside of the image", last_off);
	srcu_idx = qcow2_inflight_enter(img);
	found = qcow2_tables_find(img, first, count);
	qcow2_inflight_leave(img, srcu_idx);
	return found == first + count ? 0 :
	       qcow2_corrupt(img, "data cluster overlaps metadata", found << img->geo.cluster_bits);
}

static int let_go(struct chunk *c, u64 first, u32 count)
{
	struct qcow2_dropped *d;

	if (!list_empty(&c->dropped)) {
		d = list_last_entry(&c->dropped, struct qcow2_dropped, node);
		if (qcow2_dropped_join(d, first, count))
			return 0;
	}
	d = kmalloc(sizeof(*d), GFP_NOIO);
	if (!d)
		return -ENOMEM;
	*d = (struct qcow2_dropped) { .start = first, .count = count };
	list_add_tail(&d->node, &c->dropped);
	return 0;
}

static int end_run(struct qcow2_image *img, struct chunk *c)
{
	struct run run = c->run;
	int err;

	c->run.count = 0;
	err = run.count ? check_clusters(img, run.first, run.count) : 0;
	if (err || !run.count)
		return err;
	if (!run.is_kept)
		return let_go(c, run.first, run.count);
	c->change.keeps_clusters = true;
	return 0;
}

static int add_run(struct qcow2_image *img, struct chunk *c, u64 first, u32 count, bool is_kept)
{
	int err;

	if (first == c->run.first + c->run.count && is_kept == c->run.is_kept) {
		c->run.count += count;
		return 0;
	}
	err = end_run(img, c);
	c->run = (struct run) { .first = first, .count = count, .is_kept = is_kept };
	return err;
}

static u32 slot_of(const struct qcow2_image *img, const struct chunk *c, u32 i)
{
	return qcow2_l2_slot(&img->geo, (c->change.cluster + i) << img->geo.cluster_bits);
}

/* One entry that changes. */
static int plan_change(struct qcow2_image *img, const struct qcow2_mpage *p, struct chunk *c,
		       u32 i, const struct qcow2_unmap *how)
{
	struct qcow2_l2_entry old = c->old[i], new = c->change.new[i];
	u32 count;
	u64 first;

	c->changes = true;
	c->change.gives_back = how->drops;
	/* There was nothing that a write may be under way to. */
	if (qcow2_has_subclusters(&img->geo) && qcow2_entry_offset(new.word) &&
	    !(qcow2_l2_allocated(old) & ~qcow2_l2_allocated(new)))
		return 0;
	count = qcow2_entry_clusters(img, old.word, &first);
	if (count && !qcow2_entry_offset(new.word) &&
	    qcow2_instant_will_hold(img, p, slot_of(img, c, i), old.word)) {
		c->held |= BIT(i);
		return check_clusters(img, first, count);
	}
	if (count)
		return add_run(img, c, first, count, qcow2_entry_offset(new.word));
	/* In a data file the place stays the cluster's, whatever the entry says. */
	c->change.keeps_clusters |= img->geo.has_data_file;
	return 0;
}

static bool is_zero(enum qcow2_entry_type type)
{
	return type == QCOW2_ENTRY_UNALLOCATED || type == QCOW2_ENTRY_ZERO ||
	       type == QCOW2_ENTRY_ZERO_ALLOCATED;
}

static bool is_bad(const struct qcow2_geometry *g, struct qcow2_l2_entry e)
{
	return qcow2_has_subclusters(g) ? qcow2_l2_is_bad(g, e) :
					  qcow2_entry_type(g, e.word) == QCOW2_ENTRY_BAD;
}

static bool has_data(const struct qcow2_geometry *g, struct qcow2_l2_entry e,
		     const struct qcow2_unmap *how)
{
	if (qcow2_has_subclusters(g))
		return e.word & QCOW2_OFLAG_COMPRESSED ||
		       qcow2_l2_allocated(e) & how->subclusters;
	return !is_zero(qcow2_entry_type(g, e.word));
}

/* Whether a write to a cluster whose entry does not change may have begun a fill. */
static bool may_have_fill(const struct qcow2_image *img, struct qcow2_l2_entry e)
{
	if (img->geo.has_data_file)
		return true;
	if (!qcow2_has_subclusters(&img->geo))
		return qcow2_entry_type(&img->geo, e.word) == QCOW2_ENTRY_ZERO_ALLOCATED;
	return e.word || (img->base && e.bitmap != QCOW2_ALL_ZERO);
}

static int plan_entry(struct qcow2_image *img, const struct qcow2_mpage *p, struct chunk *c,
		      struct qcow2_l2_entry old, const struct qcow2_unmap *how)
{
	struct qcow2_l2_entry new = unmapped(&img->geo, old, how);
	bool changes = !qcow2_l2_is_equal(new, old);
	u32 i = c->change.count++;

	if (is_bad(&img->geo, old))
		return qcow2_corrupt(img, "L2 entry", qcow2_entry_offset(old.word));
	if (how->is_careful && has_data(&img->geo, old, how))
		return QCOW2_COW_AGAIN;
	c->old[i] = old;
	c->change.new[i] = new;
	c->may_fill |= changes || may_have_fill(img, old);
	return changes ? plan_change(img, p, c, i, how) : 0;
}

/*
 * Whether what is said of an entry is true of others like it, of which there may be thousands: holes and zeroes that are
 * the same, and data that is in one piece on the host and let go of. With fills, each would have to be
 * looked for; of what is frozen, each has a page of its own to be compared with.
 */
static bool may_be_many(const struct qcow2_image *img, struct qcow2_l2_entry e,
			const struct qcow2_unmap *how)
{
	if (READ_ONCE(img->commit->nr_fills) || e.word & QCOW2_OFLAG_COMPRESSED)
		return false;
	if (!qcow2_entry_offset(e.word))
		return true;
	return how->drops && !qcow2_has_subclusters(&img->geo) && !img->geo.has_data_file &&
	       !rcu_access_pointer(img->instant) &&
	       qcow2_entry_type(&img->geo, e.word) == QCOW2_ENTRY_DATA;
}

/* How many entries are like the first one. */
static u32 count_alike(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot, u32 count,
		       const struct qcow2_unmap *how, struct chunk *c)
{
	struct qcow2_l2_entry e = c->old[0];

	c->step = qcow2_entry_offset(e.word) ? qcow2_cluster_bytes(&img->geo) : 0;
	if (!may_be_many(img, e, how))
		return 1;
	return qcow2_mpage_count_alike(&img->geo, p, slot, count, e, c->step);
}

static void init_chunk(const struct qcow2_image *img, struct chunk *c, u64 guest_off,
		       const struct qcow2_unmap *how)
{
	c->change.cluster = guest_off >> img->geo.cluster_bits;
	c->change.count = 0;
	c->change.keeps_clusters = false;
	c->change.gives_back = false;
	c->subclusters = how->subclusters;
	c->run = (struct run) {};
	c->held = 0;
	c->changes = false;
	c->may_fill = false;
	INIT_LIST_HEAD(&c->dropped);
}

static int plan(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off, u32 clusters,
		const struct qcow2_unmap *how, struct chunk *c)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	u32 alike, count = min(clusters, QCOW2_MAX_CHANGE);
	struct qcow2_l2_entry e;
	int result;

	init_chunk(img, c, guest_off, how);
	if (!qcow2_mpage_l2_entry(&img->geo, p, slot, &c->old[0]))
		return QCOW2_COW_AGAIN;
	/* What is said of this one, as it was read here, is true of all that are like it. */
	alike = count_alike(img, p, slot, clusters, how, c);
	c->change.is_alike = alike > QCOW2_MAX_CHANGE;
	result = plan_entry(img, p, c, c->old[0], how);
	if (c->change.is_alike) {
		c->change.count = alike;
		c->run.count *= alike;
		count = 1;
	}
	for (u32 i = 1; i < count && !result; i++)
		result = qcow2_mpage_l2_entry(&img->geo, p, slot + i, &e) ?
			 plan_entry(img, p, c, e, how) : QCOW2_COW_AGAIN;
	return result ?: end_run(img, c);
}

static bool are_old(const struct qcow2_geometry *g, const struct qcow2_mpage *p, u32 slot,
		    const struct chunk *c)
{
	struct qcow2_l2_entry e;

	if (c->change.is_alike)
		return qcow2_mpage_count_alike(g, p, slot, c->change.count, c->old[0], c->step) ==
		       c->change.count;
	for (u32 i = 0; i < c->change.count; i++)
		if (!qcow2_mpage_l2_entry(g, p, slot + i, &e) || !qcow2_l2_is_equal(e, c->old[i]))
			return false;
	return true;
}

/* An instant may have begun or ended: then others are to be dropped. */
static bool is_held_as_planned(struct qcow2_image *img, const struct qcow2_mpage *p,
			       const struct chunk *c)
{
	u64 old, first;

	lockdep_assert_held(&p->lock);
	if (likely(!c->held && !rcu_access_pointer(img->instant)))
		return true;
	/* What the instant shows would be cleared, or written over, where it is. */
	if (img->geo.has_data_file)
		return !qcow2_is_frozen(img);
	if (c->change.is_alike)
		return !c->step;
	for (u32 i = 0; i < c->change.count; i++) {
		old = c->old[i].word;
		if (qcow2_entry_offset(c->change.new[i].word) ||
		    !qcow2_entry_clusters(img, old, &first))
			continue;
		if (qcow2_instant_holds(img, p, slot_of(img, c, i), old) != !!(c->held & BIT(i)))
			return false;
	}
	return true;
}

/* Whoever discards has seen to it that it is marked. */
static void record(struct qcow2_image *img, const struct chunk *c)
{
	u64 guest_off = c->change.cluster << img->geo.cluster_bits;
	u64 bytes = (u64)c->change.count << img->geo.cluster_bits;
	u32 first = __ffs(c->subclusters);

	if (c->subclusters != U32_MAX) {
		guest_off += (u64)first << img->geo.subcluster_bits;
		bytes = (u64)(__fls(c->subclusters) - first + 1) << img->geo.subcluster_bits;
	}
	qcow2_bitmaps_record_marked(img, guest_off, min(bytes, img->geo.size - guest_off));
}

/* All of them or none. */
static int change(struct qcow2_image *img, struct qcow2_mpage *p, const struct chunk *c,
		  struct qcow2_work *work)
{
	u32 slot = qcow2_l2_slot(&img->geo, c->change.cluster << img->geo.cluster_bits);
	int result = QCOW2_COW_READY, srcu_idx;

	/* Whoever freezes the disk waits for those that have not seen that. */
	srcu_idx = qcow2_inflight_enter(img);
	spin_lock(&p->lock);
	if (c->changes)
		qcow2_instant_keep_page(img, p);
	if (!are_old(&img->geo, p, slot, c) || !is_held_as_planned(img, p, c)) {
		result = QCOW2_COW_AGAIN;
	} else {
		if (c->changes)
			qcow2_mpage_mark_dirty(img, p);
		if (!qcow2_fills_change(img, p, &c->change, work))
			result = QCOW2_COW_PARKED;
	}
	spin_unlock(&p->lock);
	if (result == QCOW2_COW_READY)
		record(img, c);
	qcow2_inflight_leave(img, srcu_idx);
	return result;
}

static int unmap_some(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 clusters,
		      const struct qcow2_unmap *how, struct qcow2_work *work, u32 *done)
{
	struct chunk c;
	int result;

	result = plan(img, p, guest_off, clusters, how, &c);
	qcow2_test_hold(QCOW2_HOLD_UNMAP);
	if (!result && c.may_fill)
		result = change(img, p, &c, work);
	if (result == QCOW2_COW_READY) {
		*done = c.change.count;
		if (!list_empty(&c.dropped))
			qcow2_drop_extents(img, &c.dropped, qcow2_commit_next(img));
		return result;
	}
	qcow2_dropped_free(&c.dropped);
	if (result == QCOW2_COW_PARKED)
		qcow2_commit_kick(img);
	return result;
}

int qcow2_unmap(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 clusters,
		const struct qcow2_unmap *how, struct qcow2_work *work, u32 *done)
{
	int err;

	if (!READ_ONCE(p->host_off)) {
		*done = clusters;
		return how->marks_holes ? qcow2_table_allocate(img, p) : QCOW2_COW_READY;
	}
	if (unlikely(test_bit(QCOW2_MPAGE_SHARED, &p->flags)))
		return qcow2_bad_metadata(img, "L2 table is shared", p->host_off);
	err = qcow2_tables_are_known(img) ? 0 : qcow2_tables_load(img);
	return err ?: unmap_some(img, p, guest_off, clusters, how, work, done);
}
