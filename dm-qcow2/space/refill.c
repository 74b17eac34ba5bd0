// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preparing clusters for allocation.
 *
 *	find runs of clusters with refcount 0	-- nothing is written yet
 *	zero them				-- still free on disk
 *	refcounts 1, in new refcount blocks where none is
 *	barrier REFCOUNTS			-- leaked from here on
 *	refcount-table entries of new blocks
 *	barrier REFTABLE
 *	ready
 *
 * A new refcount block is the first cluster of the run it counts; its own
 * refcount is in it. Until the refcount table points at it, it and everything it
 * counts is free on disk.
 *
 * Reads and allocations of memory may fail: whatever needs them comes before the first
 * change, of all runs up to the zeroing, then of one run at a time. What was
 * changed goes on to the end without the runs that could not be. Only a write or a
 * barrier that fails is final.
 */
#include <linux/slab.h>

#include "format/refcount-entry.h"
#include "lease/lease.h"

#include "refcount.h"
#include "space.h"

/**
 * struct run - free clusters that one refcount block counts
 * @start: first cluster
 * @count: number of clusters
 * @new_block: there is no refcount block yet: the first cluster becomes it
 * @extent: to hand it out in; from when it is counted until it is published
 */
struct run {
	u64 start;
	u64 count;
	bool new_block;
	struct qcow2_extent *extent;
};

#define MAX_RUNS	256

/* For so long at least, and at most, clusters are zeroed although somebody waits for some. */
#define ZEROING_NS	(2 * NSEC_PER_MSEC)
#define MAX_ZEROING_NS	(50 * NSEC_PER_MSEC)

/**
 * struct plan - what one refill prepares
 * @runs: in ascending order
 * @nr_runs: how many
 * @ranges: of the file: neighbouring runs are zeroed together
 * @nr_clusters: clusters in them
 * @cursor: where the next refill goes on
 * @is_tail: they are from the tail, as it is not known where others are free
 */
struct plan {
	struct run runs[MAX_RUNS];
	unsigned int nr_runs;
	struct qcow2_lease_range ranges[MAX_RUNS];
	u64 nr_clusters;
	u64 cursor;
	bool is_tail;
};

/* Host clusters that the image can ever have. */
static u64 max_clusters(const struct qcow2_image *img)
{
	u64 bytes = qcow2_is_file(img) ? QCOW2_MAX_HOST_OFFSET : qcow2_file_bytes(&img->file);

	return bytes >> img->geo.cluster_bits;
}

static void add_run(struct plan *plan, u64 start, u64 count, bool new_block)
{
	if (count <= new_block)
		return;
	plan->runs[plan->nr_runs++] = (struct run) { start, count, new_block, NULL };
	plan->nr_clusters += count;
}

/* No refcount block: all clusters up to the end of what it would count are free. */
static void plan_new_block(struct qcow2_image *img, struct plan *plan, u64 want)
{
	u64 block_end = ((plan->cursor >> img->geo.refblock_bits) + 1) << img->geo.refblock_bits;
	u64 end = min3(plan->cursor + want + 1, block_end, max_clusters(img));

	add_run(plan, plan->cursor, end - plan->cursor, true);
	plan->cursor = end;
}

static bool is_free(struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot)
{
	return !qcow2_refcount_get(p->data, img->geo.refcount_order, slot);
}

/* The free runs of one page of refcounts, from the cursor on. */
static void plan_page(struct qcow2_image *img, struct qcow2_mpage *p, struct plan *plan, u64 want)
{
	u64 first = plan->cursor >> img->geo.refpage_bits << img->geo.refpage_bits;
	u64 end = min(first + (1ULL << img->geo.refpage_bits), max_clusters(img));
	u64 goal = plan->nr_clusters + want;
	u64 start;

	while (plan->cursor < end && plan->nr_clusters < goal && plan->nr_runs < MAX_RUNS) {
		while (plan->cursor < end && !is_free(img, p, plan->cursor - first))
			plan->cursor++;
		start = plan->cursor;
		while (plan->cursor < end && is_free(img, p, plan->cursor - first) &&
		       plan->cursor - start < goal - plan->nr_clusters)
			plan->cursor++;
		add_run(plan, start, plan->cursor - start, false);
	}
}

/* A damaged image may call its own tables free. */
static int check_plan(struct qcow2_image *img, const struct plan *plan)
{
	const struct run *run;
	int err;

	for (run = plan->runs; run < plan->runs + plan->nr_runs; run++) {
		err = qcow2_tables_check(img, run->start, run->count);
		if (err)
			return err;
	}
	return 0;
}

/* Whether to look at the cursor of a plan for free clusters. */
static bool has_more(struct qcow2_image *img, const struct plan *plan, u64 want)
{
	return plan->nr_clusters < want && plan->nr_runs < MAX_RUNS &&
	       plan->cursor < max_clusters(img) &&
	       plan->cursor >> img->geo.refblock_bits < qcow2_reftable_entries(img) &&
	       (plan->is_tail || !qcow2_scan_is_ahead(img, plan->cursor));
}

