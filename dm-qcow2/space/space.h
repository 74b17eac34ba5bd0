/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Free space of the image: clusters that are ready to be allocated, and clusters
 * on their way to become free.
 *
 *   free (refcount 0)
 *     | refill.c: zeroed, refcount 1, barrier
 *     v
 *   ready --- taken by an entry ---> in use
 *     | suspend: refcount 0             | entry changed (drop.c)
 *     v                                 v
 *   free <- space given <- refcount <- dropped: commit, grace period of
 *           back to host   decreased    qcow2_image.inflight
 *
 * Where no cluster is free is known by scan.c, so that a refill need not look.
 *
 * One thread an image does all of this; it is the only one to read or change a
 * refcount. What a crash leaves: ready and dropped clusters leak.
 */
#ifndef DM_QCOW2_SPACE_H
#define DM_QCOW2_SPACE_H

#include <linux/kthread.h>
#include <linux/list.h>

#include "meta/meta.h"

#include "work.h"

/* The most clusters that are prepared at a time. */
#define QCOW2_MAX_STEP	16384U

/* How soon the thread looks again whether there is memory. */
#define QCOW2_MEMORY_DELAY	(HZ / 10)

/**
 * enum qcow2_give_up - what comes of asking for clusters that are kept for whoever looks back
 * @QCOW2_HAS_NOTHING: there are none
 * @QCOW2_GAVE_UP: some are not needed any more, and writes that wanted others need none now
 * @QCOW2_IS_ENDING: some may become free still
 */
enum qcow2_give_up {
	QCOW2_HAS_NOTHING,
	QCOW2_GAVE_UP,
	QCOW2_IS_ENDING,
};

/**
 * struct qcow2_extent - a run of host clusters
 * @node: in a list of extents
 * @start: first cluster
 * @count: number of clusters
 */
struct qcow2_extent {
	struct list_head node;
	u64 start;
	u64 count;
};

/**
 * struct qcow2_dropped - clusters that an entry pointed at
 * @node: in qcow2_space.dropped
 * @start: the first host cluster
 * @count: number of clusters
 * @commit: number of the commit that makes the change of their entries durable
 */
struct qcow2_dropped {
	struct list_head node;
	u64 start;
	u64 count;
	u64 commit;
};

/**
 * qcow2_dropped_join - make clusters a part of an extent, if they lie beside it
 * @d: the extent
 * @start: the first cluster
 * @count: how many
 *
 * Return: whether they do.
 */
static inline bool qcow2_dropped_join(struct qcow2_dropped *d, u64 start, u64 count)
{
	if (start + count == d->start)
		d->start = start;
	else if (d->start + d->count != start)
		return false;
	d->count += count;
	return true;
}

/**
 * struct qcow2_left - how much space the host has left
 * @is_on: the image is active, and somebody wants to be told
 * @look: looks how much that is
 * @looked: when that was done last, in jiffies
 * @used: clusters of a block device with a refcount, of those that scan.c has counted; the
 *	thread only
 * @bytes: of a file: what was left; of a block device: what was not, as that may grow.
 *	U64_MAX: not known
 */
struct qcow2_left {
	bool is_on;
	struct kthread_delayed_work look;
	unsigned long looked;
	u64 used;
	u64 bytes;
};

/**
 * struct qcow2_space - the free space of an image
 * @img: the image
 * @requeue: called with the image and a work that need not wait for space any more
 * @give_up: asks for clusters that are kept for whoever looks back
 * @gives_back: what becomes free is given back to the host; constant
 * @worker: the thread
 * @work: free what was dropped, prepare more
 * @retry: look again whether the host has space
 * @scan: find out which refcounts count no free cluster, a step at a time
 * @tidy: free the few clusters that nobody needs now; or prepare others instead of waiting longer
 * @lock: protects @ready, @nr_ready, @is_wanted, @waiting, @nr_waiting, @dropped, @nr_dropped,
 *	@nr_leaving, @nr_extents, @crowd
 * @ready: extents that may be allocated: zeroed and refcounted, durably
 * @nr_ready: clusters in them
 * @is_wanted: more clusters are to be prepared
 * @waiting: struct qcow2_work that wait for space
 * @nr_waiting: their number
 * @dropped: struct qcow2_dropped
 * @nr_dropped: clusters in them
 * @leaving: those whose entry is durable; the thread only
 * @nr_leaving: clusters in them
 * @stuck: struct qcow2_dropped that could not be freed, and are tried again when there is no
 *	space left, and at a suspend; the thread only
 * @nr_stuck: how many; beyond a bound they leak at once
 * @nr_extents: number of struct qcow2_dropped that are not free yet
 * @crowd: struct qcow2_work that wait for it to become less
 * @grace: of the grace period that they wait for
 * @in_grace: it is not over yet
 * @cursor: no free cluster lies below this one, as far as known; the thread only
 * @tail: where clusters are taken from while it is not known where those in front are free;
 *	0 when it has to be found; the thread only
 * @floor: clusters of the file at activation; constant while active
 * @waits_for_drops: nothing is prepared as much is dropped; the thread only
 * @patience_ends: until when, in jiffies
 * @step: clusters to prepare at a time; constant
 * @barrier_ns: what it took the last time to write the refcounts of some; the thread only
 * @nr_tries: rounds in a row that found no memory; the thread only
 * @pinned: pages of refcounts of qcow2_refcount_pin(); the thread only
 * @nr_pinned: their number
 * @max_pinned: how many have room: what counts @step clusters and a new refcount block; constant
 * @err: what preparing some has come to the last time
 * @had_waiting: somebody waited when the host was found full the last time; the thread only
 * @left: how much space the host has left
 * @wb: buffers of the write-back of refcounts
 */
