/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the data is that the top of a chain does not have.
 *
 * A chain map belongs to a base. It is made of segments of guest space, each a sorted array of
 * extents that does not change any more: whatever the depth of the chain, a look-up is one step
 * through an xarray and a binary search, under RCU. A segment is made when it is first
 * looked for, by walking the images down; it goes under memory pressure, or when there are
 * too many of them.
 */
#ifndef DM_QCOW2_CHAIN_MAP_H
#define DM_QCOW2_CHAIN_MAP_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct qcow2_base;
struct qcow2_image;
struct shrinker;

/* log2 of the bytes that a segment maps */
#define QCOW2_SEGMENT_BITS	22

#define QCOW2_SEGMENT_MUTEXES	16

/**
 * enum qcow2_below_kind - what is below a hole of the top
 * @QCOW2_BELOW_ZERO: nothing: it reads as zero
 * @QCOW2_BELOW_DATA: data, that may be read in place
 * @QCOW2_BELOW_TAIL: the last sector of a raw file that ends inside it
 * @QCOW2_BELOW_COMPRESSED: a compressed cluster
 * @QCOW2_BELOW_BAD: metadata that cannot be used
 * @QCOW2_BELOW_MISS: not known yet
 * @QCOW2_BELOW_HOLE: not decided by this image; while a segment is made
 */
enum qcow2_below_kind {
	QCOW2_BELOW_ZERO,
	QCOW2_BELOW_DATA,
	QCOW2_BELOW_TAIL,
	QCOW2_BELOW_COMPRESSED,
	QCOW2_BELOW_BAD,
	QCOW2_BELOW_MISS,
	QCOW2_BELOW_HOLE,
};

/**
 * struct qcow2_below - a run of guest bytes below a hole of the top
 * @img: for data and compressed data, the image that has it
 * @where: for data, its host offset; of a compressed cluster, its L2 entry
 * @bytes: length of the run
 */
struct qcow2_below {
	struct qcow2_image *img;
	u64 where;
	u32 bytes;
};

/**
 * struct qcow2_chain_map - the segments of a base
 * @segments: by guest offset; RCU for look-ups, the array's own lock for changes
 * @mutex: serialise the making of segments; hashed by segment
 * @nr_segments: how many there are
 * @bytes: memory that they take
 * @cursor: where eviction goes on
 * @shrinker: gives them back under memory pressure
 */
struct qcow2_chain_map {
	struct xarray segments;
	struct mutex mutex[QCOW2_SEGMENT_MUTEXES];
	atomic_long_t nr_segments;
	atomic_long_t bytes;
	unsigned long cursor;
	struct shrinker *shrinker;
};

int __must_check qcow2_chain_map_init(struct qcow2_chain_map *m, const char *name);
void qcow2_chain_map_exit(struct qcow2_chain_map *m);

/**
 * qcow2_chain_map_drop - forget all segments
 * @m: the map; nobody looks anything up
 */
void qcow2_chain_map_drop(struct qcow2_chain_map *m);

/**
 * qcow2_below_find - look up what is below a hole of the top
 * @base: the image below the top
 * @guest_off: start of the run, a multiple of a sector
 * @bytes: its length; a multiple of a sector
 * @run: filled in for all kinds but QCOW2_BELOW_MISS
 *
 * Any context; never sleeps. Return: enum qcow2_below_kind of the first bytes.
 */
enum qcow2_below_kind qcow2_below_find(struct qcow2_base *base, u64 guest_off, u32 bytes,
				       struct qcow2_below *run);

/**
 * qcow2_below_load - make a segment known
 * @base: the image below the top
 * @guest_off: in the segment
 *
 * Our own threads; sleeps for I/O. Return: 0 or a negative errno.
 */
int __must_check qcow2_below_load(struct qcow2_base *base, u64 guest_off);

#endif /* DM_QCOW2_CHAIN_MAP_H */
