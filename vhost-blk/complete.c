// SPDX-License-Identifier: GPL-2.0-only
/*
 * From ended I/O to the used ring.
 *
 *	bio end --> q->done --> vhost worker ----------> used ring, call eventfd
 *	            (any         (complete_work, or the      ^
 *	            context)      kick handler on its way)   |
 *	                |                                    |
 *	                +--> reaper (kernel thread) ---------+
 *	                     when the worker is gone or dying
 *
 * A killed owner takes its workers with it, but its memory stays until we let go
 * of it, and the guest, in another process, is owed every answer: what the
 * worker cannot finish the reaper does. In the worker a fault may fail only
 * because of the pending SIGKILL; such a request goes to the reaper as it is,
 * every step can be repeated. In the reaper a fault is final.
 */
#include <linux/blkdev.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "announce.h"
#include "compat.h"
#include "complete.h"
#include "device.h"
#include "drain.h"
#include "poll.h"
#include "request.h"
#include "submit.h"
#include "trace.h"
#include "vq.h"

/* Used-ring entries written at once; vhost core's scratch has room for more. */
#define CHUNK	128

static void queue_completion(struct vhost_blk_vq *q)
{
	if (!vhost_vq_work_queue(&q->vq, &q->complete_work))
		queue_work(vhost_blk_reaper, &q->reap_work);
}

/**
 * vhost_blk_request_done - all that was to be done for a request has ended
 * @req: @status is set; do not touch it afterwards
 *
 * Context: any.
 */
void vhost_blk_request_done(struct vhost_blk_request *req)
{
	struct vhost_blk_vq *q = req->q;

	/* A release waits for this before it frees the queue under us. */
	rcu_read_lock();
	/*
	 * Whoever put the first one there has the work queued, or the handler
	 * attends; llist_add() orders the list before the flag.
	 */
	if (llist_add(&req->done, &q->done) && !READ_ONCE(q->is_attended))
		queue_completion(q);
	rcu_read_unlock();
}

/* A bounced read's data. False if the reaper has to try again. */
static bool deliver_data(struct vhost_blk_request *req)
{
	if (!req->bounce || req->status != VIRTIO_BLK_S_OK)
		return true;
	if (!vhost_blk_copy_out(req))
		return true;
	if (fatal_signal_pending(current))
		return false;
	req->status = VIRTIO_BLK_S_IOERR;
	return true;
}

/* A guest that has no place for a status gets none. */
static bool deliver_status(struct vhost_blk_request *req)
{
	req->used_bytes = 0;
	if (!req->status_uaddr)
		return true;
	if (put_user(req->status, req->status_uaddr))
		return !fatal_signal_pending(current);
	req->used_bytes = 1;
	if (req->status == VIRTIO_BLK_S_OK)
		req->used_bytes += req->written;
	return true;
}

/* The log covers all that may have been written, whatever the status is. */
static bool log_writes(struct vhost_blk_request *req)
{
	struct vhost_virtqueue *vq = &req->q->vq;

	if (!req->log || !req->in_bytes)
		return true;
	if (!vhost_log_write(vq, req->log, req->nr_log, req->in_bytes, NULL, 0))
		return true;
	if (fatal_signal_pending(current))
		return false;
	/* Pages that the log misses would corrupt a migration: go no further. */
	vhost_blk_break_ring(req->q, -EFAULT);
	return true;
}

static void give_to_reaper(struct vhost_blk_vq *q, struct llist_node *list)
{
	struct vhost_blk_request *req, *next;

	llist_for_each_entry_safe(req, next, list, done)
		llist_add(&req->done, &q->done);
	queue_work(vhost_blk_reaper, &q->reap_work);
}

/* What needs no lock. Returns the requests, in order, that may be published. */
static struct llist_node *settle(struct vhost_blk_vq *q, struct llist_node *list)
{
	struct llist_node *settled = NULL, **tail = &settled;
	struct vhost_blk_request *req, *next;

	llist_for_each_entry_safe(req, next, list, done) {
		if (!deliver_data(req)) {
			give_to_reaper(q, &req->done);
			break;
		}
		vhost_blk_unmap(req);
		if (req->needs_flush && req->status == VIRTIO_BLK_S_OK) {
			req->needs_flush = false;
			vhost_blk_submit_flush(req);
			continue;
		}
		if (!deliver_status(req)) {
			give_to_reaper(q, &req->done);
			break;
		}
		*tail = &req->done;
		tail = &req->done.next;
	}
	*tail = NULL;
	return settled;
}

