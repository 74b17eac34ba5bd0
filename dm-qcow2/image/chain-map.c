// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the data is that the top of a chain does not have.
 */
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "base.h"
#include "chain-map.h"

#define SEGMENT_BYTES	BIT_ULL(QCOW2_SEGMENT_BITS)

/* As many bytes of segments as a base has without memory pressure. */
#define MAX_BYTES	(64L << 20)

/**
 * struct extent - a run of guest sectors
 * @where: as in struct qcow2_below; of the first sector for data
 * @end: first sector behind it, in the segment
 * @image: place in qcow2_base.images of what has it
 * @kind: enum qcow2_below_kind
 */
struct extent {
	u64 where;
	u32 end;
	u16 image;
	u16 kind;
};

static_assert(sizeof(struct extent) == 16);

/**
 * struct segment - extents of a piece of guest space, without gaps
 * @rcu: delays the release for look-ups
 * @is_used: looked up since eviction last came by
 * @count: number of extents
 * @extents: sorted
 */
struct segment {
	struct rcu_head rcu;
	bool is_used;
	u32 count;
	struct extent extents[];
};

/* Look-up */

static const struct extent *search(const struct segment *seg, u32 sector)
{
	u32 low = 0, high = seg->count - 1, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (sector < seg->extents[mid].end)
			high = mid;
		else
			low = mid + 1;
	}
	return &seg->extents[low];
}

static u64 left_in_cluster(const struct qcow2_image *img, u64 guest_off)
{
	return qcow2_cluster_bytes(&img->geo) - qcow2_in_cluster(&img->geo, guest_off);
}

enum qcow2_below_kind qcow2_below_find(struct qcow2_base *base, u64 guest_off, u32 bytes,
				       struct qcow2_below *run)
{
	u64 in_segment = guest_off & (SEGMENT_BYTES - 1);
	enum qcow2_below_kind kind = QCOW2_BELOW_MISS;
	const struct extent *e;
	struct segment *seg;
	u64 left;

	rcu_read_lock();
	seg = xa_load(&base->map.segments, guest_off >> QCOW2_SEGMENT_BITS);
	if (!seg)
		goto unlock;
	if (!READ_ONCE(seg->is_used))
		WRITE_ONCE(seg->is_used, true);
	e = search(seg, in_segment >> SECTOR_SHIFT);
	kind = e->kind;
	left = ((u64)e->end << SECTOR_SHIFT) - in_segment;
	run->img = base->images[e->image];
	run->bytes = min_t(u64, left, bytes);
	run->where = e->where;
	/* Neighbours that are the same stream make one extent; each is a cluster of its own. */
	if (kind == QCOW2_BELOW_COMPRESSED)
		run->bytes = min_t(u64, run->bytes, left_in_cluster(run->img, guest_off));
	if (kind == QCOW2_BELOW_DATA || kind == QCOW2_BELOW_TAIL) {
		/* An extent begins where the one before it ends. */
		u32 start = e == seg->extents ? 0 : e[-1].end;

		run->where += in_segment - ((u64)start << SECTOR_SHIFT);
	}
unlock:
	rcu_read_unlock();
	return kind;
}

/* Making a segment */

/**
 * struct list - extents as they are found
 * @extents: by kvmalloc
 * @count: how many
 * @room: for how many
 */
struct list {
	struct extent *extents;
	u32 count;
	u32 room;
};

static int grow(struct list *l)
{
	u32 room = max(2 * l->room, 64U);
	struct extent *extents;

	extents = kvmalloc_array(room, sizeof(*extents), GFP_NOIO);
	if (!extents)
		return -ENOMEM;
	if (l->count)
		memcpy(extents, l->extents, l->count * sizeof(*extents));
	kvfree(l->extents);
	l->extents = extents;
	l->room = room;
	return 0;
}

static u32 last_start(const struct list *l)
{
	return l->count > 1 ? l->extents[l->count - 2].end : 0;
}

