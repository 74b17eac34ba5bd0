// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a guest offset to host clusters: the hot path.
 */
#include "cow/fill.h"
#include "cow/instant.h"
#include "image/base.h"
#include "space/space.h"

#include "map-internal.h"
#include "test-hold.h"
#include "test-skip.h"

const char *const qcow2_map_names[] = {
	/* Not with this length or alignment, or it is to be durable at its end. */
	[QCOW2_MAP_DATA] = "unfit",
	[QCOW2_MAP_ZERO] = "zero",
	[QCOW2_MAP_ALLOCATE] = "allocate",
	[QCOW2_MAP_MISS] = "miss",
	[QCOW2_MAP_AGAIN] = "again",
	[QCOW2_MAP_NO_CLUSTER] = "no_cluster",
	[QCOW2_MAP_BELOW] = "below",
	[QCOW2_MAP_SHARED] = "shared",
	[QCOW2_MAP_KEPT] = "kept",
	[QCOW2_MAP_FILL] = "fill",
	[QCOW2_MAP_IN_FILL] = "in_fill",
	[QCOW2_MAP_LOAD] = "load",
	[QCOW2_MAP_INFLATE] = "inflate",
	[QCOW2_MAP_TAIL] = "tail",
	[QCOW2_MAP_UNMARKED] = "unmarked",
	[QCOW2_MAP_SAVE] = "save",
};

/* What is not inside of the image: all data of one that has a data file. */
static __always_inline int map_outside(struct qcow2_image *img, u64 guest_off,
				       struct qcow2_mapping *m)
{
	if (!qcow2_has_data_file(img))
		return qcow2_bad_metadata(img, "data cluster outside of the image", m->host_off);
	if (unlikely(m->host_off != guest_off))
		return qcow2_corrupt(img, "cluster of the data file is not at its guest offset",
				     m->host_off);
	m->img = img->data;
	return QCOW2_MAP_DATA;
}

noinline int qcow2_map_check_cluster(struct qcow2_image *img, u64 cluster)
{
	if (unlikely(!qcow2_tables_are_known(img)))
		return QCOW2_MAP_MISS;
	if (likely(!qcow2_is_table(img, cluster)))
		return 0;
	return qcow2_corrupt(img, "data cluster overlaps metadata",
			     cluster << img->geo.cluster_bits);
}

static int judge(const struct qcow2_image *img, enum qcow2_entry_type type, bool is_write)
{
	switch (type) {
	case QCOW2_ENTRY_DATA:
		return QCOW2_MAP_DATA;
	case QCOW2_ENTRY_UNALLOCATED:
		if (img->base)
			return QCOW2_MAP_BELOW;
		fallthrough;
	case QCOW2_ENTRY_ZERO:
		if (unlikely(img->geo.has_data_file))
			return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_KEPT;
		return is_write ? QCOW2_MAP_ALLOCATE : QCOW2_MAP_ZERO;
	case QCOW2_ENTRY_ZERO_ALLOCATED:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_KEPT;
	case QCOW2_ENTRY_SHARED:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_SHARED;
	default:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_INFLATE;
	}
}

/*
 * How many of @want entries behind the first one go on where it ends, or are to be treated in
 * the same way where there is no data.
 */
static u32 run_length(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u32 want,
		      u64 first, int result, bool is_write)
{
	bool is_data = result == QCOW2_MAP_DATA || result == QCOW2_MAP_SHARED;
	u64 next;
	u32 n;

	for (n = 1; n < want; n++) {
		next = qcow2_mpage_entry(p, slot + n);
		if (is_data ? next != first + ((u64)n << img->geo.cluster_bits) :
			      judge(img, qcow2_entry_type(&img->geo, next), is_write) != result)
			break;
	}
	return n;
}

/* Each of these is a matter of one cluster. */
static bool is_single(int result)
{
	return result == QCOW2_MAP_FILL || result == QCOW2_MAP_INFLATE;
}

