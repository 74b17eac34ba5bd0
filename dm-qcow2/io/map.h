/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a guest offset to host clusters.
 */
#ifndef DM_QCOW2_MAP_H
#define DM_QCOW2_MAP_H

#include "format/l2-entry.h"

struct qcow2_fill;
struct qcow2_image;
struct qcow2_instant;
struct qcow2_mpage;

/**
 * enum qcow2_map_result - what is to be done with the first bytes of a request
 * @QCOW2_MAP_DATA: read or write host clusters in place
 * @QCOW2_MAP_ZERO: a read of zeroes
 * @QCOW2_MAP_ALLOCATE: a write that needs clusters
 * @QCOW2_MAP_MISS: the metadata page is not in the cache; or if it is, the index of tables has
 *	not been made
 * @QCOW2_MAP_AGAIN: something was done about it, or has changed: look again
 * @QCOW2_MAP_NO_CLUSTER: none is ready to be allocated
 * @QCOW2_MAP_BELOW: a hole of a top that has something below; qcow2_map_unowned() says what
 * @QCOW2_MAP_SHARED: a read of data that must not be written in place; likewise
 * @QCOW2_MAP_KEPT: a read of zeroes for which a host cluster is kept; likewise
 * @QCOW2_MAP_FILL: a write to a cluster that has to be copied
 * @QCOW2_MAP_IN_FILL: the same, and it has begun: as QCOW2_MAP_DATA, and at its end
 *	qcow2_fill_end()
 * @QCOW2_MAP_LOAD: it is not known yet what is below
 * @QCOW2_MAP_INFLATE: a read of a compressed cluster
 * @QCOW2_MAP_UNMARKED: a write that no bitmap may record yet
 * @QCOW2_MAP_TAIL: a read of the last sector of a raw file that ends inside it
 * @QCOW2_MAP_SAVE: a write of which the disk of an instant has to keep what it covers, first
 *
 * Negative values are errors, whichever they are: the host's file system may give any, so
 * none of them says what to do next.
 */
enum qcow2_map_result {
	QCOW2_MAP_DATA,
	QCOW2_MAP_ZERO,
	QCOW2_MAP_ALLOCATE,
	QCOW2_MAP_MISS,
	QCOW2_MAP_AGAIN,
	QCOW2_MAP_NO_CLUSTER,
	QCOW2_MAP_BELOW,
	QCOW2_MAP_SHARED,
	QCOW2_MAP_KEPT,
	QCOW2_MAP_FILL,
	QCOW2_MAP_IN_FILL,
	QCOW2_MAP_LOAD,
	QCOW2_MAP_INFLATE,
	QCOW2_MAP_TAIL,
	QCOW2_MAP_UNMARKED,
	QCOW2_MAP_SAVE,
};

/* For a tracepoint, by enum qcow2_map_result: why a request could not be mapped at once. */
extern const char *const qcow2_map_names[];

/**
 * struct qcow2_mapping - where a run of guest bytes is
 * @img: for QCOW2_MAP_DATA, QCOW2_MAP_IN_FILL, QCOW2_MAP_TAIL and QCOW2_MAP_INFLATE: the image
 *	that has it
 * @host_off: likewise, and for QCOW2_MAP_SAVE, host offset of the first byte; but for
 *	QCOW2_MAP_INFLATE the L2 entry
 * @old: for QCOW2_MAP_FILL and what qcow2_map_unowned() is asked for, the L2 entry
 * @fill: for QCOW2_MAP_IN_FILL, the fill
 * @bytes: length of the run; contiguous on the host, at most what was asked for
 * @is_durable: the entries that say so are on disk
 * @is_fresh: the clusters were allocated for this very request
 */
struct qcow2_mapping {
	struct qcow2_image *img;
	u64 host_off;
	struct qcow2_l2_entry old;
	struct qcow2_fill *fill;
	u32 bytes;
	bool is_durable;
	bool is_fresh;
};

/**
 * qcow2_map_page - look a run up in a metadata page
 * @img: the image
 * @p: the L2 page that maps @guest_off
 * @guest_off: start of the run
 * @bytes: wanted length; at least 1, may reach beyond the page
 * @is_write: whether it is to be written
 * @m: filled in but for errors
 *
 * Takes no lock. For QCOW2_MAP_DATA the caller is in a read section of
 * qcow2_image.inflight until the I/O is done.
 *
 * Return: enum qcow2_map_result; -EUCLEAN for bad metadata. QCOW2_MAP_AGAIN when the entry is being
 * changed.
 */
int qcow2_map_page(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
		   bool is_write, struct qcow2_mapping *m);

/**
 * qcow2_is_unowned - whether a cluster is not the top's own to be written in place
 * @result: of qcow2_map_page()
 *
 * Return: true when qcow2_map_unowned() says what is to be done.
 */
static inline bool qcow2_is_unowned(int result)
{
	return result == QCOW2_MAP_BELOW || result == QCOW2_MAP_SHARED ||
	       result == QCOW2_MAP_KEPT || result == QCOW2_MAP_INFLATE;
}

/**
 * qcow2_map_unowned - look up what a cluster shows that is not the top's own
 * @img: the top
 * @p: the L2 page that maps @guest_off
 * @guest_off: start of the run
 * @is_write: whether it is to be written
 * @result: of qcow2_map_page()
 * @m: as that left it; changed to what is found
 *
 * Takes no lock but that of the fills, if there are any; else as qcow2_map_page().
 *
 * Return: enum qcow2_map_result or a negative errno.
 */
int qcow2_map_unowned(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, bool is_write,
		      int result, struct qcow2_mapping *m);

/**
 * qcow2_map_instant - look a run up on the disk of an instant
 * @img: the image
 * @instant: the instant
 * @p: the L2 page that maps @guest_off, as it is now
 * @guest_off: start of the run
 * @bytes: wanted length
 * @m: filled in but for errors
 *
 * As qcow2_map_page() and qcow2_map_unowned() for a read.
 */
int qcow2_map_instant(struct qcow2_image *img, struct qcow2_instant *instant,
		      struct qcow2_mpage *p, u64 guest_off, u32 bytes, struct qcow2_mapping *m);

/**
 * qcow2_allocate - give unallocated guest clusters host clusters
 * @img: the image
 * @p: the L2 page, with a reference; its table is allocated
 * @guest_off: start of a write
 * @bytes: its length
 * @m: filled in on success
 *
 * The new entries are visible at once: the clusters read as zero, durably. Takes
 * the page's lock; does not sleep.
 *
 * Return: QCOW2_MAP_DATA; QCOW2_MAP_AGAIN when the entry was changed meanwhile;
 * QCOW2_MAP_NO_CLUSTER.
 */
int qcow2_allocate(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
		   struct qcow2_mapping *m);

/**
 * qcow2_map - the whole of the hot path: look up, allocate when that is easy
 * @img: the image
 * @guest_off: start of the request
 * @bytes: its length
 * @is_write: whether it is a write
 * @m: filled in for QCOW2_MAP_DATA, QCOW2_MAP_IN_FILL and QCOW2_MAP_ZERO
 *
 * Never sleeps. For everything but these three results the slow pool must see the
 * request: enum qcow2_map_result or a negative errno, which it will find again.
 */
int qcow2_map(struct qcow2_image *img, u64 guest_off, u32 bytes, bool is_write,
	      struct qcow2_mapping *m);

#endif /* DM_QCOW2_MAP_H */
