// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of a frozen disk that are overwritten in place.
 */
#include <linux/hash.h>
#include <linux/slab.h>

#include "file/file.h"
#include "meta/image.h"

#include "instant.h"
#include "saved.h"

/* Read together. */
#define TAKE_TOGETHER	16

/* Not to ask in vain for each write. */
#define NO_MEMORY_JIFFIES	HZ

/* The guest's write waits for it, and can do without. */
#define GFP_BLOCK	(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN)

/* A block that could not be read. */
#define UNREADABLE	xa_mk_value(0)

/* Of what it may have; the rest is for L2 pages, without which it ends, as a data file's does without blocks. */
static unsigned long max_blocks(const struct qcow2_instant *instant)
{
	unsigned long pages = instant->max_pages;

	return instant->img->geo.has_data_file ? pages - pages / 8 : pages / 2;
}

static u64 block_of(u64 guest_off)
{
	return guest_off >> QCOW2_SAVED_SHIFT;
}

/*
 * A write that goes on where another one has ended may be one of many that cover all of its
 * cluster, and then in a fresh one nothing has to be read for them.
 */
static bool goes_on(const struct qcow2_saved *s, u64 guest_off)
{
	return READ_ONCE(s->ends[hash_64(guest_off, QCOW2_SAVED_ENDS_BITS)]) == guest_off;
}

static void note_end(struct qcow2_saved *s, u64 end)
{
	WRITE_ONCE(s->ends[hash_64(end, QCOW2_SAVED_ENDS_BITS)], end);
}

/* The first block of a write that anybody may want to see. */
static u64 first_of(const struct qcow2_instant *instant, u64 guest_off)
{
	return block_of(max(guest_off, READ_ONCE(instant->passed)));
}

static bool has_all(struct qcow2_instant *instant, u64 first, u64 last)
{
	for (u64 block = first; block <= last; block++)
		if (!xa_load(&instant->saved.blocks, block))
			return false;
	return true;
}

static bool had_no_memory(const struct qcow2_saved *s)
{
	return time_before(jiffies, READ_ONCE(s->no_memory_until));
}

/* A block is in one cluster. To copy less than half of one is cheaper than to keep the rest. */
static bool pays(const struct qcow2_image *img, const struct qcow2_saved *s, u64 guest_off,
		 u32 bytes)
{
	return img->geo.cluster_bits >= QCOW2_SAVED_SHIFT &&
	       bytes <= qcow2_cluster_bytes(&img->geo) / 2 && !goes_on(s, guest_off);
}

/*
 * In a data file there is no other place. There none is copied from where it is overwritten either, so
 * what was under way at the instant is nothing to wait for: it is in it or not, sector by sector.
 */
static bool may_save(const struct qcow2_image *img, const struct qcow2_instant *instant,
		     u64 guest_off, u32 bytes)
{
	const struct qcow2_saved *s = &instant->saved;

	return !had_no_memory(s) &&
	       (img->geo.has_data_file ||
		(READ_ONCE(s->is_open) && pays(img, s, guest_off, bytes))) &&
	       atomic_long_read(&instant->nr_pages) < max_blocks(instant);
}

enum qcow2_saved_verdict qcow2_saved_judge(struct qcow2_image *img, u64 guest_off, u32 bytes,
					  u32 want)
{
	enum qcow2_saved_verdict result = QCOW2_SAVED_ALL;
	struct qcow2_instant *instant;

	rcu_read_lock();
	instant = rcu_dereference(img->instant);
	if (!instant || !qcow2_instant_redirects(instant) ||
	    has_all(instant, first_of(instant, guest_off), block_of(guest_off + bytes - 1)))
		goto unlock;
	result = may_save(img, instant, guest_off, bytes) ? QCOW2_SAVED_MAY : QCOW2_SAVED_NOT;
	note_end(&instant->saved, guest_off + want);
unlock:
	rcu_read_unlock();
	return result;
}

/* Taking */

/**
 * struct taken - blocks that are read together
 * @instant: of which
 * @count: how many
 * @block: which
 * @vec: where from, and where to
 */
struct taken {
	struct qcow2_instant *instant;
	unsigned int count;
	u64 block[TAKE_TOGETHER];
	struct qcow2_iovec vec[TAKE_TOGETHER];
};

static void has_no_memory(struct qcow2_instant *instant)
{
	WRITE_ONCE(instant->saved.no_memory_until, jiffies + NO_MEMORY_JIFFIES);
}

/* Return: false when there is no room or no memory for it. */
static bool add(struct taken *t, u64 block, u64 host_off)
{
	struct qcow2_instant *instant = t->instant;
	void *buf;

	if (atomic_long_inc_return(&instant->nr_pages) > max_blocks(instant))
		goto err;
	buf = kmalloc(QCOW2_SAVED_BYTES, GFP_BLOCK);
	if (!buf) {
		has_no_memory(instant);
		goto err;
	}
	t->block[t->count] = block;
	t->vec[t->count++] = (struct qcow2_iovec) { host_off, buf, QCOW2_SAVED_BYTES };
	return true;
err:
	atomic_long_dec(&instant->nr_pages);
	return false;
}

/* A device may end inside its last cluster, and a data file with the disk. */
static void start_read(struct qcow2_image *img, struct qcow2_batch *b, struct qcow2_iovec vec)
{
	u64 end = img->geo.has_data_file ? img->geo.size : READ_ONCE(img->host_bytes);
	u32 there = vec.host_off < end ? min_t(u64, vec.bytes, end - vec.host_off) : 0;

	memset(vec.buf + there, 0, vec.bytes - there);
	vec.bytes = there;
	if (there)
		qcow2_batch_read(b, qcow2_data_file(img), &vec);
}