static u32 run_bytes(const struct qcow2_image *img, u64 guest_off, u32 bytes, u32 clusters)
{
	u64 run = ((u64)clusters << img->geo.cluster_bits) - qcow2_in_cluster(&img->geo, guest_off);

	return min_t(u64, run, bytes);
}

/* What is written in place, or let go of for a copy, has to be where data can be. */
static bool points_at_data(enum qcow2_entry_type type)
{
	return type == QCOW2_ENTRY_DATA || type == QCOW2_ENTRY_SHARED ||
	       type == QCOW2_ENTRY_ZERO_ALLOCATED;
}

static void set_run(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off, u32 bytes,
		    u64 entry, u32 clusters, struct qcow2_mapping *m)
{
	m->img = img;
	m->bytes = run_bytes(img, guest_off, bytes, clusters);
	m->host_off = qcow2_entry_offset(entry) + qcow2_in_cluster(&img->geo, guest_off);
	m->is_durable = qcow2_mpage_is_durable(p);
	m->is_fresh = false;
}

/* In its place there may be another one, which others change. */
bool qcow2_map_is_evicted(struct qcow2_image *img, const struct qcow2_mpage *p)
{
	bool result;

	rcu_read_lock();
	result = qcow2_mpage_find(img, QCOW2_META_L2, p->index) != p;
	rcu_read_unlock();
	return result;
}

bool qcow2_map_is_redirected(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off,
			     struct qcow2_l2_entry e)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);

	return qcow2_instant_has_data(img, p, slot, e) || qcow2_fill_moves(img, guest_off);
}

/*
 * Data of the top's own, of which the cluster may be frozen, or have a fill that takes its place.
 * If there is none, one may have been published since the entry was read.
 */
static noinline int map_frozen(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
			       u32 bytes, bool is_write, u64 entry, struct qcow2_mapping *m)
{
	enum qcow2_saved_verdict verdict = QCOW2_SAVED_ALL;

	m->old = (struct qcow2_l2_entry) { .word = entry };
	/* In a data file it has one place. */
	if (!is_write)
		return img->geo.has_data_file ? QCOW2_MAP_DATA : QCOW2_MAP_SHARED;
	m->bytes = run_bytes(img, guest_off, bytes, 1);
	if (qcow2_instant_has_data(img, p, qcow2_l2_slot(&img->geo, guest_off), m->old))
		verdict = qcow2_saved_judge(img, guest_off, m->bytes, bytes);
	if (verdict == QCOW2_SAVED_NOT && img->geo.has_data_file) {
		qcow2_instant_give_up(img, QCOW2_INSTANT_NO_MEMORY);
		return QCOW2_MAP_AGAIN;
	}
	if (verdict == QCOW2_SAVED_NOT || qcow2_fill_moves(img, guest_off))
		return QCOW2_MAP_FILL;
	if (verdict == QCOW2_SAVED_MAY)
		return QCOW2_MAP_SAVE;
	return qcow2_mpage_entry(p, qcow2_l2_slot(&img->geo, guest_off)) == entry &&
	       !qcow2_map_is_evicted(img, p) ? QCOW2_MAP_DATA : QCOW2_MAP_AGAIN;
}

/* Data that is the top's own to be written in place: the most frequent of all, by far. */
static __always_inline int map_own(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot,
				   u64 guest_off, u32 bytes, bool is_write, u64 entry,
				   struct qcow2_mapping *m)
{
	u32 clusters = clusters_in_page(img, guest_off, bytes);
	int err;

	if (clusters > 1)
		clusters = run_length(img, p, slot, clusters, entry, QCOW2_MAP_DATA, is_write);
	set_run(img, p, guest_off, bytes, entry, clusters, m);
	err = check_shared_table(img, p, is_write);
	if (unlikely(err))
		return err;
	if (unlikely(!is_inside(img, m->host_off, m->bytes)))
		err = map_outside(img, guest_off, m);
	else if (is_write)
		err = check_write(img, m->host_off, m->bytes);
	if (unlikely(rcu_access_pointer(img->instant)) && !err)
		return map_frozen(img, p, guest_off, bytes, is_write, entry, m);
	return err;
}

