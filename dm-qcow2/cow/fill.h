/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Deferred fill: copy-on-write of clusters that must not be written in place. Those are holes of
 * the top with data below, compressed clusters, clusters that others share, and those that read as
 * zero and have a host cluster.
 *
 * A write that covers a part of such a cluster must not cost the copy of the rest before it
 * completes. It goes to a fresh cluster at once; a fill says which of its sectors are valid,
 * and reads take the others from where they were. No entry points at the cluster until it is
 * whole: what is missing is copied by the commit that publishes the entry, and most often
 * the guest has written all of it by then.
 *
 *	        write, cluster taken
 *	             |
 *	             v          all valid: room is needed, or a commit
 *	   +--> OPEN -----------------------------------------+
 *	   |     |  commit                                    |
 *	   |     v                                            v
 *	   |   CLOSED: writes of it wait; those under way end, what is missing is copied
 *	   |     |                                            |
 *	   +-----+ error                                      v
 *	                         entry changed, then the fill is forgotten
 *
 * (A <= B: A is durable before B is written.)
 *
 *   the guest's bytes and the copied rest <= the entry that hides what was there
 *
 * That is the barrier COMMIT_DATA, by qcow2_mpage.data_seq. A crash before the entry is durable
 * leaves a leaked cluster, and the guest sees what was there: no flush has been answered
 * since its write.
 *
 * A cluster that is kept for a guest cluster of zeroes, and not shared, is its own fresh cluster:
 * where all space is allocated there may be no other. What is missing is zeroes, which are written.
 * Writes that looked the entry up before the zeroes may still be on their way there, so such a fill
 * is whole behind a grace period only.
 *
 * While a cluster has a fill its entry does not change, but by the fill; who wants to change it
 * waits (qcow2_fills_change()).
 *
 * A hole may be pulled, too: filled from below for nobody's write, so that what is below can go. Its
 * fill is as any other, and is copied when it has been begun.
 *
 * A fill of subclusters completes those that were written to, and no others. Its cluster is the
 * one that the entry has, if no other image uses it, and then writes to subclusters that are
 * allocated go in place beside it.
 *
 * A reader of such a cluster looks for a fill, and if there is none, at the entry once more: it
 * was changed before the fill was forgotten.
 */
#ifndef DM_QCOW2_FILL_H
#define DM_QCOW2_FILL_H

#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "cow.h"
#include "drops.h"
#include "trim.h"

#define QCOW2_FILL_HASH_BITS	7

/* Of clusters; how many are copied together. */
#define QCOW2_COPY_PIECES	8

struct qcow2_fill;
struct qcow2_instant;

/**
 * struct qcow2_fills - the fills of an image
 * @img: the image
 * @publishing: held by who publishes: a commit has to see all entries of what is closed
 * @bufs: of fill-data.c, while a commit publishes; under @publishing, as the next two
 * @nr_bufs: their number
 * @buf_bytes: their length
 * @lock: protects the rest, and all fills; taken in interrupts, with no other lock in it
 * @by_cluster: all fills, by guest cluster
 * @open: those that are OPEN, the oldest first
 * @count: number of fills
 * @limit: how many there may be
 * @newest: number of the newest
 * @nr_few: how many want few of them: qcow2_fills_hold_few()
 * @admitted: then, how many may begin although there are more than a few: half of those that have gone
 * @gone: how many have
 * @waiting: struct qcow2_work that wait for another one to go
 * @changes: struct qcow2_work that wait for a commit to publish what they have met
 * @trims: of an image whose data file is given back what is discarded; else NULL
 * @has_kept: entries have been changed that keep their clusters, or data is redirected
 * @kept: then, cookie of qcow2_image.inflight: of the newest such change
 * @freezing: held by who begins or ends an instant (instant.h)
 * @dropped: how many that were pulled could not be copied: they are holes again, or wait for a commit with
 *	what somebody has written to them; under @publishing
 * @drop_err: why, of the last one
 * @latest: the instant that was begun last, until its end is over; under @freezing
 * @wait: woken when a fill that is CLOSED has no write under way
 */