struct qcow2_space {
	struct qcow2_image *img;
	void (*requeue)(struct qcow2_image *img, struct qcow2_work *work);
	enum qcow2_give_up (*give_up)(struct qcow2_image *img);
	bool gives_back;
	struct kthread_worker *worker;
	struct kthread_work work;
	struct kthread_delayed_work retry;
	struct kthread_delayed_work scan;
	struct kthread_delayed_work tidy;
	spinlock_t lock;
	struct list_head ready;
	u64 nr_ready;
	bool is_wanted;
	struct list_head waiting;
	unsigned int nr_waiting;
	struct list_head dropped;
	u64 nr_dropped;
	struct list_head leaving;
	u64 nr_leaving;
	struct list_head stuck;
	unsigned int nr_stuck;
	unsigned int nr_extents;
	struct list_head crowd;
	struct rcu_head grace;
	bool in_grace;
	u64 cursor;
	u64 tail;
	u64 floor;
	bool waits_for_drops;
	unsigned long patience_ends;
	u64 step;
	u64 barrier_ns;
	unsigned int nr_tries;
	struct qcow2_mpage **pinned;
	unsigned int nr_pinned;
	unsigned int max_pinned;
	int err;
	bool had_waiting;
	struct qcow2_left left;
	struct qcow2_writeback wb;
};

/**
 * qcow2_space_init - start the thread of an image's space
 * @s: what is to be initialised; its @requeue, @give_up and @gives_back are set
 * @img: the image; it is set to use @s
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_space_init(struct qcow2_space *s, struct qcow2_image *img);
void qcow2_space_exit(struct qcow2_space *s);

/**
 * qcow2_space_activate - start from what the image holds now
 * @img: the image; nothing uses its space yet
 */
void qcow2_space_activate(struct qcow2_image *img);

/**
 * qcow2_space_take - allocate clusters
 * @img: the image
 * @want: how many; at least 1
 * @start: set to the first one
 *
 * The clusters read as zero and are refcounted, durably: an entry may point at
 * them at once. Context: any that may hold a spinlock; not an interrupt.
 *
 * Return: how many, from 1 to @want; 0 when none is ready.
 */
u64 qcow2_space_take(struct qcow2_image *img, u64 want, u64 *start);

/**
 * qcow2_space_give_back - a cluster that was taken is not needed after all
 * @img: the image
 * @e: from kmalloc; owned by the image from here on
 * @cluster: the cluster; nobody has written to it
 *
 * Context: as for qcow2_space_take().
 */
void qcow2_space_give_back(struct qcow2_image *img, struct qcow2_extent *e, u64 cluster);

/**
 * qcow2_space_wait - queue work again when there is space
 * @img: the image
 * @work: what found none
 *
 * Return: 0 when the work is parked; -EAGAIN when there is space now; -ENOSPC
 * when it should not wait: the host is full and the image is set to fail, or is
 * being suspended; -EIO when the image has failed.
 */
int qcow2_space_wait(struct qcow2_image *img, struct qcow2_work *work);

/**
 * qcow2_space_release_waiters - let those who wait for space try again
 * @img: the image
 */
void qcow2_space_release_waiters(struct qcow2_image *img);

/**
 * qcow2_space_look_again - have the thread look whether there is space
 * @img: the image
 */
void qcow2_space_look_again(struct qcow2_image *img);

/**
 * qcow2_space_want - have the thread prepare clusters, for somebody who does not wait in the queue
 * @img: the image
 */
void qcow2_space_want(struct qcow2_image *img);