/* A place in the data file that is kept for zeroes. */
static int check_place(struct qcow2_image *img, enum qcow2_entry_type type, u64 guest_off,
		       struct qcow2_mapping *m)
{
	return type == QCOW2_ENTRY_ZERO_ALLOCATED ? map_outside(img, guest_off, m) : 0;
}

static int map_other(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 guest_off,
		     u32 bytes, bool is_write, u64 entry, struct qcow2_mapping *m)
{
	enum qcow2_entry_type type = qcow2_entry_type(&img->geo, entry);
	int result = judge(img, type, is_write), err;
	u32 clusters;

	clusters = is_single(result) ? 1 : clusters_in_page(img, guest_off, bytes);
	if (clusters > 1)
		clusters = run_length(img, p, slot, clusters, entry, result, is_write);
	set_run(img, p, guest_off, bytes, entry, clusters, m);
	m->old = (struct qcow2_l2_entry) { .word = entry };
	err = check_shared_table(img, p, is_write);
	if (err)
		return err;
	if (unlikely(img->geo.has_data_file))
		return check_place(img, type, guest_off, m) ?: result;
	if (result == QCOW2_MAP_FILL && type == QCOW2_ENTRY_COMPRESSED)
		return check_compressed(img, entry) ?: result;
	if (result == QCOW2_MAP_KEPT || !points_at_data(type))
		return result;
	err = check_inside(img, m->host_off, m->bytes);
	if (!err && is_write)
		err = check_write(img, m->host_off, m->bytes);
	return err ?: result;
}

int qcow2_map_page(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
		   bool is_write, struct qcow2_mapping *m)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	enum qcow2_entry_type type;
	u64 entry;

	if (unlikely(qcow2_has_subclusters(&img->geo)))
		return qcow2_map_subclusters(img, p, guest_off, bytes, is_write, m);
	entry = qcow2_mpage_entry(p, slot);
	type = qcow2_entry_type(&img->geo, entry);
	if (likely(type == QCOW2_ENTRY_DATA))
		return map_own(img, p, slot, guest_off, bytes, is_write, entry, m);
	if (unlikely(type == QCOW2_ENTRY_BAD))
		return qcow2_corrupt(img, "L2 entry", qcow2_entry_offset(entry));
	return map_other(img, p, slot, guest_off, bytes, is_write, entry, m);
}

/* Entries from @slot on that a write may simply fill in. */
static u32 count_fillable(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u32 want)
{
	enum qcow2_entry_type type;
	u32 n;

	if (qcow2_has_subclusters(&img->geo))
		return qcow2_count_fresh(img, p, slot, want);
	for (n = 0; n < want; n++) {
		type = qcow2_entry_type(&img->geo, qcow2_mpage_entry(p, slot + n));
		if (type != QCOW2_ENTRY_UNALLOCATED && type != QCOW2_ENTRY_ZERO)
			break;
	}
	return n;
}

static void fill_entries(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 count,
			 u64 host_off)
{
	/* A standard entry is its word. */
	struct qcow2_l2_entry e = { .bitmap = QCOW2_ALL_ALLOCATED };

	lockdep_assert_held(&p->lock);
	qcow2_instant_keep_page(img, p);
	qcow2_mpage_mark_dirty(img, p);
	for (u64 i = 0; i < count; i++) {
		e.word = (host_off + (i << img->geo.cluster_bits)) | QCOW2_OFLAG_COPIED;
		qcow2_mpage_set_l2_entry(&img->geo, p, slot + i, e);
	}
}

int qcow2_allocate(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
		   struct qcow2_mapping *m)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	int result = QCOW2_MAP_DATA;
	u64 start, count;
	u32 want;

	spin_lock(&p->lock);
	want = count_fillable(img, p, slot, clusters_in_page(img, guest_off, bytes));
	if (!want) {
		result = QCOW2_MAP_AGAIN;
		goto unlock;
	}
	count = qcow2_space_take(img, want, &start);
	if (!count) {
		result = QCOW2_MAP_NO_CLUSTER;
		goto unlock;
	}
	start <<= img->geo.cluster_bits;
	fill_entries(img, p, slot, count, start);
	m->img = img;
	m->host_off = start + qcow2_in_cluster(&img->geo, guest_off);
	m->bytes = run_bytes(img, guest_off, bytes, count);
	m->is_durable = false;
	m->is_fresh = true;
