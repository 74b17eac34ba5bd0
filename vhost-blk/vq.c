// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue: start, stop, and the loop that pops what the guest made available.
 *
 * A run of the handler alternates between two steps until the ring is empty:
 *
 *	fetch	under vq.mutex: pop up to VHOST_BLK_BATCH chains, translated
 *	submit	without it: prepare each (may fault, pin, allocate) and submit
 *		all under one plug (may wait for the device)
 */
#include <linux/blkdev.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "announce.h"
#include "blame.h"
#include "compat.h"
#include "complete.h"
#include "device.h"
#include "drain.h"
#include "poll.h"
#include "request.h"
#include "submit.h"
#include "trace.h"
#include "vq.h"

static bool has_room(const struct vhost_blk_vq *q)
{
	return q->free && q->in_flight_bytes < VHOST_BLK_MAX_IN_FLIGHT;
}

/**
 * vhost_blk_recycle - a request is over: return its slot
 * @req: in the used ring, or back in the available ring
 *
 * Context: vq.mutex held. The caller wakes the drains.
 */
void vhost_blk_recycle(struct vhost_blk_request *req)
{
	struct vhost_blk_vq *q = req->q;

	lockdep_assert_held(&q->vq.mutex);
	WRITE_ONCE(q->in_flight[req->epoch], q->in_flight[req->epoch] - 1);
	q->in_flight_bytes -= req->span_bytes;
	if (unlikely(req->range_bytes)) {
		q->range_bytes -= req->range_bytes;
		req->range_bytes = 0;
	}
	req->next = q->free;
	q->free = req;
}

/**
 * vhost_blk_unstall - go on popping if that had to pause
 * @q: queue, after requests were recycled
 *
 * Context: vq.mutex held.
 */
void vhost_blk_unstall(struct vhost_blk_vq *q)
{
	lockdep_assert_held(&q->vq.mutex);
	if (!q->is_stalled || !has_room(q))
		return;
	q->is_stalled = false;
	vhost_poll_queue(&q->vq.poll);
}

/* vq->log is scratch: the entries must live until the request completes. */
static int keep_log(struct vhost_blk_request *req, unsigned int nr_log)
{
	req->nr_log = nr_log;
	req->log = NULL;
	if (!nr_log)
		return 0;
	req->log = kmemdup_array(req->q->vq.log, nr_log, sizeof(*req->log),
				 GFP_KERNEL);
	return req->log ? 0 : -ENOMEM;
}

static void account(struct vhost_blk_request *req)
{
	struct vhost_blk_vq *q = req->q;

	req->in_bytes = iov_length(req->iov + req->nr_out, req->nr_in);
	req->span_bytes = req->in_bytes + iov_length(req->iov, req->nr_out);
	req->epoch = q->epoch;
	WRITE_ONCE(q->in_flight[req->epoch], q->in_flight[req->epoch] + 1);
	q->in_flight_bytes += req->span_bytes;
}

/*
 * Pop one chain, its segments to @iov. NULL if the ring is empty, or an ERR_PTR
 * of what vhost core holds against the chain.
 */
static struct vhost_blk_request *pop(struct vhost_blk_vq *q, struct iovec *iov)
{
	struct vhost_virtqueue *vq = &q->vq;
	struct vhost_blk_request *req = q->free;
	bool has_log = vhost_has_feature(vq, VHOST_F_LOG_ALL);
	unsigned int nr_log = 0;
	int head, ret;

	/* Popping with notifications enabled is a BUG in vhost core. */
	vhost_disable_notify(vq->dev, vq);
	head = vhost_get_vq_desc(vq, iov, VHOST_BLK_MAX_IOV, &req->nr_out,
				 &req->nr_in, has_log ? vq->log : NULL, &nr_log);
	if (head < 0)
		return ERR_PTR(head);
	if (head == vq->num)
		return NULL;

	ret = keep_log(req, nr_log);
	if (ret) {
		vhost_blk_discard(vq, 1);
		return ERR_PTR(ret);
	}
	q->free = req->next;
	req->head = head;
	req->iov = iov;
	req->backend = vhost_vq_get_backend(vq);
	account(req);
	return req;
}

