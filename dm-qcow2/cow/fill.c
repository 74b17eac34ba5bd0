// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deferred fill: which writes to clusters that have to be copied are where.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "image/compressed.h"

#include "fill-internal.h"
#include "instant.h"
#include "test-skip.h"

/* Bytes of clusters, or of subclusters, that may be fills, and how many at least and at most. */
#define MAX_BYTES	(16ULL << 20)
#define MIN_FILLS	8
#define MAX_FILLS	256

static struct qcow2_fill *find(struct qcow2_fills *fs, u64 cluster)
{
	struct qcow2_fill *f;

	lockdep_assert_held(&fs->lock);
	hash_for_each_possible(fs->by_cluster, f, hash, cluster)
		if (f->cluster == cluster)
			return f;
	return NULL;
}

void qcow2_fills_set_count(struct qcow2_fills *fs, unsigned int count)
{
	lockdep_assert_held(&fs->lock);
	if (unlikely(fs->nr_few))
		qcow2_fills_note_few(fs, count);
	fs->count = count;
	/* Who reads that there are none sees the entries: fills_publish(), count_same() in map.c */
	smp_store_release(&fs->img->commit->nr_fills, count);
	if (count == 1)
		wake_up_all(&fs->img->cache.wait); /* make_room() */
}

void qcow2_fill_free(struct qcow2_fill *f)
{
	qcow2_drops_free(&f->drops);
	qcow2_mpage_put(f->page);
	kfree(f);
}

/* Changes of entries */

static bool has_fill(struct qcow2_fills *fs, u64 cluster, u32 count)
{
	lockdep_assert_held(&fs->lock);
	for (u32 i = 0; fs->count && i < count; i++)
		if (find(fs, cluster + i))
			return true;
	return false;
}

bool qcow2_fills_change(struct qcow2_image *img, struct qcow2_mpage *p,
			const struct qcow2_change *c, struct qcow2_work *work)
{
	u32 slot = qcow2_l2_slot(&img->geo, c->cluster << img->geo.cluster_bits);
	struct qcow2_fills *fs = img->fills;
	bool may_change;

	lockdep_assert_held(&p->lock);
	spin_lock_irq(&fs->lock);
	may_change = !has_fill(fs, c->cluster, c->count);
	if (may_change) {
		if (c->is_alike)
			qcow2_mpage_set_alike(&img->geo, p, slot, c->count, c->new[0]);
		for (u32 i = 0; !c->is_alike && i < c->count; i++)
			qcow2_mpage_set_l2_entry(&img->geo, p, slot + i, c->new[i]);
		if (c->gives_back && fs->trims)
			qcow2_trims_add(fs->trims, c->cluster, c->count);
		if (c->keeps_clusters) {
			fs->kept = start_poll_synchronize_srcu(&img->inflight);
			fs->has_kept = true;
		}
	} else {
		list_add_tail(&work->node, &fs->changes);
	}
	spin_unlock_irq(&fs->lock);
	return may_change;
}

bool qcow2_fills_settle(struct qcow2_image *img, u64 cluster, u32 count, struct qcow2_work *work)
{
	struct qcow2_fills *fs = img->fills;
	bool are_gone;

	spin_lock_irq(&fs->lock);
	are_gone = !has_fill(fs, cluster, count);
	if (!are_gone)
		list_add_tail(&work->node, &fs->changes);
	spin_unlock_irq(&fs->lock);
	if (!are_gone)
		qcow2_commit_kick(img);
	return are_gone;
}

/* Writes */

/* No write begins: it is closed, or of before the instant. */
static bool is_shut(const struct qcow2_fills *fs, const struct qcow2_fill *f)
{
	const struct qcow2_instant *instant;

	instant = rcu_dereference_protected(fs->img->instant, lockdep_is_held(&fs->lock));
	return f->is_closed || (unlikely(instant) && f->number <= instant->sealed);
}

/*
 * Whether a write has seen another entry than the fill has begun on. A subcluster may be data by
 * now, as another fill was published since; then it is written in place, and by others, too. If the
 * fill is closed the write waits for it anyhow, and its entry may be newer.
 */
