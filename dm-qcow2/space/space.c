// SPDX-License-Identifier: GPL-2.0-only
/*
 * Free space of the image: handing it out, waiting for it, giving it back.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "meta/trace.h"


#include "refcount.h"
#include "space.h"

/* For so long nothing is prepared while much is dropped. */
#define PATIENCE	(HZ / 2)

#define STEP_BYTES	(64ULL << 20)
#define MIN_STEP	8

/* While there is no memory: how many times to look again before writes fail. */
#define MEMORY_TRIES	100

static void kick(struct qcow2_image *img)
{
	kthread_queue_work(img->space->worker, &img->space->work);
}

u64 qcow2_space_take(struct qcow2_image *img, u64 want, u64 *start)
{
	struct qcow2_space *s = img->space;
	struct qcow2_extent *e;
	u64 count = 0;

	spin_lock(&s->lock);
	e = list_first_entry_or_null(&s->ready, struct qcow2_extent, node);
	if (e) {
		count = min(want, e->count);
		*start = e->start;
		e->start += count;
		e->count -= count;
		s->nr_ready -= count;
		if (!e->count) {
			list_del(&e->node);
			kfree(e);
		}
	}
	if (s->nr_ready < s->step / 2) {
		s->is_wanted = true;
		kick(img);
	}
	spin_unlock(&s->lock);
	return count;
}

void qcow2_space_add_ready(struct qcow2_image *img, struct qcow2_extent *e)
{
	struct qcow2_space *s = img->space;

	spin_lock(&s->lock);
	s->nr_ready += e->count;
	list_add_tail(&e->node, &s->ready);
	spin_unlock(&s->lock);
}

void qcow2_space_give_back(struct qcow2_image *img, struct qcow2_extent *e, u64 cluster)
{
	e->start = cluster;
	e->count = 1;
	qcow2_space_add_ready(img, e);
}

/* Before that is done it is asked for what is kept. */
static bool may_be_refused(const struct qcow2_image *img)
{
	return !READ_ONCE(img->space->nr_ready) && !test_bit(QCOW2_LEAVING, &img->state) &&
	       !qcow2_full_may_wait(img, QCOW2_FULL_CLUSTERS);
}

int qcow2_space_wait(struct qcow2_image *img, struct qcow2_work *work)
{
	struct qcow2_space *s = img->space;
	int err = 0;

	if (may_be_refused(img) && s->give_up(img) == QCOW2_GAVE_UP)
		return -EAGAIN;
	spin_lock(&s->lock);
	if (s->nr_ready) {
		err = -EAGAIN;
	} else if (qcow2_failed(img)) {
		err = -EIO;
	} else if (test_bit(QCOW2_LEAVING, &img->state) ||
		   !qcow2_full_may_wait(img, QCOW2_FULL_CLUSTERS)) {
		/* Those who let waiters go have set the bit before they take the lock. */
		err = -ENOSPC;
	} else {
		list_add_tail(&work->node, &s->waiting);
		s->nr_waiting++;
		trace_qcow2_no_space(img, false);
		s->is_wanted = true;
		kick(img);
	}
	spin_unlock(&s->lock);
	return err;
}

/* With an error: they fail. */
static void release_waiters(struct qcow2_image *img, int err)
{
	struct qcow2_space *s = img->space;
	struct qcow2_work *work, *next;
	LIST_HEAD(waiting);

	spin_lock(&s->lock);
	list_splice_init(&s->waiting, &waiting);
	s->nr_waiting = 0;
	spin_unlock(&s->lock);
	list_for_each_entry_safe(work, next, &waiting, node) {
		work->err = err;
		s->requeue(img, work);
	}
}

void qcow2_space_look_again(struct qcow2_image *img)
{
	kick(img);
}

void qcow2_space_want(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	spin_lock(&s->lock);
	s->is_wanted = true;
	spin_unlock(&s->lock);
	kick(img);
}

int qcow2_space_wanted(struct qcow2_image *img)
{
	kthread_flush_work(&img->space->work);
	return READ_ONCE(img->space->err);
}