static void skip_full(struct qcow2_image *img, struct plan *plan)
{
	plan->cursor = qcow2_scan_skip(img, plan->cursor);
}

static int find_free(struct qcow2_image *img, struct plan *plan, u64 want)
{
	struct qcow2_mpage *p;

	for (skip_full(img, plan); has_more(img, plan, want); skip_full(img, plan)) {
		p = qcow2_mpage_get(img, QCOW2_META_REFBLOCK,
				    plan->cursor >> img->geo.refpage_bits);
		if (IS_ERR(p))
			return PTR_ERR(p);
		if (p->host_off)
			plan_page(img, p, plan, want - plan->nr_clusters);
		else
			plan_new_block(img, plan, want - plan->nr_clusters);
		qcow2_mpage_put(p);
	}
	return 0;
}

/* Instead of waiting for a scan that has found none yet. */
static int find_free_in_tail(struct qcow2_image *img, struct plan *plan, u64 want)
{
	int err;

	qcow2_scan_pass(img, plan->cursor);
	err = qcow2_scan_tail(img, &plan->cursor);
	if (err)
		return err;
	plan->is_tail = true;
	return find_free(img, plan, want);
}

static int make_plan(struct qcow2_image *img, struct plan *plan, u64 want)
{
	int err;

	plan->nr_runs = 0;
	plan->nr_clusters = 0;
	plan->cursor = img->space->cursor;
	plan->is_tail = false;
	err = find_free(img, plan, want);
	if (!err && !plan->nr_runs && qcow2_scan_is_ahead(img, plan->cursor))
		err = find_free_in_tail(img, plan, want);
	return err ?: check_plan(img, plan);
}

/* Leave a run out, and those behind it. */
static void cut_plan(struct plan *plan, unsigned int run)
{
	plan->nr_runs = run;
	plan->cursor = plan->runs[run].start;
}

/*
 * Whether to go on with what has been zeroed since then. Where free clusters are scattered the zeroing takes
 * long; as long as the barrier behind it is no great loss.
 */
static bool is_enough(const struct qcow2_image *img, u64 begun)
{
	const struct qcow2_space *s = img->space;

	return READ_ONCE(s->nr_waiting) &&
	       ktime_get_ns() - begun > clamp_t(u64, s->barrier_ns, ZEROING_NS, MAX_ZEROING_NS);
}

/* Return: how many there are. */
static unsigned int find_ranges(const struct qcow2_image *img, struct plan *plan)
{
	unsigned int bits = img->geo.cluster_bits, count = 0;
	struct qcow2_lease_range *range = NULL;

	for (unsigned int i = 0; i < plan->nr_runs; i++) {
		u64 host_off = plan->runs[i].start << bits;

		if (!range || range->host_off + range->bytes != host_off) {
			range = &plan->ranges[count++];
			*range = (struct qcow2_lease_range) { .host_off = host_off };
		}
		range->bytes += plan->runs[i].count << bits;
	}
	return count;
}

static unsigned int run_of(const struct qcow2_image *img, const struct plan *plan, u64 host_off)
{
	unsigned int run = 0;

	while (plan->runs[run].start << img->geo.cluster_bits != host_off)
		run++;
	return run;
}

static int zero_runs(struct qcow2_image *img, struct plan *plan)
{
	unsigned int count = find_ranges(img, plan);
	u64 begun = ktime_get_ns();
	int err = 0;

	qcow2_lease_foresee(img->file.lease, plan->ranges, count);
	for (unsigned int i = 0; i < count && !err; i++) {
		const struct qcow2_lease_range *range = &plan->ranges[i];

		if (i && is_enough(img, begun)) {
			cut_plan(plan, run_of(img, plan, range->host_off));
			break;
		}
		err = qcow2_file_zero(&img->file, range->host_off, range->bytes);
	}
	return err;
}

/* Point the refcount table at a new block, in the cache. */
static int add_refblock(struct qcow2_image *img, u64 cluster)
{
	u64 block = cluster >> img->geo.refblock_bits;
	struct mutex *mutex = qcow2_table_mutex(img, QCOW2_META_REFBLOCK, block);
	u64 host_off = cluster << img->geo.cluster_bits;
	struct qcow2_mpage *p;
	int err;

	p = qcow2_mpage_get(img, QCOW2_META_REFTABLE, block >> img->geo.entry_bits);
	if (IS_ERR(p))
		return PTR_ERR(p);
	mutex_lock(mutex);
	err = qcow2_table_attach(img, QCOW2_META_REFBLOCK, block, host_off);
	if (!err) {
		spin_lock(&p->lock);
		qcow2_mpage_set_entry(img, p, qcow2_slot(&img->geo, block), host_off);
		spin_unlock(&p->lock);
	}
	mutex_unlock(mutex);
	qcow2_mpage_put(p);
	return err;
}

