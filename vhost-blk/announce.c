// SPDX-License-Identifier: GPL-2.0-only
/*
 * When the guest is told of what is in the used ring.
 *
 * An interrupt is dear: a virtual CPU that runs has to leave the guest for it. A
 * guest that is about to submit more, with requests that end at once, gets one for
 * each: it is never seen to have more than one in flight. A worker that sleeps
 * between requests cannot help that. One that polls is there anyway, and may
 * gather some before it tells of them, if the guest does not wait for them. It finds
 * out by trying:
 *
 *  - @gather entries are told of together. After that went well @patience times,
 *    twice as many are tried.
 *  - If nothing comes for a part of the busy-loop timeout, the guest has nothing more
 *    to submit: it is told, and half of what there was is what to gather from now on.
 *    If it was a try, the next one is put off. With one request in flight each is told
 *    of at once, but for one in MAX_PATIENCE; with some whose guest does other things in
 *    between, too.
 *  - They are told of at the latest after the busy-loop timeout. What has come until then
 *    is what to gather.
 *  - While requests are under way, no more is held back than a quarter of them: a
 *    device that is slow must not run dry.
 *
 * Entries are in the ring meanwhile, for a guest that looks.
 */
#include <linux/sched/clock.h>
#include "announce.h"
#include "device.h"
#include "poll.h"

#define MAX_GATHER	32
#define DEVICE_PART	4
#define QUIET_PART	4
#define MIN_PATIENCE	4
#define MAX_PATIENCE	256

static bool is_overdue(const struct vhost_blk_vq *q, u64 now)
{
	return now - READ_ONCE(q->held_since) > vhost_blk_poll_limit_ns(q);
}

static bool is_quiet(const struct vhost_blk_vq *q, u64 now)
{
	return now - q->busy_ns > vhost_blk_poll_limit_ns(q) / QUIET_PART;
}

static void tell(struct vhost_blk_vq *q)
{
	lockdep_assert_held(&q->vq.mutex);
	WRITE_ONCE(q->held, 0);
	q->stats.signals++;
	vhost_signal(q->vq.dev, &q->vq);
}

/* All of @gather came before the guest had to be told. */
static void gather_more(struct vhost_blk_vq *q)
{
	if (q->is_trying) {
		q->is_trying = false;
		q->next_patience = max(q->next_patience / 2, MIN_PATIENCE);
		q->patience = q->next_patience;
	} else if (q->gather < MAX_GATHER && !--q->patience) {
		q->gather = min(2 * q->gather, MAX_GATHER);
		q->is_trying = true;
	}
}

/* They did not: @held is all that the guest had. */
static void gather_less(struct vhost_blk_vq *q)
{
	if (q->is_trying)
		q->next_patience = min(4 * q->next_patience, MAX_PATIENCE);
	q->is_trying = false;
	q->gather = max(q->held / 2, 1);
	q->patience = q->next_patience;
}

/* The guest goes on, but the first has waited for long. */
static void gather_what_fits(struct vhost_blk_vq *q)
{
	q->is_trying = false;
	q->gather = q->held;
	q->patience = q->next_patience;
}

/**
 * vhost_blk_announce_init - a queue starts: the guest waits for each request
 * @q: queue
 *
 * Context: vq.mutex held.
 */
void vhost_blk_announce_init(struct vhost_blk_vq *q)
{
	lockdep_assert_held(&q->vq.mutex);
	q->gather = 1;
	q->is_trying = false;
	q->next_patience = MIN_PATIENCE;
	q->patience = MIN_PATIENCE;
}

static bool may_hold(const struct vhost_blk_vq *q)
{
	unsigned int in_flight = vhost_blk_in_flight(q);

	return !in_flight || q->held * DEVICE_PART < in_flight;
}

/**
 * vhost_blk_announce - tell the guest, or let it wait for more
 * @q: queue
 * @nr: how many have been added to the used ring
 *
 * Context: vq.mutex held; with the owner's mm.
 */
void vhost_blk_announce(struct vhost_blk_vq *q, unsigned int nr)
{
	lockdep_assert_held(&q->vq.mutex);
	if (!q->is_polling) {
		tell(q);
		return;
	}
	if (!q->held)
		WRITE_ONCE(q->held_since, local_clock());
	WRITE_ONCE(q->held, q->held + nr);
	if (q->held >= q->gather)
		gather_more(q);
	else if (may_hold(q))
		return;
	tell(q);
}

/**
 * vhost_blk_announce_held - tell the guest what it has not been told
 * @q: queue
 *
 * Context: the vhost worker or the reaper, without vq.mutex.
 */
void vhost_blk_announce_held(struct vhost_blk_vq *q)
{
	if (!READ_ONCE(q->held))
		return;
	mutex_lock(&q->vq.mutex);
	tell(q);
	mutex_unlock(&q->vq.mutex);
}

/**
 * vhost_blk_announce_overdue - the same, if the guest waits, or has waited for long
 * @q: queue
 *
 * Context: the vhost worker, without vq.mutex.
 */
void vhost_blk_announce_overdue(struct vhost_blk_vq *q)
{
	u64 now;

	if (!READ_ONCE(q->held))
		return;
	now = local_clock();
	if (!is_quiet(q, now) && !is_overdue(q, now))
		return;
	mutex_lock(&q->vq.mutex);
	if (q->held) {
		if (is_quiet(q, now))
			gather_less(q);
		else
			gather_what_fits(q);
		tell(q);
	}
	mutex_unlock(&q->vq.mutex);
	/* Until now the guest had nothing to answer to. */
	vhost_blk_wait_begins(q);
}