void qcow2_space_release_waiters(struct qcow2_image *img)
{
	release_waiters(img, 0);
	qcow2_drop_release_crowd(img);
}

/* The host is full: queue or fail writes. */
static void enter_out_of_space(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	bool is_news = !test_bit(QCOW2_FULL_CLUSTERS, &img->full->what);
	bool had_waiting = s->had_waiting;

	s->had_waiting = READ_ONCE(s->nr_waiting);
	/* How long writes have waited counts, not how long ago somebody else has found it full. */
	if (!is_news && (!s->had_waiting || !had_waiting))
		qcow2_full_begin_anew(img, QCOW2_FULL_CLUSTERS);
	qcow2_full_enter(img, QCOW2_FULL_CLUSTERS);
	/* A bitmap can do without a cluster, then. */
	if (is_news)
		release_waiters(img, 0);
	if (READ_ONCE(s->nr_waiting))
		kthread_queue_delayed_work(s->worker, &s->retry, QCOW2_FULL_DELAY);
}

static bool has_dropped(struct qcow2_space *s)
{
	return !list_empty_careful(&s->dropped) || !list_empty(&s->leaving);
}

/*
 * A file that is discarded and written in turn does not grow for want of patience: if enough is
 * about to be free, that is waited for. Not for long: I/O that hangs delays it.
 */
static bool is_patient(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	if (!qcow2_drop_is_enough(img)) {
		s->waits_for_drops = false;
		return false;
	}
	if (!s->waits_for_drops)
		s->patience_ends = jiffies + PATIENCE;
	s->waits_for_drops = true;
	if (time_after_eq(jiffies, s->patience_ends))
		return false;
	kthread_mod_delayed_work(s->worker, &s->tidy, PATIENCE);
	return true;
}

static bool wants_more(const struct qcow2_space *s)
{
	return READ_ONCE(s->is_wanted) && READ_ONCE(s->nr_ready) < s->step;
}

static void note_wish(struct qcow2_space *s)
{
	spin_lock(&s->lock);
	s->is_wanted &= s->nr_ready < s->step / 2;
	spin_unlock(&s->lock);
}

/*
 * Return: 0; 1 when there is none yet, but some may become free, when we are called, or nobody is to
 * have any more; an error.
 */
static int refill(struct qcow2_image *img)
{
	int err, drop_err;

	drop_err = min(qcow2_drop_finish(img), 0);
	if (drop_err == -EUCLEAN || !wants_more(img->space))
		return drop_err;
	/* No commit may call the thread again: it has been told to come to an end. */
	if (test_bit(QCOW2_LEAVING, &img->state))
		return 1;
	if (!drop_err && is_patient(img))
		return 1;
	/* What could not be freed need not be all that is left. */
	err = qcow2_refill(img);
	/* It may take long: when that is news only. */
	if (err == -ENOSPC && !(READ_ONCE(img->full->what) & BIT(QCOW2_FULL_CLUSTERS)))
		qcow2_drop_try_again(img);
	if (err == -ENOSPC && has_dropped(img->space))
		/* The clusters that become free may be all that is left. */
		err = qcow2_commit_wait(img) ?: qcow2_drop_finish(img) ?: qcow2_refill(img);
	return err;
}

/*
 * Writes and barriers that fail have failed the image. All else has changed nothing, and is
 * tried again: when there may be memory, or when the next write wants space.
 *
 * Return: an error for those who wait for space; 0 when they go on waiting.
 */
static int judge_error(struct qcow2_image *img, int err)
{
	struct qcow2_space *s = img->space;

	if (err == -EUCLEAN) {
		qcow2_corrupt_wait(img); /* a failed image is not marked any more */
		qcow2_fail(img, "preparing free space", err);
	}
	if (qcow2_failed(img))
		return -EIO;
	if (err == -ENOMEM && s->nr_tries++ < MEMORY_TRIES) {
		if (READ_ONCE(s->nr_waiting))
			kthread_queue_delayed_work(s->worker, &s->retry, QCOW2_MEMORY_DELAY);
		return 0;
	}
	DMERR_LIMIT("%s: free space cannot be prepared now: error %d", qcow2_name(img), err);
	s->nr_tries = 0;
	return err;
}