static bool is_stale(const struct qcow2_fills *fs, const struct qcow2_fill *f,
		     struct qcow2_l2_entry old)
{
	return qcow2_has_subclusters(&fs->img->geo) && !is_shut(fs, f) &&
	       !qcow2_l2_is_equal(f->old, old);
}

static bool is_trimmed(const struct qcow2_fills *fs, u64 cluster)
{
	lockdep_assert_held(&fs->lock);
	return fs->trims && qcow2_trims_has_now(fs->trims, cluster);
}

/*
 * One that is there already, or a place for a new one, for which @fill is NULL. Return:
 * QCOW2_COW_AGAIN for the latter, or when the entry has changed;
 * QCOW2_COW_PARKED when there is neither, and without @work nothing waits then.
 */
static int enter_old(struct qcow2_fills *fs, u64 cluster, struct qcow2_l2_entry old,
		     struct qcow2_work *work, struct qcow2_fill **fill)
{
	int result = QCOW2_COW_AGAIN;
	bool kicks = false;

	spin_lock_irq(&fs->lock);
	*fill = find(fs, cluster);
	if (*fill && unlikely(is_stale(fs, *fill, old)))
		goto unlock;
	if (*fill ? is_shut(fs, *fill) : !qcow2_fills_have_room(fs) || is_trimmed(fs, cluster)) {
		if (work)
			list_add_tail(&work->node, *fill ? &(*fill)->waiting : &fs->waiting);
		/* Nobody may be at it yet. */
		kicks = !*fill || (!(*fill)->is_closed && !(*fill)->err);
		result = QCOW2_COW_PARKED;
	} else if (*fill) {
		(*fill)->nr_writes++;
		result = QCOW2_COW_READY;
	}
unlock:
	spin_unlock_irq(&fs->lock);
	if (kicks)
		qcow2_commit_kick(fs->img);
	return result;
}

/* Data that would be written in place if it were not frozen. */
static bool is_own_data(const struct qcow2_image *img, struct qcow2_l2_entry e)
{
	/* In a data file all fills are in place, and none is of data. */
	if (img->geo.has_data_file || !(e.word & QCOW2_OFLAG_COPIED))
		return false;
	if (qcow2_has_subclusters(&img->geo))
		return qcow2_l2_allocated(e);
	return qcow2_entry_type(&img->geo, e.word) == QCOW2_ENTRY_DATA;
}

/*
 * Whether an instant has begun or ended since the fill was made. It takes the place of data only as
 * long as nobody writes that in place, and is in its place only if nobody reads it as it was.
 */
static bool suits_instant(struct qcow2_image *img, const struct qcow2_fill *f)
{
	if (likely(!rcu_access_pointer(img->instant)))
		return f->is_in_place || !is_own_data(img, f->old);
	if (!f->is_in_place && !is_own_data(img, f->old))
		return true;
	return qcow2_instant_has_data(img, f->page, qcow2_fill_slot(img, f), f->old) == !f->is_in_place;
}

/*
 * Older writes may be on their way to what is copied. Of a cluster that is kept for zeroes they
 * began before that, of subclusters that are frozen before the instant; of another cluster that is
 * frozen, before there was the fill, as what is in memory is written in place (saved.h).
 */
static void wait_for_late(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	bool is_moved = !f->is_in_place && is_own_data(fs->img, f->old);

	lockdep_assert_held(&fs->lock);
	if (is_moved && !qcow2_has_subclusters(&fs->img->geo)) {
		/* Whoever is not waited for finds the fill. */
		fs->kept = start_poll_synchronize_srcu(&fs->img->inflight);
		fs->has_kept = true;
	}
	f->may_be_late = fs->has_kept && (f->is_in_place || is_moved);
	f->kept = fs->kept;
}

static bool add(struct qcow2_fills *fs, struct qcow2_fill *f)
{
	bool is_new;

	spin_lock_irq(&fs->lock);
	/* Whoever published one has changed the entry before. */
	is_new = qcow2_fills_have_room(fs) && !find(fs, f->cluster) && suits_instant(fs->img, f) &&
		 !is_trimmed(fs, f->cluster) &&
		 (qcow2_fill_is_old(fs->img, f) || qcow2_test_skips(QCOW2_STEP_WRITE_AGAIN));
	if (is_new) {
		if (fs->trims)
			qcow2_trims_take(fs->trims, f->cluster);
		hash_add(fs->by_cluster, &f->hash, f->cluster);
		f->number = ++fs->newest;
		f->nr_writes = 1;
		list_add_tail(&f->node, &fs->open);
		qcow2_fills_set_count(fs, fs->count + 1);
		wait_for_late(fs, f);
	}
	spin_unlock_irq(&fs->lock);
	return is_new;
}