/**
 * vhost_blk_break_ring - pop nothing more until the next start
 * @q: queue that the guest, or its memory's owner, has broken
 * @error: how
 *
 * Context: vq.mutex held.
 */
void vhost_blk_break_ring(struct vhost_blk_vq *q, int error)
{
	lockdep_assert_held(&q->vq.mutex);
	q->is_broken = true;
	vq_err(&q->vq, "vhost_blk: queue %u is broken: %d\n", q->index, error);
	trace_vhost_blk_broken(q->index, error);
}

/**
 * vhost_blk_must_stop - are requests to be left, or put back, in the ring
 * @q: queue
 *
 * Context: vhost worker.
 */
bool vhost_blk_must_stop(const struct vhost_blk_vq *q)
{
	return !READ_ONCE(q->vq.private_data) || fatal_signal_pending(current);
}

/*
 * A dying worker leaves requests in the ring, for the next owner. What it pops
 * all the same, as the signal came a moment later, is put back or goes to the reaper.
 */
static bool may_fetch(const struct vhost_blk_vq *q)
{
	return !vhost_blk_must_stop(q) && !READ_ONCE(q->is_broken);
}

/*
 * Fill q->batch and return how many. Zero with @is_last: notifications are on, or
 * it is known who starts the handler again. Zero without: just nothing there.
 */
static unsigned int fetch(struct vhost_blk_vq *q, bool is_last)
{
	struct vhost_virtqueue *vq = &q->vq;
	struct vhost_blk_request *req;
	unsigned int nr = 0, nr_iov = 0;

	mutex_lock(&vq->mutex);
	while (may_fetch(q) && nr < VHOST_BLK_BATCH && nr_iov <= VHOST_BLK_MAX_IOV) {
		if (!has_room(q)) {
			q->is_stalled = true;
			q->stats.stalls++;
			break;
		}
		req = pop(q, q->iov + nr_iov);
		if (IS_ERR(req)) {
			if (PTR_ERR(req) == -EFAULT)
				vhost_blk_blame_chain(q);
			vhost_blk_break_ring(q, PTR_ERR(req));
			break;
		}
		if (req) {
			nr_iov += req->nr_out + req->nr_in;
			q->batch[nr++] = req;
			continue;
		}
		/* Submit these before looking again. */
		if (nr || !is_last || !vhost_enable_notify(vq->dev, vq))
			break;
	}
	q->stats.batches += !!nr;
	mutex_unlock(&vq->mutex);
	return nr;
}

/*
 * Undo the pops of batch[@first] to batch[@nr - 1], of which nothing was done that
 * could not be done again.
 */
static void unpop(struct vhost_blk_vq *q, unsigned int first, unsigned int nr)
{
	mutex_lock(&q->vq.mutex);
	vhost_blk_discard(&q->vq, nr - first);
	while (nr-- > first) {
		kfree(q->batch[nr]->log);
		vhost_blk_recycle(q->batch[nr]);
	}
	vhost_blk_wake_drains(q);
	mutex_unlock(&q->vq.mutex);
}

/*
 * Returns false if the rest of the batch went back, and nobody has to look at the
 * ring before the queue is started again, or kicked by a completion.
 */
static bool submit_batch(struct vhost_blk_vq *q, unsigned int nr)
{
	enum vhost_blk_verdict verdict = VHOST_BLK_DONE;
	struct blk_plug plug;
	unsigned int i;

	blk_start_plug(&plug);
	for (i = 0; i < nr; i++) {
		struct vhost_blk_request *req = q->batch[i];

		verdict = vhost_blk_prepare(req);
		if (verdict == VHOST_BLK_RETRY)
			break;
		trace_vhost_blk_start(q->index, req);
		if (verdict == VHOST_BLK_SUBMIT)
			verdict = vhost_blk_submit(req);
		else
			vhost_blk_request_done(req);
		if (verdict == VHOST_BLK_RETRY)
			break;
	}
	blk_finish_plug(&plug);

	if (verdict != VHOST_BLK_RETRY)
		return true;
	unpop(q, i, nr);
	return false;
}

/*
 * Without vq.mutex: a wrong guess costs one look at the ring. Errors are for the
 * next fetch to find.
 */
