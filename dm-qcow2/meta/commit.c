// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commits: making the L1 and L2 tables durable, FLUSH and FUA.
 *
 * One commit is:	take the waiting bios
 *			publish fills			(cow/fill-publish.c: data that no
 *							 entry points at yet)
 *			write dirty L2 and L1 pages	(COMMIT_DATA inside, if any
 *							 entry points at a copy)
 *			barrier COMMIT
 *			complete the bios
 *
 * A bio joins the commit that starts after it arrived, never the one under way:
 * its data was written before the barrier starts, and its entries were in the
 * cache before the snapshots are taken. L1 and L2 pages need no order between
 * them: a new L2 table lies in a cluster that reads as zero, durably.
 *
 * A crash at any line: entries on disk point at clusters that are refcounted and
 * hold zeroes or the guest's data; those not on disk leave their cluster leaked.
 */
#include <linux/sched/mm.h>

#include "barrier.h"
#include "commit.h"
#include "test-skip.h"
#include "trace.h"

/* How long a change may stay in memory when nobody flushes. */
#define MAX_AGE	(5 * HZ)

/* Whatever it was: nothing that a guest could wait for or retry. */
static int flush_error(struct qcow2_commit *c, bool has_bios, int err)
{
	bool owes_error = c->owes_error;

	if (has_bios)
		c->owes_error = false;
	return err || owes_error ? -EIO : 0;
}

static int write_tables(struct qcow2_image *img)
{
	struct qcow2_writeback *wb = &img->commit->wb;
	int err;

	err = qcow2_writeback_kind(img, wb, QCOW2_META_L2);
	if (!err)
		err = qcow2_writeback_kind(img, wb, QCOW2_META_L1);
	if (!err)
		err = qcow2_barrier(img, QCOW2_BARRIER_COMMIT);
	qcow2_writeback_end(img, wb, err);
	return err;
}

static void complete_bios(struct bio_list *bios, int err)
{
	struct bio *bio;

	while ((bio = bio_list_pop(bios))) {
		if (err)
			bio->bi_status = errno_to_blk_status(err);
		bio_endio(bio);
	}
}

static u64 time_if_traced(void)
{
	return trace_qcow2_commit_end_enabled() ? ktime_get_ns() : 0;
}

static void trace_end(const struct qcow2_commit *c, u64 begun, int err)
{
	if (begun)
		trace_qcow2_commit_end(c->img, c->started, ktime_get_ns() - begun, err);
}

static void commit(struct kthread_work *work)
{
	struct qcow2_commit *c = container_of(work, struct qcow2_commit, work);
	struct qcow2_image *img = c->img;
	unsigned int noio = qcow2_worker_enter();
	struct bio_list bios = BIO_EMPTY_LIST;
	u64 begun = time_if_traced();
	unsigned long flags;
	int err;

	spin_lock_irqsave(&c->lock, flags);
	WRITE_ONCE(c->started, c->started + 1);
	bio_list_merge_init(&bios, &c->waiting);
	spin_unlock_irqrestore(&c->lock, flags);
	trace_qcow2_commit_begin(img, c->started, bio_list_size(&bios), READ_ONCE(c->nr_fills));

	if (!qcow2_test_skips(QCOW2_STEP_PREPARE) && c->prepare(img)) {
		c->owes_error = true;
		qcow2_commit_age(img);
	}
	err = write_tables(img);
	if (!err)
		WRITE_ONCE(c->durable, c->started);
	WRITE_ONCE(c->done, c->started);
	wake_up_all(&img->cache.wait);
	trace_end(c, begun, err);
	c->committed(img);
	complete_bios(&bios, flush_error(c, !bio_list_empty(&bios), err));
	memalloc_noio_restore(noio);
}

static void age(struct kthread_work *work)
{
	struct qcow2_commit *c = container_of(work, struct qcow2_commit, age_work.work);
	struct qcow2_image *img = c->img;

	if (!qcow2_commit_is_idle(img))
		qcow2_commit_kick(img);
}

void qcow2_commit_kick(struct qcow2_image *img)
{
	kthread_queue_work(img->commit->worker, &img->commit->work);
}

void qcow2_commit_age(struct qcow2_image *img)
{
	kthread_queue_delayed_work(img->commit->worker, &img->commit->age_work, MAX_AGE);
}

void qcow2_commit_bio(struct qcow2_image *img, struct bio *bio)
{
	struct qcow2_commit *c = img->commit;
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	bio_list_add(&c->waiting, bio);
	spin_unlock_irqrestore(&c->lock, flags);
	qcow2_commit_kick(img);
}

int qcow2_commit_wait(struct qcow2_image *img)
{
	qcow2_commit_kick(img);
	kthread_flush_work(&img->commit->work);
	return qcow2_failed(img) ? -EIO : 0;
}

bool qcow2_commit_is_idle(struct qcow2_image *img)
{
	struct qcow2_commit *c = img->commit;
	u64 started = READ_ONCE(c->started);
	bool is_clean;

	smp_rmb(); /* a page is off the dirty count only after started was raised */
	is_clean = !READ_ONCE(img->cache.nr_dirty) && !READ_ONCE(c->nr_fills);
	smp_rmb(); /* the same for a commit that started meanwhile */
	return is_clean && READ_ONCE(c->done) == started &&
	       READ_ONCE(c->started) == started;
}

int qcow2_commit_init(struct qcow2_commit *c, struct qcow2_image *img)
{
	int err;

	c->img = img;
	img->commit = c;
	spin_lock_init(&c->lock);
	bio_list_init(&c->waiting);
	kthread_init_work(&c->work, commit);
	kthread_init_work(&c->corrupt_work, qcow2_mark_corrupt);
	kthread_init_delayed_work(&c->age_work, age);
	err = qcow2_writeback_init(&c->wb, &img->geo);
	if (err)
		return err;
	c->worker = kthread_create_worker(0, "qcow2_commit/%s", qcow2_name(img));
	if (IS_ERR(c->worker)) {
		qcow2_writeback_exit(&c->wb);
		return PTR_ERR(c->worker);
	}
	return 0;
}

void qcow2_commit_exit(struct qcow2_commit *c)
{
	kthread_cancel_delayed_work_sync(&c->age_work);
	kthread_destroy_worker(c->worker);
	qcow2_writeback_exit(&c->wb);
}