struct qcow2_fills {
	struct qcow2_image *img;
	struct mutex publishing;
	void *bufs[QCOW2_COPY_PIECES];
	unsigned int nr_bufs;
	u32 buf_bytes;
	spinlock_t lock;
	DECLARE_HASHTABLE(by_cluster, QCOW2_FILL_HASH_BITS);
	struct list_head open;
	unsigned int count;
	unsigned int limit;
	u64 newest;
	unsigned int nr_few;
	unsigned int admitted;
	unsigned int gone;
	struct list_head waiting;
	struct list_head changes;
	struct qcow2_trims *trims;
	bool has_kept;
	unsigned long kept;
	struct mutex freezing;
	unsigned long dropped;
	int drop_err;
	struct qcow2_instant *latest;
	wait_queue_head_t wait;
};

#define QCOW2_MAX_CHANGE	32U

/**
 * struct qcow2_change - what neighbouring entries become, other than by a fill
 * @cluster: the first guest cluster
 * @count: number of entries, all in one page
 * @keeps_clusters: some keep host clusters for zeroes that were data: writes may be under way there
 * @gives_back: the space that they have in a data file is the host's
 * @is_alike: all become what the first one becomes; else there are QCOW2_MAX_CHANGE at most
 * @new: the entries
 */
struct qcow2_change {
	u64 cluster;
	u32 count;
	bool keeps_clusters;
	bool gives_back;
	bool is_alike;
	struct qcow2_l2_entry new[QCOW2_MAX_CHANGE];
};

void qcow2_fills_init(struct qcow2_fills *fs, struct qcow2_image *img);
void qcow2_fills_exit(struct qcow2_fills *fs);

/**
 * qcow2_fills_abandon - forget fills that could not be published
 * @img: the image; nothing is under way, a commit has come and gone
 *
 * What was written to them is lost: the image fails. So it does if an earlier loss has been told
 * to nobody.
 */
void qcow2_fills_abandon(struct qcow2_image *img);

/**
 * qcow2_fill_begin - a write to a cluster that has to be copied
 * @img: the image
 * @p: the L2 page, with a reference
 * @guest_off: where it begins
 * @bytes: its length, to the end of the cluster at most
 * @old: the entry of its cluster, as the caller has seen it
 * @work: of its request, if that has to wait; NULL for who must not sleep: nothing waits then
 * @fill: set for QCOW2_COW_READY; qcow2_fill_end() is to follow
 * @host_off: set likewise: where the write goes to
 *
 * Slow pool; without @work anywhere but in an interrupt.
 *
 * Return: enum qcow2_cow_result or a negative errno. Without @work the slow pool has to see to all
 * but QCOW2_COW_READY.
 */
int __must_check qcow2_fill_begin(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
				  u32 bytes, struct qcow2_l2_entry old, struct qcow2_work *work,
				  struct qcow2_fill **fill, u64 *host_off);

/**
 * qcow2_fill_end - the write is done
 * @img: the image
 * @fill: from qcow2_fill_begin()
 * @guest_off: where it began
 * @bytes: its length; in one cluster
 * @is_valid: the cluster has what was written
 *
 * Any context.
 */
void qcow2_fill_end(struct qcow2_image *img, struct qcow2_fill *fill, u64 guest_off, u32 bytes,
		    bool is_valid);

/**
 * qcow2_fill_pull - have a hole filled from below although nobody writes to it
 * @img: the image
 * @p: the L2 page, with a reference
 * @guest_off: where what is to be whole begins
 * @old: the entry of its cluster, as the caller has seen it: what is not all zeroes is below
 * @subclusters: of an extended entry: which of those that show what is below; else U32_MAX
 *
 * In a read section of qcow2_image.inflight; sleeps. It is copied by qcow2_fills_publish_pulled(), or by
 * a commit that comes before. If that cannot read or write it the hole stays one.
 *
 * Return: QCOW2_COW_READY; QCOW2_COW_AGAIN; QCOW2_COW_NO_CLUSTER; QCOW2_COW_PARKED when there is no
 * room, or somebody writes to the cluster: it is to be tried again behind a commit; or a negative
 * errno.
 */