/**
 * qcow2_space_wanted - wait until the thread has tried
 * @img: the image
 *
 * Sleeps for I/O; not for the host to have space. Return: 0 or a negative errno; there need not be any in either case.
 */
int qcow2_space_wanted(struct qcow2_image *img);

/**
 * qcow2_space_stop - wait until the thread has nothing to do
 * @img: the image; no I/O is under way
 */
void qcow2_space_stop(struct qcow2_image *img);

/**
 * qcow2_space_return - give back what is ready and dropped, cut the tail off
 * @img: the image; its thread is stopped, everything is committed
 *
 * Return: 0 or -EIO.
 */
int qcow2_space_return(struct qcow2_image *img);

/* drop.c */

/**
 * qcow2_drop - an entry does not point at a cluster any more
 * @img: the image
 * @d: from the caller, by kmalloc; owned by the image from here on
 * @host_off: the cluster
 * @commit: the commit that makes this durable: qcow2_commit_next(), called behind
 *	the change of the entry in the cache; 0 when it is durable already
 */
void qcow2_drop(struct qcow2_image *img, struct qcow2_dropped *d, u64 host_off, u64 commit);

/**
 * qcow2_drop_extents - entries do not point at many clusters any more
 * @img: the image
 * @extents: struct qcow2_dropped with @start and @count, from kmalloc; left empty
 * @commit: as for qcow2_drop()
 */
void qcow2_drop_extents(struct qcow2_image *img, struct list_head *extents, u64 commit);

/* Free extents that are nobody's. */
void qcow2_dropped_free(struct list_head *extents);

/**
 * qcow2_drop_is_crowded - make sure that those who drop many clusters do not use up memory
 * @img: the image
 * @work: of the caller
 *
 * Return: false when some more may be dropped; true when @work is parked, and queued again when
 * there is room, or nobody is to wait any more.
 */
bool qcow2_drop_is_crowded(struct qcow2_image *img, struct qcow2_work *work);

/**
 * qcow2_drop_release_crowd - let those who were too many try again
 * @img: the image
 */
void qcow2_drop_release_crowd(struct qcow2_image *img);

/**
 * qcow2_drop_is_enough - whether what is dropped makes more clusters unnecessary
 * @img: the image
 *
 * If so their commit is started, and the thread is called again when they are free; unless I/O
 * hangs, and with it their grace period. The space thread.
 */
bool qcow2_drop_is_enough(struct qcow2_image *img);

/**
 * qcow2_drop_committed - entries have become durable
 * @img: the image
 *
 * The space thread frees what was dropped: many clusters now, a few in some seconds. The
 * commit's thread.
 */
void qcow2_drop_committed(struct qcow2_image *img);

/**
 * qcow2_drop_finish - free dropped clusters whose time has come
 * @img: the image
 *
 * The space thread. Does not wait for a grace period. Of very many it frees some, and the
 * thread's work is queued again.
 *
 * Return: 0; 1 when some wait for a grace period, after which the thread's work is queued;
 * or a negative errno: those that could not be freed are dropped still.
 */
int __must_check qcow2_drop_finish(struct qcow2_image *img);

/**
 * qcow2_drop_try_again - try to free what could not be freed before
 * @img: the image
 *
 * The space thread only. Return: whether there was any; qcow2_drop_finish() is to free it.
 */
bool qcow2_drop_try_again(struct qcow2_image *img);

/**
 * qcow2_drop_finish_all - free all dropped clusters whose entry is durable
 * @img: the image; its thread is stopped, and no I/O is under way
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_drop_finish_all(struct qcow2_image *img);

/* refill.c */

/**
 * qcow2_refill - prepare clusters for allocation
 * @img: the image
 *
 * The space thread only. Return: 0, -ENOSPC when the host or the image has no
 * more, or another negative errno. Unless the image has failed, nothing has changed
 * on an error, or what has is whole and durable: it may be tried again.
 */
int __must_check qcow2_refill(struct qcow2_image *img);

/**
 * qcow2_space_add_ready - hand out prepared clusters
 * @img: the image
 * @e: the extent, from kmalloc; owned by the image from here on
 */
void qcow2_space_add_ready(struct qcow2_image *img, struct qcow2_extent *e);

/* scan.c: the space thread only, or who starts or has stopped it */

/**
 * qcow2_scan_recall - keep what an earlier activation has found out, if it may be right
 * @img: the image; nothing has been written to it in this activation
 */
void qcow2_scan_recall(struct qcow2_image *img);

/**
 * qcow2_scan_start - find out which refcounts count no free cluster
 * @img: the image; its space is active, its thread has not been used yet
 *
 * Sets the cursor. Without memory nothing is found out.
 */
