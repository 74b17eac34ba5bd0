// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a guest offset to host clusters, where L2 entries are extended.
 *
 * A cluster whose entry has no host cluster is allocated at once if all of it reads as zero:
 * without something below always, else if all its zero bits are set, or none and what is below is
 * zero. All other writes to what has no alloc bit go to a fill. Which of the two it is depends on
 * the entry and what is below only, so that no cluster with a fill is ever allocated.
 */
#include "image/base.h"

#include "map-internal.h"

/* Which subclusters of an entry writes go to in place; never of a compressed cluster. */
static u32 own_subclusters(struct qcow2_l2_entry e)
{
	return e.word & QCOW2_OFLAG_COPIED ? qcow2_l2_allocated(e) : 0;
}

/* Nothing may be in a fill: see above. */
static bool is_fresh(const struct qcow2_image *img, struct qcow2_l2_entry e)
{
	return !img->base || e.bitmap == QCOW2_ALL_ZERO;
}

static int judge(const struct qcow2_image *img, struct qcow2_l2_entry e, enum qcow2_entry_type type,
		 bool is_write)
{
	switch (type) {
	case QCOW2_ENTRY_DATA:
		return QCOW2_MAP_DATA;
	case QCOW2_ENTRY_UNALLOCATED:
		if (img->base)
			return QCOW2_MAP_BELOW;
		return is_write ? QCOW2_MAP_ALLOCATE : QCOW2_MAP_ZERO;
	case QCOW2_ENTRY_ZERO:
		if (is_fresh(img, e))
			return is_write ? QCOW2_MAP_ALLOCATE : QCOW2_MAP_ZERO;
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_KEPT;
	case QCOW2_ENTRY_RESERVED:
		if (img->base)
			return QCOW2_MAP_BELOW;
		fallthrough;
	case QCOW2_ENTRY_ZERO_ALLOCATED:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_KEPT;
	case QCOW2_ENTRY_SHARED:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_SHARED;
	default:
		return is_write ? QCOW2_MAP_FILL : QCOW2_MAP_INFLATE;
	}
}

/*
 * Bytes of this cluster that a write to a fill may cover: to what is written in place. If that
 * is where it begins, it is redirected, and so is all of it.
 */
static u64 fill_bytes(const struct qcow2_geometry *g, struct qcow2_l2_entry e, u64 guest_off)
{
	u32 first = qcow2_subcluster(g, guest_off), own = own_subclusters(e);
	u32 end = first + qcow2_subcluster_run(own, first, own >> first & 1);

	return ((u64)end << g->subcluster_bits) - qcow2_in_cluster(g, guest_off);
}

/* Whether an entry goes on where the one @n before it, that is treated in such a way, ends. */
static bool goes_on(const struct qcow2_image *img, const struct qcow2_mapping *m, int result, u32 n,
		    struct qcow2_l2_entry e, bool is_write)
{
	enum qcow2_entry_type type = qcow2_subcluster_type(&img->geo, e, 0);
	int next = type == QCOW2_ENTRY_BAD ? -EUCLEAN : judge(img, e, type, is_write);

	/* Frozen data is read as what is shared; the words tell the two apart. */
	if (next != result && !(next == QCOW2_MAP_DATA && result == QCOW2_MAP_SHARED))
		return false;
	/* Another cluster may be one that is not to be written in place. */
	if (unlikely(rcu_access_pointer(img->instant)) && is_write && result == QCOW2_MAP_DATA)
		return false;
	switch (result) {
	case QCOW2_MAP_DATA:
	case QCOW2_MAP_SHARED:
		return e.word == m->old.word + ((u64)n << img->geo.cluster_bits);
	case QCOW2_MAP_BELOW:
		/* Of a write that may allocate all of them. */
		return !is_write || qcow2_l2_is_equal(e, m->old);
	case QCOW2_MAP_ZERO:
	case QCOW2_MAP_KEPT:
	case QCOW2_MAP_ALLOCATE:
		return true;
	default:
		return false;
	}
}

/* How long a run is that begins with @bytes of the first entry. */
static u32 run_bytes(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off, u64 bytes,
		     u32 want, int result, bool is_write, const struct qcow2_mapping *m)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	struct qcow2_l2_entry e;
	u32 clusters;
	u64 more;

	if (bytes >= want || qcow2_in_cluster(&img->geo, guest_off) + bytes < cluster_bytes)
		return min_t(u64, bytes, want);
	clusters = clusters_in_page(img, guest_off, want);
	for (u32 n = 1; n < clusters; n++) {
		if (!qcow2_mpage_extended(p, slot + n, &e) ||
		    !goes_on(img, m, result, n, e, is_write))
			break;
		more = result == QCOW2_MAP_ALLOCATE ? cluster_bytes :
						      qcow2_l2_same_bytes(&img->geo, e, 0);
		bytes += more;
		if (more < cluster_bytes)
			break;
	}
	return min_t(u64, bytes, want);
}

/*
 * Data of the top's own, of which the cluster may be frozen, or have a fill that takes its place.
 * If there is none, one may have been published since the entry was read.
 */