/* Count a run as a whole, in the cache, or leave all as it is. */
static int count_run(struct qcow2_image *img, struct run *run)
{
	int err;

	run->extent = kmalloc(sizeof(*run->extent), GFP_NOIO);
	if (!run->extent)
		return -ENOMEM;
	err = qcow2_refcount_pin(img, run->start, run->count);
	if (err)
		goto err_free;
	if (run->new_block)
		err = add_refblock(img, run->start);
	if (!err)
		qcow2_refcount_fill_pinned(img, run->start, run->count, 1);
	qcow2_refcount_unpin(img);
	if (!err)
		return 0;
err_free:
	kfree(run->extent);
	run->extent = NULL;
	return err;
}

/* Those that cannot be counted are left out of the plan; an error if that is all. */
static int count_runs(struct qcow2_image *img, struct plan *plan)
{
	int err;

	for (unsigned int i = 0; i < plan->nr_runs; i++) {
		err = count_run(img, &plan->runs[i]);
		if (err) {
			cut_plan(plan, i);
			return i ? 0 : err;
		}
	}
	return 0;
}

static bool has_new_block(const struct plan *plan)
{
	const struct run *run;

	for (run = plan->runs; run < plan->runs + plan->nr_runs; run++)
		if (run->new_block)
			return true;
	return false;
}

static int write_refcounts(struct qcow2_image *img, const struct plan *plan)
{
	u64 begun = ktime_get_ns();
	int err;

	err = qcow2_refcount_write(img, QCOW2_META_REFBLOCK) ?:
	      qcow2_barrier(img, QCOW2_BARRIER_REFCOUNTS);
	if (!err && has_new_block(plan))
		err = qcow2_refcount_write(img, QCOW2_META_REFTABLE) ?:
		      qcow2_barrier(img, QCOW2_BARRIER_REFTABLE);
	img->space->barrier_ns = ktime_get_ns() - begun;
	return err;
}

static void move_cursor(struct qcow2_image *img, const struct plan *plan)
{
	if (plan->is_tail)
		WRITE_ONCE(img->space->tail, plan->cursor);
	else
		qcow2_scan_pass(img, plan->cursor);
}

static void publish(struct qcow2_image *img, const struct plan *plan)
{
	const struct run *run;

	move_cursor(img, plan);
	for (run = plan->runs; run < plan->runs + plan->nr_runs; run++) {
		run->extent->start = run->start + run->new_block;
		run->extent->count = run->count - run->new_block;
		qcow2_space_add_ready(img, run->extent);
	}
}

static void abandon(const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->nr_runs; i++)
		kfree(plan->runs[i].extent);
}

static int execute(struct qcow2_image *img, struct plan *plan)
{
	int err;

	err = zero_runs(img, plan);
	if (err == -ENOSPC || err == -EDQUOT || err == -EFBIG)
		return -ENOSPC;
	if (err && err != -ENOMEM)
		qcow2_fail(img, "zeroing free clusters", err);
	if (err)
		return err;
	/* Before new refcount blocks are loaded: they lie behind the old end. */
	qcow2_set_end(img, qcow2_image_end(img->geo.cluster_bits, qcow2_file_bytes(&img->file),
					   qcow2_is_file(img)));
	err = count_runs(img, plan);
	if (err)
		return err;
	err = write_refcounts(img, plan);
	if (err)
		abandon(plan);
	else
		publish(img, plan);
	return err;
}

static int prepare(struct qcow2_image *img, struct plan *plan, u64 want)
{
	int err;

	err = make_plan(img, plan, want);
	if (!err && !plan->nr_runs && !plan->is_tail && plan->cursor < max_clusters(img))
		err = qcow2_reftable_grow(img) ?: make_plan(img, plan, want);
	if (plan->nr_runs)
		return err ?: execute(img, plan);
	if (!err || err == -ENOSPC)
		move_cursor(img, plan);
	return err ?: -ENOSPC;
}

/* On a host that is nearly full, take what still fits, if any cluster is free at all. */
static int prepare_what_fits(struct qcow2_image *img, struct plan *plan)
{
	u64 want = img->space->step;
	int err;

	do {
		err = prepare(img, plan, want);
		want /= 2;
	} while (err == -ENOSPC && !qcow2_failed(img) && want && plan->nr_runs);
	return err;
}

int qcow2_refill(struct qcow2_image *img)
{
	struct plan *plan;
	int err;

	if (qcow2_failed(img))
		return -EIO;
	plan = kvmalloc(sizeof(*plan), GFP_NOIO);
	if (!plan)
		return -ENOMEM;
	do {
		err = prepare_what_fits(img, plan);
	} while (err == -ENOSPC && !qcow2_failed(img) && qcow2_scan_finish(img));
	kvfree(plan);
	return err;
}
