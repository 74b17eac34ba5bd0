/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An image: its file or device, its geometry, its metadata, and whether it may be trusted.
 *
 * What is durable when (A <= B: A is durable before B is written):
 *
 *   zeroed clusters and their refcounts <= an entry that uses one
 *   data copied into a cluster         <= the entry that points at the copy
 *   entry that drops a cluster         <= its refcount decrease <= its reuse
 *
 * The first line is kept by space/ before a cluster can be allocated at all, so
 * that a commit of entries into fresh clusters needs a single barrier. A crash
 * leaves leaked clusters at most: those prepared, and those dropped.
 */
#ifndef DM_QCOW2_IMAGE_H
#define DM_QCOW2_IMAGE_H

#include <linux/device-mapper.h>
#include <linux/sched/mm.h>
#include <linux/srcu.h>

#include "file/file.h"
#include "format/geometry.h"
#include "read-section.h"

#include "cache.h"

#define DM_MSG_PREFIX "qcow2"

struct qcow2_base;
struct qcow2_bitmaps;
struct qcow2_commit;
struct qcow2_compressed;
struct qcow2_fills;
struct qcow2_full;
struct qcow2_instant;
struct qcow2_space;

/* Bits of qcow2_image.state */
enum {
	QCOW2_ACTIVE,		/* between preresume and postsuspend */
	QCOW2_SUSPENDING,	/* between presuspend and preresume, or its undoing */
	QCOW2_LEAVING,		/* nobody waits for space any more */
	QCOW2_FAILED,		/* a metadata write failed: no more writes */
	QCOW2_NEEDS_CHECK,	/* the image should see qemu-img check */
	QCOW2_NO_SPACE_ERROR,	/* fail writes that find no space, do not queue */
};

/**
 * struct qcow2_image - an image
 * @geo: constant after the constructor, but for what a grown refcount table moves
 * @base: what its holes show; NULL when they read as zero, and for backing images, whose
 *	chain is that of their struct qcow2_base
 * @instant: whose host clusters are not written to, or that is ending; RCU, or a read section of
 *	@inflight (cow/instant.h)
 * @bitmaps: that changes are recorded in, or NULL; set and freed while it is not active, under
 *	@bitmaps_lock
 * @ti: the target whose top it is; NULL for a backing image
 * @file: the file or device
 * @state: bits of the enum above
 * @data_end: where data ends, in this very file: what lies behind it is looked at again. 0 when
 *	the data is in another one
 * @reftable_offset: host offset of the refcount table; the space thread writes it
 * @reftable_clusters: its size; the space thread writes it
 * @inflight: read side from the look-up of a host cluster to the end of the I/O
 *	on it; a dropped cluster is not reused before a grace period
 * @cache: metadata pages
 * @host_bytes: where the image ends; host offsets at or behind it are refused
 * @data: what has the guest's data: the image itself, or a data file, of which only @file and
 *	@data are used (image/data-file.h)
 * @is_written: since the last barrier that made @file durable tables were written to it; set behind
 *	the write, by who writes
 * @name: for the log: the mapped device, or the name of a backing image's file
 * @commit: makes changed entries durable; this and the next three are NULL for a backing image
 * @space: clusters to be allocated, and on their way to become free
 * @full: what writes do when the host has no space
 * @fills: clusters that no entry points at yet
 * @compressed: compressed clusters that were read of late
 * @header_lock: serialises changes of the header
 * @sync_lock: serialises barriers, so that an error is seen by all behind it
 * @bitmaps_lock: held by who frees @bitmaps, and who asks for them from outside
 */