void qcow2_scan_start(struct qcow2_image *img);

/**
 * qcow2_scan_remember - keep what is known for the next activation
 * @img: the image; nothing is written to it any more, its thread is stopped
 * @is_clean: what is known is what the image holds; else it is forgotten
 */
void qcow2_scan_remember(struct qcow2_image *img, bool is_clean);

/**
 * qcow2_scan_work - one step; queues itself until all is known
 * @work: qcow2_space.scan.work
 */
void qcow2_scan_work(struct kthread_work *work);

/**
 * qcow2_scan_finish - find out now whatever can be found out
 * @img: the image
 *
 * What was found out before a suspend is found out again. Return: false when nothing
 * was left, so that there is no free cluster that was not known.
 */
bool qcow2_scan_finish(struct qcow2_image *img);

/**
 * qcow2_scan_is_ahead - is it going to be known whether there is a free cluster?
 * @img: the image
 * @cluster: the host cluster
 */
bool qcow2_scan_is_ahead(const struct qcow2_image *img, u64 cluster);

/**
 * qcow2_scan_skip - pass clusters of which none is free
 * @img: the image
 * @cluster: where to start
 *
 * Return: @cluster, or the first one behind it where one may be free.
 */
u64 qcow2_scan_skip(const struct qcow2_image *img, u64 cluster);

/**
 * qcow2_scan_tail - where to look for free clusters as long as others are not known
 * @img: the image
 * @cluster: set to it
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_scan_tail(struct qcow2_image *img, u64 *cluster);

/**
 * qcow2_scan_pass - move the cursor
 * @img: the image
 * @cluster: where it goes; no cluster in between is free any more
 */
void qcow2_scan_pass(struct qcow2_image *img, u64 cluster);

/**
 * qcow2_scan_note_free - clusters have become free
 * @img: the image
 * @cluster: the first
 * @count: how many
 */
void qcow2_scan_note_free(struct qcow2_image *img, u64 cluster, u64 count);

/**
 * qcow2_scan_has_counted - whether the refcount of a cluster was counted, or need not be
 * @img: the image
 * @cluster: the host cluster; false: it will be counted, or never
 */
bool qcow2_scan_has_counted(const struct qcow2_image *img, u64 cluster);

/**
 * qcow2_scan_uncounted - how many clusters there are that will not be counted
 * @img: the image
 * @clusters: set to it
 *
 * Return: false while it is not known.
 */
bool qcow2_scan_uncounted(const struct qcow2_image *img, u64 *clusters);

/* left.c */

void qcow2_left_init(struct qcow2_left *left);

/**
 * qcow2_left_start - look how much is left, if the table line asks for it
 * @img: the image, which may be written to; its thread has done nothing yet
 */
void qcow2_left_start(struct qcow2_image *img);

/**
 * qcow2_left_stop - look no more
 * @img: the image; its thread's other works may still run
 */
void qcow2_left_stop(struct qcow2_image *img);

/**
 * qcow2_left_work - look how much there is
 * @work: qcow2_left.look.work
 */
void qcow2_left_work(struct kthread_work *work);

/**
 * qcow2_left_look - look how much there is, and tell when it is low
 * @img: the image
 *
 * The space thread only. Asks the file system, which may take its time.
 */
void qcow2_left_look(struct qcow2_image *img);

/**
 * qcow2_left_look_soon - have the space thread look, a second after it last did
 * @img: the image
 *
 * Any context.
 */
void qcow2_left_look_soon(struct qcow2_image *img);

/**
 * qcow2_left_is_counted - whether clusters in use are counted
 * @img: the image
 */
bool qcow2_left_is_counted(const struct qcow2_image *img);

/**
 * qcow2_left_note_used - refcounts have changed
 * @img: the image
 * @cluster: the first of them; all are in one page, or behind those of the activation
 * @more: how many more of them are in use than before
 */
void qcow2_left_note_used(struct qcow2_image *img, u64 cluster, s64 more);

/**
 * qcow2_left_bytes - how much the host had left when last looked
 * @img: the image
 * @bytes: set to it
 *
 * Any context. Return: false when it is not known.
 */
bool qcow2_left_bytes(const struct qcow2_image *img, u64 *bytes);

/* reftable.c */

/**
 * qcow2_reftable_grow - make room for refcounts of more clusters
 * @img: the image; no refcount page is dirty
 *
 * The space thread only. Return: 0, -ENOSPC when the host is full or the table has
 * its largest size, or another negative errno: nothing has changed, or the image has
 * failed.
 */
int __must_check qcow2_reftable_grow(struct qcow2_image *img);

#endif /* DM_QCOW2_SPACE_H */
