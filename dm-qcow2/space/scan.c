// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which refcounts count no free cluster, so that nobody looks for one there.
 *
 * refill.c looks through the cache, a page at a time, and a large image that is full has
 * thousands of pages. So from activation on, the space thread reads all refcounts once, in
 * pieces of up to 64 KiB and past the cache, and notes those without a free cluster:
 *
 *	| full | full | not full | full | ? ? ? ? ? ? ? |     behind the end
 *	              ^ cursor          ^ next          ^ end ^ tail
 *
 * It does so in steps, between which the thread does what others wait for. What it has
 * not seen yet is not waited for: meanwhile clusters are taken from the tail, behind the
 * end of a file, or from the last refcount block on. From then on the bits are kept
 * right: they are set for what the cursor has passed, and cleared when a cluster becomes free.
 *
 * Where left.c needs it, the clusters in use are counted on the way; from then on refcount.c
 * tells of changes.
 *
 * All this is only a hint. Whether a cluster is free is judged by the cache alone, and a
 * piece that cannot be read is left to it. Refcounts change in the cache and on disk
 * within one work of the thread, and never while this reads them.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "format/refcount-entry.h"

#include "refcount.h"
#include "space.h"

#define MAX_PIECE_BITS	16U

/* What one step reads, and how many refcount-table entries it looks at for that. */
#define STEP_BYTES	(256U << 10)
#define STEP_PIECES	64U
#define STEP_ENTRIES	4096U

/* Between two steps: the disk is there for others. */
#define STEP_DELAY	1
/* Without memory */
#define RETRY_DELAY	(HZ / 10)

/* The most that is read: what counts 128 TiB in clusters of 64 KiB. */
#define MAX_BYTES	(4ULL << 30)

/* Bits for a refcount table that is going to grow. */
#define MIN_PIECES	65536ULL

/**
 * struct qcow2_scan - what is known of the refcounts
 * @stamp: of the file when it was left at suspend
 * @cursor: qcow2_space.cursor then
 * @is_remembered: some of it was found out before a suspend
 * @next: first piece that was not looked at
 * @end: the scan ends before this piece
 * @limit: pieces from here on were made while active; those before, but not before @end, are
 *	not looked at
 * @nr: number of bits
 * @full: a bit for each piece: it counts no free cluster, as far as known
 */
struct qcow2_scan {
	struct qcow2_stamp stamp;
	u64 cursor;
	bool is_remembered;
	u64 next;
	u64 end;
	u64 limit;
	u64 nr;
	unsigned long full[];
};

/**
 * struct step - pieces that are read together
 * @max: how many there may be
 * @count: how many there are
 * @next: the piece behind all that were looked at
 * @buf: memory for @max pieces
 * @piece: their numbers
 * @vec: where they are
 */
struct step {
	unsigned int max;
	unsigned int count;
	u64 next;
	void *buf;
	u64 piece[STEP_PIECES];
	struct qcow2_iovec vec[STEP_PIECES];
};

/* log2 of the bytes of a piece: a refcount block, or a part of one. */
static unsigned int piece_bits(const struct qcow2_image *img)
{
	return min(img->geo.cluster_bits, MAX_PIECE_BITS);
}

/* log2 of the clusters that a piece counts. */
static unsigned int counted_bits(const struct qcow2_image *img)
{
	return piece_bits(img) + 3 - img->geo.refcount_order;
}

/* log2 of the pieces of a refcount block. */
static unsigned int block_bits(const struct qcow2_image *img)
{
	return img->geo.cluster_bits - piece_bits(img);
}

static void forget(struct qcow2_image *img)
{
	kvfree(img->file.scan);
	img->file.scan = NULL;
}

void qcow2_scan_recall(struct qcow2_image *img)
{
	struct qcow2_scan *scan = img->file.scan;
	struct qcow2_stamp now;

	if (!scan)
		return;
	scan->is_remembered = true;
	if (!qcow2_file_stamp(&img->file, &now) || !qcow2_stamp_equal(&now, &scan->stamp))
		forget(img);
}

void qcow2_scan_remember(struct qcow2_image *img, bool is_clean)
{
	struct qcow2_scan *scan = img->file.scan;

	if (!scan || !img->file.is_writable)
		return;
	scan->cursor = img->space->cursor;
	if (!is_clean || !qcow2_file_stamp(&img->file, &scan->stamp))
		forget(img);
}

/* Of the refcount table as it is now. */
static u64 count_pieces(const struct qcow2_image *img)
{
	return qcow2_reftable_entries(img) << block_bits(img);
}

static u64 max_pieces(const struct qcow2_image *img)
{
	return min(count_pieces(img), MAX_BYTES >> piece_bits(img));
}

static struct qcow2_scan *alloc_scan(struct qcow2_image *img)
{
	u64 nr = max(max_pieces(img), MIN_PIECES);
	struct qcow2_scan *scan;