struct qcow2_image {
	/* Down to the first fields of the cache: read by every request, hardly ever written. */
	struct qcow2_geometry geo;
	struct qcow2_base *base;
	struct qcow2_instant __rcu *instant;
	struct qcow2_bitmaps *bitmaps;
	struct dm_target *ti;
	struct qcow2_file file;
	unsigned long state;
	u64 data_end;
	u64 reftable_offset;
	u32 reftable_clusters;
	struct srcu_struct inflight;
	struct qcow2_cache cache;
	u64 host_bytes;
	struct qcow2_image *data;
	bool is_written;
	const char *name;
	struct qcow2_commit *commit;
	struct qcow2_space *space;
	struct qcow2_full *full;
	struct qcow2_fills *fills;
	struct qcow2_compressed *compressed;
	struct mutex header_lock;
	struct mutex sync_lock;
	struct mutex bitmaps_lock;
};

/* Cluster numbers and L2 page numbers are keys of xarrays. */
static_assert(sizeof(unsigned long) == sizeof(u64));

static inline bool qcow2_is_file(const struct qcow2_image *img)
{
	return !img->file.bdev;
}

static inline bool qcow2_has_data_file(const struct qcow2_image *img)
{
	return img->data != img;
}

/* What the guest's data is in. */
static inline struct qcow2_file *qcow2_data_file(const struct qcow2_image *img)
{
	return &img->data->file;
}

/* The image, with data that is in it, ends there from now on. */
static inline void qcow2_set_end(struct qcow2_image *img, u64 bytes)
{
	WRITE_ONCE(img->host_bytes, bytes);
	WRITE_ONCE(img->data_end, qcow2_has_data_file(img) ? 0 : bytes);
}

static inline const char *qcow2_name(const struct qcow2_image *img)
{
	return img->name;
}

/* Refcount blocks that the refcount table has room for. */
static inline u64 qcow2_reftable_entries(const struct qcow2_image *img)
{
	return (u64)img->reftable_clusters << (img->geo.cluster_bits - QCOW2_ENTRY_BITS);
}

static inline bool qcow2_failed(const struct qcow2_image *img)
{
	return test_bit(QCOW2_FAILED, &img->state);
}

/* A failed image is only read from then on, even if it is marked corrupt. */
static inline bool qcow2_may_write(const struct qcow2_image *img)
{
	return img->file.is_writable && !qcow2_failed(img);
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
 * @img: the image
 *
 * Any context. Return: to be handed to qcow2_inflight_leave().
 */
static inline int qcow2_inflight_enter(struct qcow2_image *img)
{
	return qcow2_read_enter(&img->inflight);
}

/**
 * qcow2_inflight_leave - the I/O is done, or was not started
 * @img: the image
 * @idx: from qcow2_inflight_enter()
 *
 * Any context.
 */
static inline void qcow2_inflight_leave(struct qcow2_image *img, int idx)
{
	qcow2_read_leave(&img->inflight, idx);
}

/* damage.c */

/**
 * qcow2_fail - stop writing after an error that metadata cannot recover from
 * @img: the image
 * @what: what went wrong, for the log
 * @err: negative errno
 *
 * Reads go on; writes and flushes fail from here on. Any context that may not
 * be an interrupt.
 */
void qcow2_fail(struct qcow2_image *img, const char *what, int err);

/**
 * qcow2_bad_metadata - report metadata that cannot be used
 * @img: the image
 * @what: the structure
 * @host_off: the offset that is wrong
 *
 * Only the request that needs it fails. Any context; rate-limited.
 *
 * Return: -EUCLEAN, for the caller to return.
 */
int qcow2_bad_metadata(struct qcow2_image *img, const char *what, u64 host_off);

/**
 * qcow2_corrupt - report metadata that makes it unsafe to write to the image
 * @img: the image
 * @what: the structure
 * @host_off: the offset that is wrong
 *
 * Soon the corrupt bit is set in the header and writes fail, if the image is
 * writable. Any context; rate-limited.
 *
 * Return: -EUCLEAN, for the caller to return.
 */
int qcow2_corrupt(struct qcow2_image *img, const char *what, u64 host_off);

/**
 * qcow2_corrupt_wait - wait until what was reported is marked
 * @img: the image
 */
void qcow2_corrupt_wait(struct qcow2_image *img);

#endif /* DM_QCOW2_IMAGE_H */