static int read_blocks(struct qcow2_image *img, const struct taken *t)
{
	struct qcow2_batch b;

	qcow2_batch_begin(&b);
	for (unsigned int i = 0; i < t->count; i++)
		start_read(img, &b, t->vec[i]);
	return qcow2_batch_end(&b);
}

/* Whoever was first has read what was there: others may have read what was written behind it. */
static void store(struct qcow2_instant *instant, u64 block, void *buf, int err)
{
	void *what = err ? UNREADABLE : buf, *old;

	old = err == -ENOMEM ? XA_ERROR(-ENOMEM) :
			       xa_cmpxchg(&instant->saved.blocks, block, NULL, what, GFP_BLOCK);
	if (xa_is_err(old))
		has_no_memory(instant);
	if (old)
		atomic_long_dec(&instant->nr_pages);
	if (old || err)
		kfree(buf);
}

static void take(struct qcow2_image *img, struct taken *t)
{
	/* Of any of them: the guest does not wait until it is known of which. */
	int err = read_blocks(img, t);

	for (unsigned int i = 0; i < t->count; i++)
		store(t->instant, t->block[i], t->vec[i].buf, err);
	t->count = 0;
	/* Before the write in place: qcow2_saved_show() */
	smp_wmb();
}

void qcow2_saved_take(struct qcow2_image *img, u64 guest_off, u64 host_off, u32 bytes)
{
	u64 last = block_of(guest_off + bytes - 1), block;
	struct taken t = { .count = 0 };

	/* It is there until all who are in such a read section have left it. */
	t.instant = rcu_dereference_check(img->instant, true);
	if (!t.instant)
		return;
	/* Blocks are where they are in a cluster. */
	host_off -= guest_off;
	for (block = first_of(t.instant, guest_off); block <= last; block++) {
		if (xa_load(&t.instant->saved.blocks, block))
			continue;
		if (!add(&t, block, host_off + (block << QCOW2_SAVED_SHIFT)))
			break;
		if (t.count == TAKE_TOGETHER)
			take(img, &t);
	}
	if (t.count)
		take(img, &t);
}

/* Showing */

/* @from: of the block; the iterator goes on behind it. */
static void copy_block(struct bio *bio, struct bvec_iter *iter, const void *from, u32 bytes)
{
	struct bvec_iter i, part = *iter;
	struct bio_vec bv;

	part.bi_size = bytes;
	__bio_for_each_segment(bv, bio, i, part) {
		memcpy_to_bvec(&bv, from);
		from += bv.bv_len;
	}
}

static bool show(struct qcow2_saved *s, struct bio *bio, struct bvec_iter iter)
{
	u64 at = (u64)iter.bi_sector << SECTOR_SHIFT;
	u64 end = at + iter.bi_size, start, stop;
	unsigned long block;
	void *was;

	xa_for_each_range(&s->blocks, block, was, block_of(at), block_of(end - 1)) {
		if (xa_is_value(was))
			return false;
		start = max(at, (u64)block << QCOW2_SAVED_SHIFT);
		stop = min(end, (u64)(block + 1) << QCOW2_SAVED_SHIFT);
		bio_advance_iter(bio, &iter, start - ((u64)iter.bi_sector << SECTOR_SHIFT));
		copy_block(bio, &iter, was + (start & (QCOW2_SAVED_BYTES - 1)), stop - start);
	}
	return true;
}

bool qcow2_saved_show(struct qcow2_instant *instant, struct bio *bio, struct bvec_iter iter)
{
	bool result = true;

	rcu_read_lock();
	/* pairs with take(): what was written in place before this was read is there */
	smp_rmb();
	/* Behind its end they may go at any time. */
	if (iter.bi_size && qcow2_instant_redirects(instant) && !xa_empty(&instant->saved.blocks))
		result = show(&instant->saved, bio, iter);
	rcu_read_unlock();
	return result;
}

/* Freeing */

/* Reads that look at them go on. Not by an rcu_head in each: they would show that. */
static void free_gone(struct qcow2_instant *instant, unsigned int count)
{
	struct qcow2_saved *s = &instant->saved;

	if (!count)
		return;
	synchronize_rcu_expedited();
	for (unsigned int i = 0; i < count; i++)
		if (!xa_is_value(s->gone[i]))
			kfree(s->gone[i]);
	atomic_long_sub(count, &instant->nr_pages);
}

void qcow2_saved_forget(struct qcow2_instant *instant, u64 from, u64 to)
{
	struct qcow2_saved *s = &instant->saved;
	unsigned long block = block_of(from);
	unsigned int count = 0;
	void *was;

	lockdep_assert_held(&instant->ending);
	/* Nobody but us erases any, until the instant has ended. */
	xa_for_each_start(&s->blocks, block, was, block) {
		if (block >= block_of(to))
			break;
		xa_erase(&s->blocks, block);
		s->gone[count++] = was;
		if (count == QCOW2_SAVED_GONE) {
			free_gone(instant, count);
			count = 0;
		}
	}
	free_gone(instant, count);
}

void qcow2_saved_init(struct qcow2_saved *s)
{
	xa_init(&s->blocks);
	s->no_memory_until = jiffies;
	/* Nowhere: the disk begins where nothing has ended. */
	memset(s->ends, 0xff, sizeof(s->ends));
}

void qcow2_saved_free(struct qcow2_saved *s)
{
	unsigned long block;
	void *was;

	xa_for_each(&s->blocks, block, was) {
		if (!xa_is_value(was))
			kfree(was);
		cond_resched();
	}
	xa_destroy(&s->blocks);
}