static bool has_work(struct vhost_blk_vq *q)
{
	struct vhost_virtqueue *vq = &q->vq;
	__virtio16 avail_idx;

	if (!llist_empty(&q->done))
		return true;
	if (get_user(avail_idx, &READ_ONCE(vq->avail)->idx))
		return true;
	return vhost16_to_cpu(vq, avail_idx) != READ_ONCE(vq->last_avail_idx);
}

/*
 * Queues that share a worker take turns on it, by going to the end of its list of works.
 * One that polls cannot wait until another has work in the list: the worker has taken
 * all of that off before it began with the first. So it goes when it has been served for
 * TURN_NS, or has had nothing to do for SPIN_NS, and spins by coming back.
 */
#define TURN_NS	(10 * NSEC_PER_USEC)
#define SPIN_NS	NSEC_PER_USEC

enum wait_result {
	WAIT_WORK,	/* there is some for this queue */
	WAIT_TURN,	/* other queues have their turn */
	WAIT_IDLE,	/* none for long enough, or there is to be none */
};

/* Spin until there is work, or somebody else's turn. */
static enum wait_result wait_busily(struct vhost_blk_vq *q)
{
	u64 now;

	while (may_fetch(q) && !READ_ONCE(q->is_stalled) && !signal_pending(current)) {
		if (has_work(q))
			return WAIT_WORK;
		vhost_blk_announce_overdue(q);
		now = local_clock();
		if (!vhost_blk_may_poll(q, now))
			return WAIT_IDLE;
		if (now > q->busy_ns + SPIN_NS || need_resched())
			return WAIT_TURN;
		cpu_relax();
	}
	return WAIT_IDLE;
}

/*
 * Serve the ring until it is empty, or has had its turn. Returns true if the worker goes
 * on polling it: nobody has to be told before it is back.
 */
static bool serve(struct vhost_blk_vq *q)
{
	enum wait_result result = q->is_polling ? WAIT_WORK : WAIT_IDLE;
	u64 begin_ns = q->is_polling ? local_clock() : 0;
	unsigned int nr, total = 0;

	do {
		nr = fetch(q, result == WAIT_IDLE);
		if (!submit_batch(q, nr))
			return false;
		if (vhost_blk_complete(q) || nr)
			vhost_blk_wait_begins(q);
		total += nr;
		if (nr && q->is_polling) {
			vhost_blk_announce_overdue(q);
			if (q->busy_ns > begin_ns + TURN_NS)
				result = WAIT_TURN;
		} else if (!nr) {
			if (result == WAIT_IDLE)
				return false;
			result = wait_busily(q);
		}
		/* A worker that was killed comes here once more, and then never. */
		if (result == WAIT_TURN)
			return vhost_vq_work_queue(&q->vq, &q->vq.poll.work);
	} while (!vhost_exceeds_weight(&q->vq, total, 0));
	return false;
}

/**
 * vhost_blk_handle_kick - serve a queue: it was kicked, started, or has room again
 * @work: of the queue's poll
 *
 * Context: vhost worker.
 */
void vhost_blk_handle_kick(struct vhost_work *work)
{
	struct vhost_blk_vq *q = container_of(work, struct vhost_blk_vq,
					      vq.poll.work);

	mutex_lock(&q->fetch_lock);
	/* One that is polled still has not been kicked again. */
	if (!q->is_polling) {
		q->stats.kicks++;
		vhost_blk_wait_ended(q);
	}
	WRITE_ONCE(q->is_attended, true);
	q->is_polling = vhost_blk_polls_at_all(q);
	q->is_polling = serve(q);
	if (!q->is_polling)
		vhost_blk_announce_held(q);
	WRITE_ONCE(q->is_attended, false);
	/* Pairs with llist_add(): what came unannounced is in the list by now. */
	smp_mb();
	vhost_blk_complete(q);
	mutex_unlock(&q->fetch_lock);
}

/**
 * vhost_blk_poll - have the handler look for requests, though nobody has kicked
 * @q: queue of which it does not run
 *
 * Context: vhost worker.
 */