static void count(const struct vhost_blk_request *req)
{
	struct vhost_blk_vring_stats *stats = &req->q->stats;

	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		stats->reads++;
		stats->read_bytes += req->data_bytes;
		break;
	case VIRTIO_BLK_T_OUT:
		stats->writes++;
		stats->write_bytes += req->data_bytes;
		break;
	case VIRTIO_BLK_T_FLUSH:
		stats->flushes++;
		break;
	default:
		stats->others++;
	}
	stats->errors += req->status != VIRTIO_BLK_S_OK;
	stats->bounced += req->is_bounced;
}

static void finish(struct vhost_blk_request *req)
{
	trace_vhost_blk_done(req->q->index, req);
	count(req);
	kfree(req->log);
	vhost_blk_recycle(req);
}

/*
 * One update of the used ring. It fails if the ring went away, then it is given
 * up, or in a dying worker, then false is returned and nothing has happened.
 */
static bool add_used(struct vhost_blk_vq *q, unsigned int nr)
{
	struct vhost_virtqueue *vq = &q->vq;
	u16 last_used_idx = vq->last_used_idx;

	q->stats.updates++;
	if (!vhost_blk_add_used_n(vq, nr))
		return true;
	if (fatal_signal_pending(current)) {
		vq->last_used_idx = last_used_idx;
		return false;
	}
	vhost_blk_break_ring(q, -EFAULT);
	return true;
}

/* Publish some requests from the front of the list, and count them; returns the rest. */
static struct llist_node *publish(struct vhost_blk_vq *q, struct llist_node *list,
				  unsigned int *published)
{
	struct vhost_virtqueue *vq = &q->vq;
	struct vhost_blk_request *req, *next;
	struct llist_node *node;
	unsigned int nr = 0;

	for (node = list; node && nr < CHUNK; node = node->next) {
		req = llist_entry(node, struct vhost_blk_request, done);
		if (!log_writes(req))
			break;
		vq->heads[nr].id = cpu_to_vhost32(vq, req->head);
		vq->heads[nr].len = cpu_to_vhost32(vq, req->used_bytes);
		nr++;
	}
	if (!nr || !add_used(q, nr)) {
		give_to_reaper(q, list);
		return NULL;
	}
	*published += nr;
	llist_for_each_entry_safe(req, next, list, done) {
		if (!nr--)
			break;
		finish(req);
	}
	return node;
}

/**
 * vhost_blk_complete - move what has ended to the used ring
 * @q: queue
 *
 * Context: process, with the owner's mm, without vq.mutex.
 * Return: whether there was something.
 */
bool vhost_blk_complete(struct vhost_blk_vq *q)
{
	struct vhost_virtqueue *vq = &q->vq;
	unsigned int published = 0;
	struct llist_node *list;

	if (llist_empty(&q->done))
		return false;
	if (fatal_signal_pending(current)) {
		queue_work(vhost_blk_reaper, &q->reap_work);
		return false;
	}
	list = settle(q, llist_reverse_order(llist_del_all(&q->done)));
	if (!list)
		return true;

	mutex_lock(&vq->mutex);
	while (list)
		list = publish(q, list, &published);
	vhost_blk_announce(q, published);
	vhost_blk_unstall(q);
	vhost_blk_wake_drains(q);
	mutex_unlock(&vq->mutex);
	return true;
}

/* If the guest's next request is expected soon, look for it. */
static void complete_in_worker(struct vhost_work *work)
{
	struct vhost_blk_vq *q = container_of(work, struct vhost_blk_vq,
					      complete_work);

	if (!q->is_polling)
		vhost_blk_wait_ended(q);
	vhost_blk_complete(q);
	vhost_blk_wait_begins(q);
	if (!q->is_polling && vhost_blk_may_poll(q, q->busy_ns))
		vhost_blk_poll(q);
}

static void complete_in_reaper(struct work_struct *work)
{
	struct vhost_blk_vq *q = container_of(work, struct vhost_blk_vq, reap_work);

	mutex_lock(&q->vq.mutex);
	q->stats.reaps++;
	mutex_unlock(&q->vq.mutex);

	/* Ours until vhost_dev_cleanup(), which waits for this work. */
	kthread_use_mm(q->vdev->dev.mm);
	vhost_blk_complete(q);
	/* The worker may have died while it polled: nobody comes back to tell. */
	vhost_blk_announce_held(q);
	kthread_unuse_mm(q->vdev->dev.mm);
}

/**
 * vhost_blk_init_completion - set up what vhost_blk_request_done() uses
 * @q: new queue
 */
void vhost_blk_init_completion(struct vhost_blk_vq *q)
{
	init_llist_head(&q->done);
	vhost_work_init(&q->complete_work, complete_in_worker);
	INIT_WORK(&q->reap_work, complete_in_reaper);
}
