/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An attached image, and the functions by which its parts meet.
 *
 *            .map (any context, never sleeps)
 *             | hit                        | miss, no space, FUA, copy
 *             v                            v
 *   block device: remapped          slow.c: a pool of threads
 *   file: remapped when leased,       load, allocate, copy, split
 *     run.c, per-CPU threads
 *             |                            |
 *             +-------- data I/O ----------+
 *                             (blocks.c: of parts of the layer's blocks)
 *
 *   commit.c  one thread an image: L1 and L2 pages, FLUSH, FUA
 *   full.c, park.c  a host without space, or frozen
 *   space.c   one thread an image: prepares free clusters (refill.c), frees
 *             dropped ones (drop.c); the only user of refcounts (refcount.c)
 *
 * What is durable when (A <= B: A is durable before B is written):
 *
 *   zeroed clusters and their refcounts <= an entry that uses one
 *   data copied into a cluster         <= the entry that points at the copy
 *   entry that drops a cluster         <= its refcount decrease <= its reuse
 *
 * The first line is kept by space.c before a cluster can be allocated at all, so
 * that a commit of entries into fresh clusters needs a single barrier. A crash
 * leaves leaked clusters at most: those prepared, and those dropped.
 */
#ifndef DM_QCOW2_H
#define DM_QCOW2_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/srcu.h>

#include "meta/barrier.h"
#include "meta/full.h"
#include "format/geometry.h"
#include "file/file.h"
#include "meta/cache.h"
#include "io/park.h"
#include "read-section.h"
#include "io/slow.h"
#include "space/space.h"
#include "meta/writeback.h"

#define DM_MSG_PREFIX "qcow2"

struct qcow2_block_region;
struct qcow2_disk_header;
struct qcow2_header;

/* Bits of qcow2.state */
enum {
	QCOW2_ACTIVE,		/* between preresume and postsuspend */
	QCOW2_SUSPENDING,	/* between presuspend and preresume, or its undoing */
	QCOW2_LEAVING,		/* nobody waits for space any more */
	QCOW2_FAILED,		/* a metadata write failed: no more writes */
	QCOW2_NEEDS_CHECK,	/* the image should see qemu-img check */
	QCOW2_NO_SPACE_ERROR,	/* fail writes that find no space, do not queue */
};

#define QCOW2_COPY_MUTEXES	16

/**
 * struct qcow2_commit - the state of commit.c
 * @worker: the thread
 * @work: one commit
 * @age_work: a commit for changes that nobody flushes
 * @lock: protects @waiting
 * @waiting: bios that complete with the next commit
 * @started: number of the newest commit that has started
 * @done: number of the newest commit that has ended, well or not
 * @durable: number of the newest commit that has succeeded
 * @data_seq: numbers copies of data; see qcow2_mpage.data_seq
 * @wb: buffers of the write-back
 */
struct qcow2_commit {
	struct kthread_worker *worker;
	struct kthread_work work;
	struct kthread_delayed_work age_work;
	spinlock_t lock;
	struct bio_list waiting;
	u64 started;
	u64 done;
	u64 durable;
	atomic64_t data_seq;
	struct qcow2_writeback wb;
};

/**
 * struct qcow2 - an image of one target
 * @geo: constant after the constructor, but for what a grown refcount table moves
 * @ti: the target
 * @layer: the file or device
 * @state: bits of the enum above
 * @host_bytes: where the image ends; host offsets at or behind it are refused
 * @reftable_offset: host offset of the refcount table; the space thread writes it
 * @reftable_clusters: its size; the space thread writes it
 * @cache_mb: of the table line
 * @no_space_error: of the table line, or the last message
 * @no_layouts: of the table line
 * @inflight: read side from the look-up of a host cluster to the end of the I/O
 *	on it; a dropped cluster is not reused before a grace period
 * @cache: metadata pages
 * @copy_mutex: serialise copies of a cluster before a write, hashed by cluster
 * @commit: see there
 * @space: see there
 * @slow: see there
 * @full: see there
 * @park: see there
 * @regions: of blocks.c; NULL if the layer's blocks are sectors
 * @bios: pieces of requests that the slow pool splits
 * @corrupt_work: marks the header; runs in the commit's thread
 * @header_lock: serialises changes of the header
 * @sync_lock: serialises barriers, so that an error is seen by all behind it
 * @place_offset: where the refcount table is going to be; under the walk lock
 * @place_bytes: size of that place, 0 when the table is not about to move
 */
struct qcow2 {
	/* Down to the first fields of the cache: read by every request, hardly ever written. */
	struct qcow2_geometry geo;
	struct dm_target *ti;
	struct qcow2_layer layer;
	unsigned long state;
	u64 host_bytes;
	u64 reftable_offset;
	u32 reftable_clusters;
	u32 cache_mb;
	bool no_space_error;
	bool no_layouts;
	struct srcu_struct inflight;
	struct qcow2_metacache cache;
	struct mutex copy_mutex[QCOW2_COPY_MUTEXES];
	struct qcow2_commit commit;
	struct qcow2_space space;
	struct qcow2_slow_pool slow;
	struct qcow2_full full;
	struct qcow2_park park;
	struct qcow2_block_region *regions;
	struct bio_set bios;
	struct kthread_work corrupt_work;
	struct mutex header_lock;
	struct mutex sync_lock;
	u64 place_offset;
	u64 place_bytes;
};

/* Cluster numbers and L2 page numbers are keys of xarrays. */
static_assert(sizeof(unsigned long) == sizeof(u64));

static inline bool qcow2_is_file(const struct qcow2 *q)
{
	return !q->layer.dev;
}

static inline const char *qcow2_name(const struct qcow2 *q)
{
	return dm_device_name(q->layer.md);
}

static inline bool qcow2_failed(const struct qcow2 *q)
{
	return test_bit(QCOW2_FAILED, &q->state);
}

/**
 * qcow2_worker_enter - a thread of ours begins a piece of work that does I/O
 *
 * No recursion into I/O; and writes to the host's file system are not held back for
 * dirty pages that wait for this very thread.
 *
 * Return: to be handed to memalloc_noio_restore().
 */
static inline unsigned int qcow2_worker_enter(void)
{
	current->flags |= PF_LOCAL_THROTTLE;
	return memalloc_noio_save();
}

/**
 * qcow2_inflight_enter - I/O on a host cluster begins: before it is looked up
 * @q: the image
 *
 * Any context. Return: to be handed to qcow2_inflight_leave().
 */
static inline int qcow2_inflight_enter(struct qcow2 *q)
{
	return qcow2_read_enter(&q->inflight);
}

/**
 * qcow2_inflight_leave - the I/O is done, or was not started
 * @q: the image
 * @idx: from qcow2_inflight_enter()
 *
 * Any context.
 */
static inline void qcow2_inflight_leave(struct qcow2 *q, int idx)
{
	qcow2_read_leave(&q->inflight, idx);
}

/**
 * qcow2_fail - stop writing after an error that metadata cannot recover from
 * @q: the image
 * @what: what went wrong, for the log
 * @err: negative errno
 *
 * Reads go on; writes and flushes fail from here on. Any context that may not
 * be an interrupt.
 */
void qcow2_fail(struct qcow2 *q, const char *what, int err);

/* corrupt.c */

/**
 * qcow2_bad_metadata - report metadata that cannot be used
 * @q: the image
 * @what: the structure
 * @host_off: the offset that is wrong
 *
 * Only the request that needs it fails. Any context; rate-limited.
 *
 * Return: -EUCLEAN, for the caller to return.
 */
int qcow2_bad_metadata(struct qcow2 *q, const char *what, u64 host_off);

/**
 * qcow2_corrupt - report metadata that makes it unsafe to write to the image
 * @q: the image
 * @what: the structure
 * @host_off: the offset that is wrong
 *
 * Soon the corrupt bit is set in the header and writes fail, if the image is
 * writable. Any context; rate-limited.
 *
 * Return: -EUCLEAN, for the caller to return.
 */
int qcow2_corrupt(struct qcow2 *q, const char *what, u64 host_off);

void qcow2_corrupt_init(struct qcow2 *q);

/**
 * qcow2_corrupt_wait - wait until what was reported is marked
 * @q: the image
 */
void qcow2_corrupt_wait(struct qcow2 *q);

/* activate.c */

/**
 * qcow2_activate - read the header again and become ready for I/O
 * @q: a target that is not active
 *
 * The first function to write to the image. Return: 0 or a negative errno.
 */
int __must_check qcow2_activate(struct qcow2 *q);

/**
 * qcow2_deactivate - leave an image that qemu-img check finds clean
 * @q: an active target
 */
void qcow2_deactivate(struct qcow2 *q);

/**
 * qcow2_read_header - read and check the header
 * @q: an image with an open layer
 * @h: filled in on success
 * @why: set to a sentence on failure
 */
int __must_check qcow2_read_header(struct qcow2 *q, struct qcow2_header *h,
				   const char **why);

/**
 * qcow2_write_header - change fields of the header, durably
 * @q: the image
 * @change: called with the header in its on-disk form
 * @arg: handed to @change
 *
 * Rewrites the first sector only. Return: 0 or a negative errno.
 */
int __must_check qcow2_write_header(struct qcow2 *q,
				    void (*change)(struct qcow2_disk_header *d,
						   const void *arg),
				    const void *arg);

/* commit.c */
int __must_check qcow2_commit_init(struct qcow2 *q);
void qcow2_commit_exit(struct qcow2 *q);

/**
 * qcow2_commit_bio - complete a bio when all that was written so far is durable
 * @q: the image
 * @bio: an empty flush, or a write whose data has been written
 *
 * Any context.
 */
void qcow2_commit_bio(struct qcow2 *q, struct bio *bio);

/**
 * qcow2_commit_kick - start a commit soon
 * @q: the image
 */
void qcow2_commit_kick(struct qcow2 *q);

/**
 * qcow2_commit_age - see that changes made now do not stay in memory for ever
 * @q: the image
 */
void qcow2_commit_age(struct qcow2 *q);

/**
 * qcow2_commit_wait - commit all changes and wait
 * @q: the image
 *
 * Return: 0, or -EIO when the image has failed.
 */
int qcow2_commit_wait(struct qcow2 *q);

/**
 * qcow2_commit_next - number of a commit that will make earlier changes durable
 * @q: the image
 */
static inline u64 qcow2_commit_next(const struct qcow2 *q)
{
	/* Every commit that starts from now on sees the changed entry. */
	smp_mb();
	return READ_ONCE(q->commit.started) + 1;
}

/**
 * qcow2_commit_is_idle - is everything in the cache durable?
 * @q: the image
 *
 * Return: true when a flush has nothing to do but flush the layer.
 */
bool qcow2_commit_is_idle(struct qcow2 *q);

#endif /* DM_QCOW2_H */