/* It will not be otherwise when it is tried again soon. */
static bool is_final(const struct qcow2_space *s, int err)
{
	return err == -ENOMEM ? s->nr_tries >= MEMORY_TRIES : err < 0 && err != -EUCLEAN;
}

/*
 * The guest comes first. As long as what is kept goes the host is not called full, and it is
 * looked again now and then. Return: @err, or 1 when there may be clusters soon.
 */
static int ask_to_give_up(struct qcow2_image *img, int err)
{
	struct qcow2_space *s = img->space;

	if (READ_ONCE(s->nr_ready) || qcow2_failed(img) || !is_final(s, err))
		return err;
	switch (s->give_up(img)) {
	case QCOW2_GAVE_UP:
		release_waiters(img, 0);
		return 1;
	case QCOW2_IS_ENDING:
		if (err != -ENOSPC || READ_ONCE(img->full->what) & BIT(QCOW2_FULL_CLUSTERS))
			return err;
		if (READ_ONCE(s->nr_waiting))
			kthread_queue_delayed_work(s->worker, &s->retry, QCOW2_FULL_DELAY);
		return 1;
	default:
		return err;
	}
}

static void space_work(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_space, work)->img;
	unsigned int noio = qcow2_worker_enter();
	int err = refill(img);
	int wait_err = 0;

	note_wish(img->space);
	WRITE_ONCE(img->space->err, min(err, 0));
	err = ask_to_give_up(img, err);
	if (!err) {
		img->space->nr_tries = 0;
		qcow2_full_leave(img, QCOW2_FULL_CLUSTERS);
	} else if (err == -ENOSPC) {
		if (!READ_ONCE(img->space->nr_ready))
			enter_out_of_space(img);
	} else if (err < 0) {
		wait_err = judge_error(img, err);
	}
	if (!READ_ONCE(img->space->nr_waiting))
		goto look;
	if (READ_ONCE(img->space->nr_ready))
		release_waiters(img, 0);
	else if (!err || wait_err || qcow2_failed(img) ||
		 !qcow2_full_may_wait(img, QCOW2_FULL_CLUSTERS))
		release_waiters(img, wait_err);
look:
	if (qcow2_failed(img))
		qcow2_drop_release_crowd(img);
	qcow2_left_look(img);
	memalloc_noio_restore(noio);
}

static void tidy(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_space, tidy.work)->img;

	kick(img);
}

static void retry(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_space, retry.work)->img;

	kick(img);
}

/* A failed image may have some left: nothing more is written for them. */
static void forget(struct qcow2_space *s)
{
	struct qcow2_extent *e, *next_e;

	list_for_each_entry_safe(e, next_e, &s->ready, node)
		kfree(e);
	INIT_LIST_HEAD(&s->ready);
	s->nr_ready = 0;
	list_splice_init(&s->leaving, &s->dropped);
	list_splice_init(&s->stuck, &s->dropped);
	s->nr_stuck = 0;
	qcow2_dropped_free(&s->dropped);
	s->nr_dropped = 0;
	s->nr_leaving = 0;
	s->nr_extents = 0;
}

void qcow2_space_activate(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	forget(s);
	s->is_wanted = false;
	s->cursor = 0;
	s->floor = DIV_ROUND_UP_ULL(qcow2_file_bytes(&img->file),
				    qcow2_cluster_bytes(&img->geo));
	s->tail = qcow2_is_file(img) ? s->floor : 0;
}

/* Refcounts of what is ready go back to 0. */
static int return_ready(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;
	struct qcow2_extent *e;
	int err = 0;

	list_for_each_entry(e, &s->ready, node) {
		err = qcow2_refcount_fill(img, e->start, e->count, 0);
		if (err)
			break;
	}
	forget(s);
	return err;
}