static noinline int judge_frozen(struct qcow2_image *img, const struct qcow2_mpage *p,
				 u64 guest_off, struct qcow2_l2_entry e, bool is_write)
{
	struct qcow2_l2_entry now;

	if (!is_write)
		return QCOW2_MAP_SHARED;
	if (qcow2_map_is_redirected(img, p, guest_off, e))
		return QCOW2_MAP_FILL;
	return qcow2_mpage_extended(p, qcow2_l2_slot(&img->geo, guest_off), &now) &&
	       now.word == e.word && !qcow2_map_is_evicted(img, p) ? QCOW2_MAP_DATA :
								     QCOW2_MAP_AGAIN;
}

static u64 first_bytes(const struct qcow2_image *img, struct qcow2_l2_entry e, u64 guest_off,
		       int result, bool is_write)
{
	if (is_write && (result == QCOW2_MAP_FILL || result == QCOW2_MAP_BELOW))
		return fill_bytes(&img->geo, e, guest_off);
	if (result == QCOW2_MAP_ALLOCATE)
		return qcow2_cluster_bytes(&img->geo) - qcow2_in_cluster(&img->geo, guest_off);
	return qcow2_l2_same_bytes(&img->geo, e, guest_off);
}

/*
 * Of a write that ends in the middle of a subcluster that shows what is below, that part comes by itself:
 * whether the rest can be read is looked at first (look_at_ends()).
 */
static u32 cut_at_below(const struct qcow2_image *img, struct qcow2_l2_entry e, u64 guest_off,
			u32 bytes)
{
	u64 unit = qcow2_unit_bytes(&img->geo), last = round_down(guest_off + bytes, unit);
	enum qcow2_entry_type type;

	if (!img->base || last <= guest_off || last == guest_off + bytes)
		return bytes;
	type = qcow2_l2_type(&img->geo, e, last);
	return type == QCOW2_ENTRY_UNALLOCATED || type == QCOW2_ENTRY_RESERVED ? last - guest_off :
										 bytes;
}

static void set_run(struct qcow2_image *img, u64 guest_off, struct qcow2_l2_entry e,
		    struct qcow2_mapping *m)
{
	m->img = img;
	m->old = e;
	m->host_off = qcow2_entry_offset(e.word) + qcow2_in_cluster(&img->geo, guest_off);
	m->is_fresh = false;
}

/* What a fill writes to, or copies from: whole subclusters of it. */
static int check_fill(struct qcow2_image *img, struct qcow2_l2_entry e, u64 guest_off, u32 bytes)
{
	u64 mask = qcow2_unit_bytes(&img->geo) - 1;
	u64 host_off = qcow2_entry_offset(e.word);
	u64 in_cluster = qcow2_in_cluster(&img->geo, guest_off);
	u64 start = in_cluster & ~mask, end = (in_cluster + bytes + mask) & ~mask;

	if (e.word & QCOW2_OFLAG_COMPRESSED)
		return check_compressed(img, e.word);
	if (!host_off)
		return 0;
	return check_inside(img, host_off + start, end - start) ?:
	       check_write(img, host_off + start, end - start);
}

static int check_run(struct qcow2_image *img, u64 guest_off, int result, bool is_write,
		     const struct qcow2_mapping *m)
{
	int err;

	switch (result) {
	case QCOW2_MAP_DATA:
	case QCOW2_MAP_SHARED:
		err = check_inside(img, m->host_off, m->bytes);
		return !err && is_write ? check_write(img, m->host_off, m->bytes) : err;
	case QCOW2_MAP_FILL:
		return check_fill(img, m->old, guest_off, m->bytes);
	default:
		return 0;
	}
}

/* All of a cluster is data that may be written in place: most are so. */
static bool is_all_own(const struct qcow2_geometry *g, struct qcow2_l2_entry e)
{
	const u64 flags = QCOW2_OFLAG_COPIED | QCOW2_OFLAG_COMPRESSED;

	return e.bitmap == QCOW2_ALL_ALLOCATED && (e.word & flags) == QCOW2_OFLAG_COPIED &&
	       qcow2_entry_offset(e.word) && !qcow2_in_cluster(g, qcow2_entry_offset(e.word));
}

static enum qcow2_entry_type type_at(const struct qcow2_geometry *g, struct qcow2_l2_entry e,
				     u64 guest_off)
{
	if (likely(is_all_own(g, e)))
		return QCOW2_ENTRY_DATA;
	return qcow2_subcluster_type(g, e, qcow2_subcluster(g, guest_off));
}