/*
 * Whether the host cluster that an entry has stays: what others may share is let go of, and so is
 * one that the device ends in, where a fill is written as a whole, and one that is frozen. In a
 * data file nothing is shared, nor let go of.
 */
static bool keeps_cluster(struct qcow2_image *img, const struct qcow2_mpage *p, u64 cluster,
			  struct qcow2_l2_entry old)
{
	u32 slot = qcow2_l2_slot(&img->geo, cluster << img->geo.cluster_bits);
	u64 end = qcow2_entry_offset(old.word) + qcow2_cluster_bytes(&img->geo);

	if (img->geo.has_data_file)
		return true;
	if (!(old.word & QCOW2_OFLAG_COPIED) || qcow2_instant_has_data(img, p, slot, old))
		return false;
	if (qcow2_has_subclusters(&img->geo))
		return !(old.word & QCOW2_OFLAG_COMPRESSED) && qcow2_entry_offset(old.word);
	return qcow2_entry_type(&img->geo, old.word) == QCOW2_ENTRY_ZERO_ALLOCATED &&
	       end <= READ_ONCE(img->host_bytes);
}

static struct qcow2_fill *alloc_fill(struct qcow2_image *img, struct qcow2_mpage *p, u64 cluster,
				     struct qcow2_l2_entry old, gfp_t gfp)
{
	unsigned int sectors = qcow2_cluster_bytes(&img->geo) >> SECTOR_SHIFT;
	struct qcow2_fill *f;

	f = kzalloc(struct_size(f, valid, BITS_TO_LONGS(sectors)), gfp);
	if (!f)
		return NULL;
	f->is_in_place = keeps_cluster(img, p, cluster, old);
	if (!f->is_in_place && !qcow2_drops_alloc(&f->drops, img, old.word, gfp)) {
		kfree(f);
		return NULL;
	}
	f->cluster = cluster;
	f->old = old;
	INIT_LIST_HEAD(&f->waiting);
	INIT_LIST_HEAD(&f->node);
	refcount_inc(&p->refs);
	f->page = p;
	return f;
}

/* A cluster for a fill, unless it has one. Return: QCOW2_COW_READY, or as begin_new(). */
static int take_cluster(struct qcow2_image *img, struct qcow2_fill *f, gfp_t gfp,
			struct qcow2_extent **e)
{
	u64 cluster;

	*e = NULL;
	if (f->is_in_place) {
		f->host_off = img->geo.has_data_file ? f->cluster << img->geo.cluster_bits :
						       qcow2_entry_offset(f->old.word);
		return QCOW2_COW_READY;
	}
	*e = kmalloc(sizeof(**e), gfp);
	if (!*e)
		return -ENOMEM;
	if (!qcow2_space_take(img, 1, &cluster)) {
		kfree(*e);
		return QCOW2_COW_NO_CLUSTER;
	}
	f->host_off = cluster << img->geo.cluster_bits;
	return QCOW2_COW_READY;
}

/* @pulled: the subclusters that are to be whole; 0 when it is only for what is written to it. */
static int begin_new(struct qcow2_fills *fs, struct qcow2_mpage *p, u64 cluster,
		     struct qcow2_l2_entry old, u32 pulled, gfp_t gfp, struct qcow2_fill **fill)
{
	struct qcow2_image *img = fs->img;
	struct qcow2_fill *f = alloc_fill(img, p, cluster, old, gfp);
	struct qcow2_extent *e;
	int result;

	if (!f)
		return -ENOMEM;
	f->is_pulled = pulled;
	f->touched = pulled;
	result = take_cluster(img, f, gfp, &e);
	if (result != QCOW2_COW_READY) {
		qcow2_fill_free(f);
		return result;
	}
	if (!add(fs, f)) {
		/* Somebody else was faster. */
		if (e)
			qcow2_space_give_back(img, e, f->host_off >> img->geo.cluster_bits);
		qcow2_fill_free(f);
		return QCOW2_COW_AGAIN;
	}
	kfree(e);
	qcow2_commit_age(img);
	*fill = f;
	return QCOW2_COW_READY;
}