/* Cut off what lies behind the last cluster in use, down to the old size. */
static int cut_tail(struct qcow2_image *img)
{
	u64 end = qcow2_file_bytes(&img->file) >> img->geo.cluster_bits;
	u64 refcount;
	int err;

	if (!qcow2_is_file(img))
		return 0;
	for (; end > img->space->floor; end--) {
		err = qcow2_refcount_read(img, end - 1, &refcount);
		if (err)
			return err;
		if (refcount)
			break;
	}
	if (end << img->geo.cluster_bits >= qcow2_file_bytes(&img->file))
		return 0;
	return qcow2_file_truncate(&img->file, end << img->geo.cluster_bits);
}

void qcow2_space_stop(struct qcow2_image *img)
{
	struct qcow2_space *s = img->space;

	kthread_cancel_delayed_work_sync(&s->scan);
	qcow2_left_stop(img);
	/*
	 * Nobody waits for space any more, so the work does not start a retry, nor a grace
	 * period; but if it runs now it may not have seen that.
	 */
	kthread_flush_work(&s->work);
	srcu_barrier(&img->inflight);
	kthread_flush_work(&s->work);
	kthread_cancel_delayed_work_sync(&s->tidy);
	kthread_cancel_delayed_work_sync(&s->retry);
	kthread_flush_work(&s->work);
	/* What was dropped meanwhile has kicked it, and it may look for us. */
	kthread_flush_work(&img->commit->work);
}

int qcow2_space_return(struct qcow2_image *img)
{
	int err;

	err = qcow2_drop_finish_all(img) ?: return_ready(img) ?:
	      qcow2_refcount_write(img, QCOW2_META_REFBLOCK);
	if (err)
		return err;
	/* A tail that stays is no reason to leave the refcounts where they are. */
	err = cut_tail(img);
	return qcow2_barrier(img, QCOW2_BARRIER_DETACH) ?: err;
}

static int init_bufs(struct qcow2_space *s, const struct qcow2_geometry *g)
{
	int err;

	s->max_pinned = (s->step >> g->refpage_bits) + 2;
	s->pinned = kcalloc(s->max_pinned, sizeof(*s->pinned), GFP_KERNEL);
	if (!s->pinned)
		return -ENOMEM;
	err = qcow2_writeback_init(&s->wb, g);
	if (err)
		kfree(s->pinned);
	return err;
}

static void exit_bufs(struct qcow2_space *s)
{
	qcow2_writeback_exit(&s->wb);
	kfree(s->pinned);
}

int qcow2_space_init(struct qcow2_space *s, struct qcow2_image *img)
{
	/* Beside a data file all that is wanted are tables. */
	u64 step_bytes = img->geo.has_data_file ? 0 : min(STEP_BYTES, img->geo.size / 8);
	int err;

	s->img = img;
	img->space = s;
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->ready);
	INIT_LIST_HEAD(&s->waiting);
	INIT_LIST_HEAD(&s->dropped);
	INIT_LIST_HEAD(&s->leaving);
	INIT_LIST_HEAD(&s->stuck);
	INIT_LIST_HEAD(&s->crowd);
	s->step = clamp_t(u64, step_bytes >> img->geo.cluster_bits, MIN_STEP, QCOW2_MAX_STEP);
	kthread_init_work(&s->work, space_work);
	kthread_init_delayed_work(&s->retry, retry);
	kthread_init_delayed_work(&s->scan, qcow2_scan_work);
	kthread_init_delayed_work(&s->tidy, tidy);
	qcow2_left_init(&s->left);
	err = init_bufs(s, &img->geo);
	if (err)
		return err;
	s->worker = kthread_create_worker(0, "qcow2_space/%s", qcow2_name(img));
	if (IS_ERR(s->worker)) {
		exit_bufs(s);
		return PTR_ERR(s->worker);
	}
	return 0;
}

void qcow2_space_exit(struct qcow2_space *s)
{
	kthread_cancel_delayed_work_sync(&s->scan);
	kthread_cancel_delayed_work_sync(&s->tidy);
	kthread_cancel_delayed_work_sync(&s->retry);
	kthread_cancel_delayed_work_sync(&s->left.look);
	kthread_destroy_worker(s->worker);
	forget(s);
	exit_bufs(s);
}