	scan = kvzalloc(struct_size(scan, full, BITS_TO_LONGS(nr)), GFP_NOIO | __GFP_NOWARN);
	if (scan)
		scan->nr = nr;
	return scan;
}

static void set_end(struct qcow2_image *img, struct qcow2_scan *scan)
{
	scan->limit = min(count_pieces(img),
			  DIV_ROUND_UP_ULL(img->space->floor, BIT_ULL(counted_bits(img))));
	scan->end = min3(scan->nr, max_pieces(img), scan->limit);
}

void qcow2_scan_start(struct qcow2_image *img)
{
	struct qcow2_scan *scan = img->file.scan ?: alloc_scan(img);
	struct qcow2_space *s = img->space;

	if (scan)
		set_end(img, scan);
	img->file.scan = scan;
	qcow2_left_start(img);
	if (!scan)
		return;
	s->cursor = scan->cursor;
	kthread_queue_delayed_work(s->worker, &s->scan, 0);
}

/* Where a piece is; 0 where there is none, or none that can be right: refill.c will see. */
static int locate(struct qcow2_image *img, u64 piece, u64 *host_off)
{
	u64 block = piece >> block_bits(img);
	u64 in_block = piece & (BIT_ULL(block_bits(img)) - 1);
	struct qcow2_mpage *p;
	u64 off;

	p = qcow2_mpage_get(img, QCOW2_META_REFTABLE, block >> img->geo.entry_bits);
	if (IS_ERR(p))
		return PTR_ERR(p);
	off = qcow2_reftable_offset(qcow2_mpage_entry(p, qcow2_slot(&img->geo, block)));
	qcow2_mpage_put(p);
	*host_off = 0;
	if (off && !qcow2_in_cluster(&img->geo, off) &&
	    off <= img->host_bytes - qcow2_cluster_bytes(&img->geo))
		*host_off = off + (in_block << piece_bits(img));
	return 0;
}

static void add_piece(struct qcow2_image *img, struct step *step, u64 piece, u64 host_off)
{
	step->piece[step->count] = piece;
	step->vec[step->count] = (struct qcow2_iovec) {
		.host_off = host_off,
		.buf = step->buf + ((size_t)step->count << piece_bits(img)),
		.bytes = 1U << piece_bits(img),
	};
	step->count++;
}

static int collect(struct qcow2_image *img, struct step *step)
{
	const struct qcow2_scan *scan = img->file.scan;
	u64 end = min(scan->end, scan->next + STEP_ENTRIES);
	u64 host_off;
	int err;

	for (step->next = scan->next; step->next < end && step->count < step->max; step->next++) {
		/* What the cursor has passed meanwhile is known to be full, but was not counted. */
		if (test_bit(step->next, scan->full) && !qcow2_left_is_counted(img))
			continue;
		err = locate(img, step->next, &host_off);
		if (err)
			return err;
		if (host_off)
			add_piece(img, step, step->next, host_off);
	}
	return 0;
}

static u64 count_used(const struct qcow2_image *img, const struct qcow2_iovec *piece, bool is_full)
{
	u32 all = BIT(counted_bits(img));

	if (is_full)
		return all;
	if (!memchr_inv(piece->buf, 0, piece->bytes))
		return 0;
	return qcow2_refcount_count_used(piece->buf, img->geo.refcount_order, all);
}

static void note_pieces(struct qcow2_image *img, const struct step *step)
{
	const struct qcow2_iovec *v;
	bool is_full;

	for (unsigned int i = 0; i < step->count; i++) {
		v = &step->vec[i];
		is_full = !qcow2_refcount_has_zero(v->buf, img->geo.refcount_order, v->bytes);
		if (is_full)
			__set_bit(step->piece[i], img->file.scan->full);
		if (qcow2_left_is_counted(img))
			img->space->left.used += count_used(img, v, is_full);
	}
}

static int run_step(struct qcow2_image *img, struct step *step)
{
	int err;

	err = collect(img, step);
	if (!err && step->count)
		err = qcow2_file_rw(&img->file, REQ_OP_READ, step->vec, step->count);
	if (err)
		return err;
	note_pieces(img, step);
	img->file.scan->next = step->next;
	return 0;
}

/* As much memory as there is without an effort. */
static int alloc_buf(struct qcow2_image *img, struct step *step)
{
	gfp_t gfp = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN;

	step->max = min(STEP_PIECES, STEP_BYTES >> piece_bits(img));
	for (; step->max; step->max /= 2) {
		step->buf = kmalloc((size_t)step->max << piece_bits(img), gfp);
		if (step->buf)
			return 0;
	}
	return -ENOMEM;
}

static int alloc_and_run(struct qcow2_image *img)
{
	struct step *step = kzalloc(sizeof(*step), GFP_NOIO);
	int err;

	if (!step)
		return -ENOMEM;
	err = alloc_buf(img, step);
	if (!err) {
		err = run_step(img, step);
		kfree(step->buf);
	}
	kfree(step);
	return err;
}

static bool is_complete(const struct qcow2_scan *scan)
{
	return scan->next >= scan->end;
}