static bool continues(const struct list *l, const struct extent *e)
{
	const struct extent *last;
	u64 bytes;

	if (!l->count)
		return false;
	last = &l->extents[l->count - 1];
	if (last->kind != e->kind)
		return false;
	bytes = (u64)(last->end - last_start(l)) << SECTOR_SHIFT;
	switch (e->kind) {
	case QCOW2_BELOW_DATA:
		return last->image == e->image && last->where + bytes == e->where;
	case QCOW2_BELOW_COMPRESSED:
		return last->image == e->image && last->where == e->where;
	case QCOW2_BELOW_TAIL:
		return false;
	default:
		return true;
	}
}

/* An extent that begins where the last one ends. */
static int append(struct list *l, const struct extent *e)
{
	int err;

	if (continues(l, e)) {
		l->extents[l->count - 1].end = e->end;
		return 0;
	}
	if (l->count == l->room) {
		err = grow(l);
		if (err)
			return err;
	}
	l->extents[l->count++] = *e;
	return 0;
}

/**
 * struct walk - one image, asked for a piece of a segment
 * @base: the image
 * @image: its place in the chain
 * @data_image: that of what has its data, in qcow2_base.images
 * @start: guest offset of the segment
 * @out: where extents go
 */
struct walk {
	struct qcow2_base *base;
	u16 image;
	u16 data_image;
	u64 start;
	struct list *out;
};

static int emit(const struct walk *w, u64 guest_end, enum qcow2_below_kind kind, u64 where)
{
	const struct extent e = {
		.where = where,
		.end = (guest_end - w->start) >> SECTOR_SHIFT,
		.image = kind == QCOW2_BELOW_DATA ? w->data_image : w->image,
		.kind = kind,
	};

	return append(w->out, &e);
}

static enum qcow2_below_kind hole_of(const struct walk *w)
{
	return w->base->below ? QCOW2_BELOW_HOLE : QCOW2_BELOW_ZERO;
}

/* What an L2 entry says of the guest bytes from @from to @end, which it says of all of them. */
static int emit_entry(const struct walk *w, struct qcow2_l2_entry e, u64 from, u64 end)
{
	struct qcow2_image *img = &w->base->img;
	u64 host_off = qcow2_entry_offset(e.word);
	u64 start = host_off + qcow2_in_cluster(&img->geo, from);

	switch (qcow2_l2_type(&img->geo, e, from)) {
	case QCOW2_ENTRY_UNALLOCATED:
	case QCOW2_ENTRY_RESERVED:
		return emit(w, end, hole_of(w), 0);
	case QCOW2_ENTRY_ZERO:
	case QCOW2_ENTRY_ZERO_ALLOCATED:
		return emit(w, end, QCOW2_BELOW_ZERO, 0);
	case QCOW2_ENTRY_DATA:
	case QCOW2_ENTRY_SHARED:
		if (img->geo.has_data_file ? start == from :
					     start + (end - from) <= img->host_bytes)
			return emit(w, end, QCOW2_BELOW_DATA, start);
		break;
	case QCOW2_ENTRY_COMPRESSED:
		return emit(w, end, QCOW2_BELOW_COMPRESSED, e.word);
	default:
		break;
	}
	qcow2_bad_metadata(img, "L2 entry of a backing image", host_off);
	return emit(w, end, QCOW2_BELOW_BAD, 0);
}

/* The part of a piece that one metadata page maps. */
static int walk_page(const struct walk *w, u64 from, u64 end)
{
	struct qcow2_image *img = &w->base->img;
	struct qcow2_l2_entry e;
	struct qcow2_mpage *p;
	u64 next;
	int err = 0;

	p = qcow2_mpage_get(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, from));
	if (p == ERR_PTR(-EUCLEAN))
		return emit(w, end, QCOW2_BELOW_BAD, 0);
	if (IS_ERR(p))
		return PTR_ERR(p);
	for (; from < end && !err; from = next) {
		/* Nobody writes to it, so both words are of the same time. */
		qcow2_mpage_l2_entry(&img->geo, p, qcow2_l2_slot(&img->geo, from), &e);
		next = min(end, from + qcow2_l2_same_bytes(&img->geo, e, from));
		err = emit_entry(w, e, from, next);
	}
	qcow2_mpage_put(p);
	return err;
}