/*
 * Whether the rest of a compressed cluster can be had is known as soon as it is inflated, which it
 * has to be anyhow: better the write fails than a flush.
 */
static int try_inflate(struct qcow2_image *img, u64 old)
{
	struct qcow2_inflated *cluster = qcow2_compressed_get(img, old);

	if (IS_ERR(cluster))
		return PTR_ERR(cluster);
	qcow2_compressed_put(img, cluster);
	return 0;
}

static bool needs_inflating(const struct qcow2_image *img, u32 bytes, u64 old)
{
	return bytes < qcow2_cluster_bytes(&img->geo) && old & QCOW2_OFLAG_COMPRESSED;
}

int qcow2_fill_begin(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
		     u32 bytes, struct qcow2_l2_entry old, struct qcow2_work *work,
		     struct qcow2_fill **fill, u64 *host_off)
{
	gfp_t gfp = work ? GFP_NOIO : GFP_NOWAIT | __GFP_NOWARN;
	u64 cluster = guest_off >> img->geo.cluster_bits;
	struct qcow2_fills *fs = img->fills;
	int result;

	if (!READ_ONCE(p->host_off))
		return work ? qcow2_table_allocate(img, p) : QCOW2_COW_PARKED;
	result = enter_old(fs, cluster, old, work, fill);
	if (result == QCOW2_COW_AGAIN && !*fill) {
		if (needs_inflating(img, bytes, old.word)) {
			result = work ? try_inflate(img, old.word) : QCOW2_COW_PARKED;
			if (result)
				return result;
		}
		qcow2_fills_publish_ahead(fs);
		result = begin_new(fs, p, cluster, old, 0, gfp, fill);
	}
	if (result == QCOW2_COW_READY)
		*host_off = (*fill)->host_off + qcow2_in_cluster(&img->geo, guest_off);
	return result;
}

/* Whether one more may be pulled: half of the room is for those who write. */
static bool may_pull(struct qcow2_fills *fs, u64 cluster)
{
	bool result;

	spin_lock_irq(&fs->lock);
	result = fs->count < fs->limit / 2 && !fs->nr_few && !find(fs, cluster);
	spin_unlock_irq(&fs->lock);
	return result;
}

int qcow2_fill_pull(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
		    struct qcow2_l2_entry old, u32 subclusters)
{
	u64 cluster = guest_off >> img->geo.cluster_bits;
	struct qcow2_fill *fill;
	int result;

	if (!READ_ONCE(p->host_off))
		return qcow2_table_allocate(img, p);
	if (!may_pull(img->fills, cluster))
		return QCOW2_COW_PARKED;
	result = begin_new(img->fills, p, cluster, old, subclusters, GFP_NOIO, &fill);
	if (result == QCOW2_COW_READY)
		qcow2_fill_end(img, fill, guest_off, 0, false);
	return result;
}

/* Sectors of the cluster have what was written. */
static void note_valid(const struct qcow2_image *img, struct qcow2_fill *f, u32 first, u32 count)
{
	u32 sectors = qcow2_subcluster_sectors(img), end = first + count, next;

	bitmap_set(f->valid, first, count);
	if (!qcow2_has_subclusters(&img->geo) || !count)
		return;
	f->touched |= qcow2_subcluster_mask(first / sectors, (end - 1) / sectors -
							     first / sectors + 1);
	/* Others may have written what is missing at either end. */
	first = round_down(first, sectors);
	end = round_up(end, sectors);
	while (first < end) {
		next = find_next_zero_bit(f->valid, end, first);
		if (next - first >= sectors)
			f->whole |= qcow2_subcluster_mask(first / sectors,
							  (next - first) / sectors);
		first = round_down(next, sectors) + sectors;
	}
}