void vhost_blk_poll(struct vhost_blk_vq *q)
{
	q->is_polling = true;
	/* The worker is being taken away: then nobody polls. */
	if (!vhost_vq_work_queue(&q->vq, &q->vq.poll.work))
		q->is_polling = false;
}

/* A pool that fits the ring; nothing is in flight, so that nobody has a slot. */
static int fit_pool(struct vhost_blk_vq *q)
{
	unsigned int i, nr = min(q->vq.num, VHOST_BLK_MAX_REQUESTS);
	struct vhost_blk_request *pool;

	if (q->nr_requests == nr)
		return 0;

	pool = kvcalloc(nr, sizeof(*pool), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		pool[i].q = q;
		pool[i].next = i + 1 < nr ? &pool[i + 1] : NULL;
	}
	kvfree(q->pool);
	q->pool = pool;
	q->free = pool;
	q->nr_requests = nr;
	return 0;
}

static int fit_memory(struct vhost_blk_vq *q)
{
	if (!q->iov)
		q->iov = kvcalloc(2 * VHOST_BLK_MAX_IOV, sizeof(*q->iov),
				  GFP_KERNEL_ACCOUNT);
	return q->iov ? fit_pool(q) : -ENOMEM;
}

/*
 * All requests of the previous run, perhaps by another process, are in the used
 * ring: what follows in the available ring was never popped.
 */
static void resume_from_used(struct vhost_virtqueue *vq)
{
	vq->last_avail_idx = vq->last_used_idx;
	vq->avail_idx = vq->last_used_idx;
}

static int start_locked(struct vhost_blk_vq *q, struct vhost_blk_backend *backend)
{
	struct vhost_virtqueue *vq = &q->vq;
	int ret;

	/* A killed stop may have left some. */
	if (vhost_blk_in_flight(q))
		return -EBUSY;
	if (!vhost_vq_is_setup(vq))
		return -EFAULT;
	ret = fit_memory(q);
	if (ret)
		return ret;

	q->is_broken = false;
	q->is_stalled = false;
	vhost_blk_announce_init(q);
	vhost_vq_set_backend(vq, backend);
	ret = vhost_vq_init_access(vq);
	if (!ret && vq->kick)
		ret = vhost_poll_start(&vq->poll, vq->kick);
	if (ret) {
		vhost_vq_set_backend(vq, NULL);
		return ret;
	}
	resume_from_used(vq);
	/* Interrupts of the previous run may have been lost. */
	if (vq->call_ctx.ctx)
		eventfd_signal(vq->call_ctx.ctx);
	return 0;
}

/**
 * vhost_blk_vq_start - let a queue run
 * @q: queue; nothing happens if it runs already
 * @backend: its device
 *
 * Context: dev.mutex held.
 * Return: 0, EFAULT if the ring is not set up or not accessible, EBUSY if
 * requests of an earlier run are still in flight, or ENOMEM.
 */
int vhost_blk_vq_start(struct vhost_blk_vq *q, struct vhost_blk_backend *backend)
{
	struct vhost_virtqueue *vq = &q->vq;
	int ret = 0;

	mutex_lock(&vq->mutex);
	if (!vhost_vq_get_backend(vq))
		ret = start_locked(q, backend);
	mutex_unlock(&vq->mutex);
	/* The guest may have kicked while nobody listened. */
	if (!ret)
		vhost_poll_queue(&vq->poll);
	return ret;
}

/**
 * vhost_blk_vq_stop - pop nothing more
 * @q: queue
 *
 * Popped requests go on; see vhost_blk_drain_vq().
 * Context: dev.mutex held, or nobody else has the device.
 */
void vhost_blk_vq_stop(struct vhost_blk_vq *q)
{
	mutex_lock(&q->vq.mutex);
	vhost_poll_stop(&q->vq.poll);
	vhost_vq_set_backend(&q->vq, NULL);
	q->is_stalled = false;
	mutex_unlock(&q->vq.mutex);
}

/**
 * vhost_blk_vq_free_memory - free what starts have allocated
 * @q: stopped and drained queue
 */
void vhost_blk_vq_free_memory(struct vhost_blk_vq *q)
{
	kvfree(q->pool);
	kvfree(q->iov);
}