int qcow2_map_subclusters(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
			  bool is_write, struct qcow2_mapping *m)
{
	enum qcow2_entry_type type;
	struct qcow2_l2_entry e;
	int result, err;
	u64 first;

	if (unlikely(!qcow2_mpage_extended(p, qcow2_l2_slot(&img->geo, guest_off), &e)))
		return QCOW2_MAP_AGAIN;
	type = type_at(&img->geo, e, guest_off);
	if (unlikely(type == QCOW2_ENTRY_BAD))
		return qcow2_corrupt(img, "L2 entry", qcow2_entry_offset(e.word));
	result = judge(img, e, type, is_write);
	if (unlikely(rcu_access_pointer(img->instant)) && result == QCOW2_MAP_DATA)
		result = judge_frozen(img, p, guest_off, e, is_write);
	if (unlikely(result == QCOW2_MAP_AGAIN))
		return result;
	set_run(img, guest_off, e, m);
	first = first_bytes(img, e, guest_off, result, is_write);
	m->bytes = run_bytes(img, p, guest_off, first, bytes, result, is_write, m);
	if (is_write && result == QCOW2_MAP_FILL)
		m->bytes = cut_at_below(img, e, guest_off, m->bytes);
	/* Now that all entries of the run have been read. */
	m->is_durable = qcow2_mpage_is_durable(p);
	err = check_shared_table(img, p, is_write) ?:
	      check_run(img, guest_off, result, is_write, m);
	return err ?: result;
}

u32 qcow2_map_again(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, int result,
		    const struct qcow2_mapping *m)
{
	struct qcow2_mapping now;

	/* pairs with set_count() of the fills: an entry is set before its fill goes */
	smp_rmb();
	if (qcow2_map_subclusters(img, p, guest_off, m->bytes, false, &now) != result)
		return 0;
	/* Elsewhere it does not matter which host cluster is kept. */
	if ((result == QCOW2_MAP_SHARED || result == QCOW2_MAP_INFLATE) &&
	    now.old.word != m->old.word)
		return 0;
	return now.bytes;
}

/*
 * Whether what a commit will have to copy of a subcluster can be read: better the write fails than
 * the flush behind it. Return: QCOW2_MAP_FILL, QCOW2_MAP_LOAD or -EIO.
 */
static int look_below(struct qcow2_image *img, struct qcow2_l2_entry e, u64 from, u64 end)
{
	enum qcow2_entry_type type = qcow2_l2_type(&img->geo, e, from);
	struct qcow2_below run;

	if (type != QCOW2_ENTRY_UNALLOCATED && type != QCOW2_ENTRY_RESERVED)
		return QCOW2_MAP_FILL;
	for (; from < end; from += run.bytes) {
		switch (qcow2_below_find(img->base, from, end - from, &run)) {
		case QCOW2_BELOW_MISS:
			return QCOW2_MAP_LOAD;
		case QCOW2_BELOW_BAD:
			return -EIO;
		default:
			break;
		}
	}
	return QCOW2_MAP_FILL;
}

/* In front of a write, and behind it. */
static int look_at_ends(struct qcow2_image *img, u64 guest_off, const struct qcow2_mapping *m)
{
	u64 unit = qcow2_unit_bytes(&img->geo), end = guest_off + m->bytes;
	int result = look_below(img, m->old, round_down(guest_off, unit), guest_off);

	if (result != QCOW2_MAP_FILL || IS_ALIGNED(end, unit))
		return result;
	return look_below(img, m->old, end, round_up(end, unit));
}

/* Of clusters that are holes as a whole: those that read as zero need no fill. */
static bool are_zero_below(struct qcow2_image *img, u64 guest_off, struct qcow2_mapping *m,
			   bool *is_known)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	u64 start = round_down(guest_off, cluster_bytes);
	enum qcow2_below_kind kind;
	struct qcow2_below run;
	u64 whole;

	kind = qcow2_below_find(img->base, start,
				round_up(guest_off - start + m->bytes, cluster_bytes), &run);
	*is_known = kind != QCOW2_BELOW_MISS;
	if (kind != QCOW2_BELOW_ZERO)
		return false;
	whole = round_down(run.bytes, cluster_bytes);
	if (whole)
		m->bytes = min_t(u64, m->bytes, start + whole - guest_off);
	return whole;
}

int qcow2_map_write_subclusters(struct qcow2_image *img, u64 guest_off, struct qcow2_mapping *m)
{
	bool is_known = true;
	int err;

	if (!m->old.word && !m->old.bitmap && are_zero_below(img, guest_off, m, &is_known))
		return QCOW2_MAP_ALLOCATE;
	if (!is_known)
		return QCOW2_MAP_LOAD;
	m->bytes = min_t(u64, m->bytes, fill_bytes(&img->geo, m->old, guest_off));
	err = check_fill(img, m->old, guest_off, m->bytes);
	return err ?: look_at_ends(img, guest_off, m);
}

u32 qcow2_count_fresh(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
		      u32 want)
{
	struct qcow2_l2_entry e;
	u32 n;

	lockdep_assert_held(&p->lock);
	for (n = 0; n < want; n++) {
		qcow2_mpage_extended(p, slot + n, &e);
		if (qcow2_l2_is_bad(&img->geo, e) || e.word & QCOW2_OFLAG_COMPRESSED ||
		    qcow2_entry_offset(e.word) || (e.bitmap && !is_fresh(img, e)))
			break;
	}
	return n;
}