static int walk_qcow2(const struct walk *w, u64 from, u64 end)
{
	const struct qcow2_geometry *geo = &w->base->img.geo;
	u64 page_span = 1ULL << (geo->cluster_bits + geo->l2_page_bits);
	u64 next;
	int err = 0;

	for (; from < end && !err; from = next) {
		next = min(end, round_down(from, page_span) + page_span);
		err = walk_page(w, from, next);
	}
	return err;
}

/* A file may end in the middle of a sector. */
static int walk_raw(const struct walk *w, u64 from, u64 end)
{
	u64 whole = round_down(qcow2_file_bytes(&w->base->img.file), SECTOR_SIZE);
	u64 data_end = min(end, whole);
	int err = 0;

	if (from < data_end)
		err = emit(w, data_end, QCOW2_BELOW_DATA, from);
	from = max(from, data_end);
	if (!err && from < end)
		err = emit(w, end, QCOW2_BELOW_TAIL, from);
	return err;
}

/* One hole, as the next image down sees it. */
static int walk_image(const struct walk *w, u64 from, u64 end)
{
	u64 data_end = min(end, w->base->bytes);
	int err = 0;

	if (from < data_end)
		err = w->base->is_raw ? walk_raw(w, from, data_end) :
					walk_qcow2(w, from, data_end);
	/* Behind the end of an image those below it are not asked. */
	if (!err && data_end < end)
		err = emit(w, end, QCOW2_BELOW_ZERO, 0);
	return err;
}

/* Replace the holes that all images so far have left. */
static int walk_holes(const struct walk *w, const struct list *in)
{
	u64 from = w->start, end;
	int err = 0;

	for (u32 i = 0; i < in->count && !err; i++, from = end) {
		const struct extent *e = &in->extents[i];

		end = w->start + ((u64)e->end << SECTOR_SHIFT);
		if (e->kind == QCOW2_BELOW_HOLE)
			err = walk_image(w, from, end);
		else
			err = append(w->out, e);
		cond_resched();
	}
	return err;
}

static bool has_hole(const struct list *l)
{
	for (u32 i = 0; i < l->count; i++)
		if (l->extents[i].kind == QCOW2_BELOW_HOLE)
			return true;
	return false;
}

static int walk_chain(struct qcow2_base *base, u64 start, struct list *found)
{
	const struct extent all = {
		.end = SEGMENT_BYTES >> SECTOR_SHIFT,
		.kind = QCOW2_BELOW_HOLE,
	};
	struct list in = {};
	int err = append(&in, &all);

	for (unsigned int i = 0; i < base->depth && !err && has_hole(&in); i++) {
		struct list out = {};
		const struct walk w = {
			.base = base->chain[i],
			.image = i,
			.data_image = qcow2_has_data_file(&base->chain[i]->img) ?
				      i + base->depth : i,
			.start = start,
			.out = &out,
		};

		err = walk_holes(&w, &in);
		kvfree(in.extents);
		in = out;
	}
	*found = in;
	return err;
}

static unsigned long segment_bytes(const struct segment *seg)
{
	return struct_size(seg, extents, seg->count);
}

static struct segment *make_segment(const struct list *l)
{
	struct segment *seg;

	seg = kvmalloc(struct_size(seg, extents, l->count), GFP_NOIO);
	if (!seg)
		return NULL;
	seg->is_used = true;
	seg->count = l->count;
	memcpy(seg->extents, l->extents, l->count * sizeof(*l->extents));
	return seg;
}

/* Eviction */

static void remove_segment(struct qcow2_chain_map *m, unsigned long index, struct segment *seg)
{
	if (xa_cmpxchg(&m->segments, index, seg, NULL, 0) != seg)
		return;
	atomic_long_dec(&m->nr_segments);
	atomic_long_sub(segment_bytes(seg), &m->bytes);
	kvfree_rcu(seg, rcu);
}