/* One step; after an error the rest is left to the cache. Return: whether there was no memory. */
static bool advance(struct qcow2_image *img)
{
	struct qcow2_scan *scan = img->file.scan;
	int err = is_complete(scan) ? 0 : alloc_and_run(img);

	if (err && err != -ENOMEM)
		scan->end = scan->next;
	return err == -ENOMEM;
}

void qcow2_scan_work(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_space, scan.work)->img;
	struct qcow2_space *s = img->space;
	bool lacks_memory;
	unsigned int noio;

	if (qcow2_failed(img))
		return;
	noio = qcow2_worker_enter();
	lacks_memory = advance(img);
	memalloc_noio_restore(noio);
	if (!is_complete(img->file.scan))
		kthread_queue_delayed_work(s->worker, &s->scan,
					   lacks_memory ? RETRY_DELAY : STEP_DELAY);
	else
		qcow2_left_look(img);
}

bool qcow2_scan_finish(struct qcow2_image *img)
{
	struct qcow2_scan *scan = img->file.scan;

	if (!scan)
		return false;
	if (scan->is_remembered) {
		/* Whatever the stamp says. */
		scan->is_remembered = false;
		scan->next = 0;
		bitmap_zero(scan->full, scan->nr);
		img->space->cursor = 0;
	} else if (is_complete(scan)) {
		return false;
	}
	while (!is_complete(scan)) {
		/* Whoever waits for this gets what is known. */
		if (advance(img))
			scan->end = scan->next;
		cond_resched();
	}
	return true;
}

bool qcow2_scan_has_counted(const struct qcow2_image *img, u64 cluster)
{
	const struct qcow2_scan *scan = img->file.scan;
	u64 piece = cluster >> counted_bits(img);

	return scan && (piece < scan->next || piece >= scan->limit);
}

bool qcow2_scan_uncounted(const struct qcow2_image *img, u64 *clusters)
{
	const struct qcow2_scan *scan = img->file.scan;
	u64 end = qcow2_file_bytes(&img->file) >> img->geo.cluster_bits;

	if (!scan || !is_complete(scan))
		return false;
	*clusters = min(scan->limit << counted_bits(img), end) -
		    min(scan->next << counted_bits(img), end);
	return true;
}

bool qcow2_scan_is_ahead(const struct qcow2_image *img, u64 cluster)
{
	const struct qcow2_scan *scan = img->file.scan;
	u64 piece = cluster >> counted_bits(img);

	return scan && piece >= scan->next && piece < scan->end;
}

u64 qcow2_scan_skip(const struct qcow2_image *img, u64 cluster)
{
	const struct qcow2_scan *scan = img->file.scan;
	u64 piece = cluster >> counted_bits(img);

	if (!scan || piece >= scan->nr || !test_bit(piece, scan->full))
		return cluster;
	return (u64)find_next_zero_bit(scan->full, scan->nr, piece) << counted_bits(img);
}

/* First cluster that the last refcount block counts. */
static int find_last_block(struct qcow2_image *img, u64 *cluster)
{
	u64 page = qcow2_reftable_entries(img) >> img->geo.entry_bits;
	struct qcow2_mpage *p;
	u32 slot = 0;

	while (page && !slot) {
		p = qcow2_mpage_get(img, QCOW2_META_REFTABLE, --page);
		if (IS_ERR(p))
			return PTR_ERR(p);
		slot = BIT(img->geo.entry_bits);
		while (slot && !qcow2_mpage_entry(p, slot - 1))
			slot--;
		qcow2_mpage_put(p);
		cond_resched();
	}
	*cluster = slot ? ((page << img->geo.entry_bits) + slot - 1) << img->geo.refblock_bits : 0;
	return 0;
}

int qcow2_scan_tail(struct qcow2_image *img, u64 *cluster)
{
	struct qcow2_space *s = img->space;
	int err;

	if (!s->tail) {
		err = find_last_block(img, &s->tail);
		if (err)
			return err;
	}
	*cluster = max(s->tail, s->cursor);
	return 0;
}

void qcow2_scan_pass(struct qcow2_image *img, u64 cluster)
{
	struct qcow2_scan *scan = img->file.scan;
	u64 first = img->space->cursor >> counted_bits(img);
	u64 end = cluster >> counted_bits(img);

	img->space->cursor = cluster;
	if (!scan)
		return;
	end = min(end, scan->nr);
	if (first < end)
		bitmap_set(scan->full, first, end - first);
}

void qcow2_scan_note_free(struct qcow2_image *img, u64 cluster, u64 count)
{
	struct qcow2_scan *scan = img->file.scan;
	u64 first = cluster >> counted_bits(img);
	u64 end = ((cluster + count - 1) >> counted_bits(img)) + 1;

	img->space->cursor = min(img->space->cursor, cluster);
	if (!scan)
		return;
	end = min(end, scan->nr);
	if (first < end)
		bitmap_clear(scan->full, first, end - first);
}