unlock:
	spin_unlock(&p->lock);
	return result;
}

/* What lies below the first cluster of a write, and others behind it that are alike. */
static int map_write_below(struct qcow2_image *img, u64 guest_off, struct qcow2_mapping *m)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	u64 start = round_down(guest_off, cluster_bytes);
	struct qcow2_below run;
	u64 whole;

	switch (qcow2_below_find(img->base, start, round_up(guest_off - start + m->bytes,
							    cluster_bytes), &run)) {
	case QCOW2_BELOW_MISS:
		return QCOW2_MAP_LOAD;
	case QCOW2_BELOW_ZERO:
		whole = round_down(run.bytes, cluster_bytes);
		/* A data file may hold anything where it has no data. */
		if (!whole || img->geo.has_data_file)
			break;
		m->bytes = min_t(u64, m->bytes, start + whole - guest_off);
		return QCOW2_MAP_ALLOCATE;
	case QCOW2_BELOW_BAD:
		/* Better the write fails than the flush behind it. */
		if (start != guest_off || m->bytes < cluster_bytes)
			return -EIO;
		break;
	default:
		break;
	}
	m->bytes = min_t(u64, m->bytes, start + cluster_bytes - guest_off);
	return QCOW2_MAP_FILL;
}

static int map_read_below(struct qcow2_image *img, u64 guest_off, struct qcow2_mapping *m)
{
	enum qcow2_below_kind kind;
	struct qcow2_below run;

	kind = qcow2_below_find(img->base, guest_off, m->bytes, &run);
	if (unlikely(kind == QCOW2_BELOW_MISS))
		return QCOW2_MAP_LOAD;
	m->img = run.img;
	m->host_off = run.where;
	m->bytes = run.bytes;
	switch (kind) {
	case QCOW2_BELOW_DATA:
		return QCOW2_MAP_DATA;
	case QCOW2_BELOW_ZERO:
		return QCOW2_MAP_ZERO;
	case QCOW2_BELOW_COMPRESSED:
		return QCOW2_MAP_INFLATE;
	case QCOW2_BELOW_TAIL:
		return QCOW2_MAP_TAIL;
	default:
		return -EIO;
	}
}

/* Look at the entries once more. Return: how many of @want are what they were. */
static u32 count_same(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
		      u32 want, u64 first)
{
	enum qcow2_entry_type type = qcow2_entry_type(&img->geo, first);
	bool is_run = type == QCOW2_ENTRY_DATA || type == QCOW2_ENTRY_SHARED ||
		      type == QCOW2_ENTRY_COMPRESSED;
	u64 next;
	u32 n;

	/* pairs with set_count() of the fills: an entry is set before its fill goes */
	smp_rmb();
	for (n = 0; n < want; n++) {
		next = qcow2_mpage_entry(p, slot + n);
		if (is_run ? next != first + ((u64)n << img->geo.cluster_bits) :
			     qcow2_entry_type(&img->geo, next) != type)
			break;
	}
	return n;
}

/*
 * The part of a run that is in a fill, or that is what its entries say. Return: QCOW2_MAP_DATA for
 * the former, QCOW2_MAP_MISS for the latter; QCOW2_MAP_AGAIN when an entry has changed.
 */
static int map_fill(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, int result,
		    struct qcow2_mapping *m)
{
	bool is_known;
	u64 host_off;
	u32 same;