/* Two rounds at most: the first may find all of them used. Return: how many went. */
static unsigned long evict(struct qcow2_chain_map *m, unsigned long wanted)
{
	unsigned long tries = 2 * atomic_long_read(&m->nr_segments);
	unsigned long index = READ_ONCE(m->cursor);
	unsigned long gone = 0;
	struct segment *seg;

	for (; tries && gone < wanted; tries--, index++) {
		rcu_read_lock();
		seg = xa_find(&m->segments, &index, ULONG_MAX, XA_PRESENT);
		if (!seg) {
			index = ULONG_MAX;
		} else if (READ_ONCE(seg->is_used)) {
			WRITE_ONCE(seg->is_used, false);
		} else {
			remove_segment(m, index, seg);
			gone++;
		}
		rcu_read_unlock();
		cond_resched();
	}
	WRITE_ONCE(m->cursor, index);
	return gone;
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	struct qcow2_chain_map *m = s->private_data;

	return atomic_long_read(&m->nr_segments);
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	return evict(s->private_data, sc->nr_to_scan) ?: SHRINK_STOP;
}

/* Counted before it can be evicted. */
static int insert(struct qcow2_chain_map *m, u64 index, struct segment *seg)
{
	int err;

	atomic_long_inc(&m->nr_segments);
	atomic_long_add(segment_bytes(seg), &m->bytes);
	err = xa_err(xa_store(&m->segments, index, seg, GFP_NOIO));
	if (err) {
		atomic_long_dec(&m->nr_segments);
		atomic_long_sub(segment_bytes(seg), &m->bytes);
		kvfree(seg);
	}
	return err;
}

static int load(struct qcow2_base *base, u64 index)
{
	struct qcow2_chain_map *m = &base->map;
	struct segment *seg = NULL;
	struct list found;
	int err;

	while (atomic_long_read(&m->bytes) > MAX_BYTES && evict(m, 16))
		;
	err = walk_chain(base, index << QCOW2_SEGMENT_BITS, &found);
	if (!err) {
		seg = make_segment(&found);
		err = seg ? 0 : -ENOMEM;
	}
	kvfree(found.extents);
	return err ?: insert(m, index, seg);
}

int qcow2_below_load(struct qcow2_base *base, u64 guest_off)
{
	u64 index = guest_off >> QCOW2_SEGMENT_BITS;
	struct mutex *mutex = &base->map.mutex[hash_64(index, ilog2(QCOW2_SEGMENT_MUTEXES))];
	int err = 0;

	mutex_lock(mutex);
	if (!xa_load(&base->map.segments, index))
		err = load(base, index);
	mutex_unlock(mutex);
	return err;
}

/* Life */

void qcow2_chain_map_drop(struct qcow2_chain_map *m)
{
	unsigned long index = 0;
	struct segment *seg;

	/* There may be a million, and the shrinker takes some meanwhile. */
	do {
		rcu_read_lock();
		seg = xa_find(&m->segments, &index, ULONG_MAX, XA_PRESENT);
		if (seg)
			remove_segment(m, index, seg);
		rcu_read_unlock();
		cond_resched();
	} while (seg);
}

int qcow2_chain_map_init(struct qcow2_chain_map *m, const char *name)
{
	xa_init(&m->segments);
	for (int i = 0; i < QCOW2_SEGMENT_MUTEXES; i++)
		mutex_init(&m->mutex[i]);
	m->shrinker = shrinker_alloc(0, "dm-qcow2-chain:%s", name);
	if (!m->shrinker)
		return -ENOMEM;
	m->shrinker->count_objects = shrink_count;
	m->shrinker->scan_objects = shrink_scan;
	m->shrinker->private_data = m;
	shrinker_register(m->shrinker);
	return 0;
}

void qcow2_chain_map_exit(struct qcow2_chain_map *m)
{
	shrinker_free(m->shrinker);
	qcow2_chain_map_drop(m);
	xa_destroy(&m->segments);
}