void qcow2_fill_end(struct qcow2_image *img, struct qcow2_fill *fill, u64 guest_off, u32 bytes,
		    bool is_valid)
{
	u32 first = qcow2_in_cluster(&img->geo, guest_off) >> SECTOR_SHIFT;
	struct qcow2_fills *fs = img->fills;
	unsigned long flags;

	spin_lock_irqsave(&fs->lock, flags);
	if (is_valid)
		note_valid(img, fill, first, (bytes >> SECTOR_SHIFT) -
					     qcow2_test_skips(QCOW2_STEP_LAST_SECTOR));
	/* Under the lock: who waits for this frees the fill. */
	if (!--fill->nr_writes && fill->is_closed)
		wake_up(&fs->wait);
	spin_unlock_irqrestore(&fs->lock, flags);
}

/* Reads */

/* How many sectors from @first on are as the first one. */
static u32 alike(const struct qcow2_fill *f, u32 first, u32 end, bool *is_valid)
{
	*is_valid = test_bit(first, f->valid);
	return (*is_valid ? find_next_zero_bit(f->valid, end, first) :
			    find_next_bit(f->valid, end, first)) - first;
}

bool qcow2_fill_find(struct qcow2_image *img, u64 guest_off, u32 *bytes, u64 *host_off,
		     bool *is_known)
{
	u64 in_cluster = qcow2_in_cluster(&img->geo, guest_off);
	struct qcow2_fills *fs = img->fills;
	bool is_valid = false;
	struct qcow2_fill *f;
	unsigned long flags;
	u32 left, count;

	*is_known = false;
	if (!READ_ONCE(img->commit->nr_fills) || qcow2_test_skips(QCOW2_STEP_READ_FILLS))
		return false;
	left = min_t(u64, *bytes, qcow2_cluster_bytes(&img->geo) - in_cluster);
	*bytes = left;
	spin_lock_irqsave(&fs->lock, flags);
	f = find(fs, guest_off >> img->geo.cluster_bits);
	if (f) {
		*is_known = true;
		count = alike(f, in_cluster >> SECTOR_SHIFT,
			      (in_cluster + left) >> SECTOR_SHIFT, &is_valid);
		*bytes = count << SECTOR_SHIFT;
		*host_off = f->host_off + in_cluster;
	}
	spin_unlock_irqrestore(&fs->lock, flags);
	return is_valid;
}

bool qcow2_fill_moves(struct qcow2_image *img, u64 guest_off)
{
	struct qcow2_fills *fs = img->fills;
	const struct qcow2_fill *f;
	unsigned long flags;
	bool moves;

	/* pairs with qcow2_fills_set_count(): whoever has added one has done so before the instant ended */
	smp_rmb();
	if (!smp_load_acquire(&img->commit->nr_fills))
		return false;
	spin_lock_irqsave(&fs->lock, flags);
	f = find(fs, guest_off >> img->geo.cluster_bits);
	moves = f && !f->is_in_place;
	spin_unlock_irqrestore(&fs->lock, flags);
	return moves;
}

/* Life */

u64 qcow2_fills_newest(struct qcow2_image *img)
{
	u64 newest;

	spin_lock_irq(&img->fills->lock);
	newest = img->fills->newest;
	spin_unlock_irq(&img->fills->lock);
	return newest;
}

bool qcow2_fills_has_older(struct qcow2_image *img, u64 number)
{
	struct qcow2_fills *fs = img->fills;
	struct qcow2_fill *f;
	bool found = false;
	int bucket;

	spin_lock_irq(&fs->lock);
	hash_for_each(fs->by_cluster, bucket, f, hash)
		found |= f->number <= number;
	spin_unlock_irq(&fs->lock);
	return found;
}

void qcow2_fills_init(struct qcow2_fills *fs, struct qcow2_image *img)
{
	fs->img = img;
	mutex_init(&fs->publishing);
	mutex_init(&fs->freezing);
	spin_lock_init(&fs->lock);
	hash_init(fs->by_cluster);
	INIT_LIST_HEAD(&fs->open);
	INIT_LIST_HEAD(&fs->waiting);
	INIT_LIST_HEAD(&fs->changes);
	init_waitqueue_head(&fs->wait);
	fs->limit = clamp_t(u64, div_u64(MAX_BYTES, qcow2_unit_bytes(&img->geo)), MIN_FILLS,
			    MAX_FILLS);
	img->fills = fs;
}

/* A grace period that was asked for has to be over before its domain may go. */
void qcow2_fills_exit(struct qcow2_fills *fs)
{
	if (fs->has_kept)
		synchronize_srcu(&fs->img->inflight);
}