	if (qcow2_fill_find(img, guest_off, &m->bytes, &host_off, &is_known)) {
		m->img = img->data;
		m->host_off = host_off;
		return QCOW2_MAP_DATA;
	}
	if (qcow2_has_subclusters(&img->geo)) {
		/* Even if there is one: another subcluster may be the reason. */
		m->bytes = qcow2_map_again(img, p, guest_off, result, m);
		return m->bytes ? QCOW2_MAP_MISS : QCOW2_MAP_AGAIN;
	}
	if (qcow2_test_skips(QCOW2_STEP_READ_AGAIN))
		return QCOW2_MAP_MISS;
	same = count_same(img, p, qcow2_l2_slot(&img->geo, guest_off),
			  clusters_in_page(img, guest_off, m->bytes), m->old.word);
	if (!same)
		return QCOW2_MAP_AGAIN;
	m->bytes = run_bytes(img, guest_off, m->bytes, same);
	return QCOW2_MAP_MISS;
}

/* What a read shows that is in no fill. */
static int read_unowned(struct qcow2_image *img, u64 guest_off, int result, struct qcow2_mapping *m)
{
	switch (result) {
	case QCOW2_MAP_BELOW:
		return map_read_below(img, guest_off, m);
	case QCOW2_MAP_SHARED:
		return QCOW2_MAP_DATA;
	case QCOW2_MAP_KEPT:
		return QCOW2_MAP_ZERO;
	default:
		m->host_off = m->old.word;
		return QCOW2_MAP_INFLATE;
	}
}

int qcow2_map_unowned(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, bool is_write,
		      int result, struct qcow2_mapping *m)
{
	int found;

	if (is_write)
		return qcow2_has_subclusters(&img->geo) ?
		       qcow2_map_write_subclusters(img, guest_off, m) :
		       map_write_below(img, guest_off, m);
	found = map_fill(img, p, guest_off, result, m);
	if (found != QCOW2_MAP_MISS)
		return found;
	return read_unowned(img, guest_off, result, m);
}

int qcow2_map_instant(struct qcow2_image *img, struct qcow2_instant *instant,
		      struct qcow2_mpage *p, u64 guest_off, u32 bytes, struct qcow2_mapping *m)
{
	struct qcow2_mpage *kept = qcow2_instant_page(instant, p->index);
	int result;

	result = qcow2_map_page(img, kept ?: p, guest_off, bytes, false, m);
	/* A page is kept before an entry of it changes. */
	smp_rmb();
	if (!kept && qcow2_instant_page(instant, p->index))
		return QCOW2_MAP_AGAIN;
	/* There are no fills of it. */
	return qcow2_is_unowned(result) ? read_unowned(img, guest_off, result, m) : result;
}

static int begin_fill(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
		      struct qcow2_mapping *m)
{
	if (qcow2_test_holds() ||
	    qcow2_fill_begin(img, p, guest_off, m->bytes, m->old, NULL, &m->fill,
			     &m->host_off) != QCOW2_COW_READY)
		return QCOW2_MAP_FILL;
	m->img = img->data;
	m->is_durable = false;
	m->is_fresh = false;
	return QCOW2_MAP_IN_FILL;
}

int qcow2_map(struct qcow2_image *img, u64 guest_off, u32 bytes, bool is_write,
	      struct qcow2_mapping *m)
{
	struct qcow2_mpage *p;
	int result;

	rcu_read_lock();
	p = qcow2_mpage_find(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, guest_off));
	if (unlikely(!p)) {
		rcu_read_unlock();
		return QCOW2_MAP_MISS;
	}
	result = qcow2_map_page(img, p, guest_off, bytes, is_write, m);
	if (likely(result == QCOW2_MAP_DATA)) {
		rcu_read_unlock();
		return result;
	}
	if (qcow2_is_unowned(result))
		result = qcow2_map_unowned(img, p, guest_off, is_write, result, m);
	if ((result != QCOW2_MAP_ALLOCATE && result != QCOW2_MAP_FILL) ||
	    !READ_ONCE(p->host_off) || !qcow2_mpage_tryget(p)) {
		rcu_read_unlock();
		return result;
	}
	rcu_read_unlock();
	result = result == QCOW2_MAP_FILL ? begin_fill(img, p, guest_off, m) :
					    qcow2_allocate(img, p, guest_off, m->bytes, m);
	qcow2_mpage_put(p);
	return result;
}