int __must_check qcow2_fill_pull(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off,
				 struct qcow2_l2_entry old, u32 subclusters);

/**
 * qcow2_fills_publish_pulled - copy what qcow2_fill_pull() has begun, and let entries point at it
 * @img: the image
 * @dropped: qcow2_fills_dropped() from before the first one
 *
 * Sleeps for I/O, a signal ends the wait for others; a commit waits meanwhile. Nothing waits for a host
 * that is full.
 * What cannot be copied is a hole again, unless somebody has written to it: that is the next commit's.
 *
 * Return: 0, or an error of one of them, whoever it was that tried to copy that one.
 */
int __must_check qcow2_fills_publish_pulled(struct qcow2_image *img, unsigned long dropped);

/* How many that were pulled could not be copied so far. */
unsigned long qcow2_fills_dropped(const struct qcow2_image *img);

/**
 * qcow2_fill_find - look whether a cluster that has to be copied has a fill
 * @img: the image
 * @guest_off: in the cluster
 * @bytes: length of a read; cut to what is alike, if there are any fills
 * @host_off: set when the bytes are in the fill's cluster
 * @is_known: set to whether there is a fill; it need not be one on the entry that was looked at
 *
 * Any context, in a read section of qcow2_image.inflight. Return: true when the bytes are in
 * the fill's cluster; false when they are where they were.
 */
bool qcow2_fill_find(struct qcow2_image *img, u64 guest_off, u32 *bytes, u64 *host_off,
		     bool *is_known);

/**
 * qcow2_fill_moves - whether a cluster has a fill that is to take its place
 * @img: the image
 * @guest_off: in the cluster
 *
 * Any context. Return: true when there is one whose host cluster is another one.
 */
bool qcow2_fill_moves(struct qcow2_image *img, u64 guest_off);

/* The number of the newest fill there has been. */
u64 qcow2_fills_newest(struct qcow2_image *img);

/* Whether there is a fill with that number, or a smaller one. */
bool qcow2_fills_has_older(struct qcow2_image *img, u64 number);

/**
 * qcow2_fills_publish - copy what is missing, and let entries point at the clusters
 * @img: the image
 *
 * All fills that have been begun by now. The commit's thread.
 *
 * Return: 0 or the first error. Without memory a fill stays one. Where something could not be
 * read or written, what the guest wrote to the cluster is lost, and the log says so: a disk all
 * of whose flushes fail would be of no use to anybody.
 */
int qcow2_fills_publish(struct qcow2_image *img);

/**
 * qcow2_fills_hold_few - before a guest has to wait for all of them: have most published
 * @img: the image, active
 *
 * Sleeps, for a quarter of a second at most, less for a signal. The guest goes on: for two that are
 * published one may begin, so whoever begins one waits for a few copies at most, and the longer
 * there are new ones the fewer they are. qcow2_fills_release_few() is to follow, soon.
 */
void qcow2_fills_hold_few(struct qcow2_image *img);

/**
 * qcow2_fills_release_few - there may be as many as ever
 * @img: the image
 */
void qcow2_fills_release_few(struct qcow2_image *img);

/**
 * qcow2_fills_change - change entries, if none of their clusters has a fill
 * @img: the image
 * @p: the L2 page, with its lock held and marked dirty
 * @c: what they become
 * @work: of the caller
 *
 * No fill begins on the word of an old entry from here on. Return: true when they have been
 * changed; false when @work is parked: the caller starts a commit when it has left the lock, and at
 * the end of that the work is queued again.
 */
bool qcow2_fills_change(struct qcow2_image *img, struct qcow2_mpage *p,
			const struct qcow2_change *c, struct qcow2_work *work);

/**
 * qcow2_fills_settle - wait until clusters have no fill
 * @img: the image
 * @cluster: the first one
 * @count: how many
 * @work: of the caller
 *
 * Return: true when there is none; false when @work is parked, until a commit has published what
 * there was.
 */
bool qcow2_fills_settle(struct qcow2_image *img, u64 cluster, u32 count, struct qcow2_work *work);

#endif /* DM_QCOW2_FILL_H */
