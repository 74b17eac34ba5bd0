/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * L2 entries: one word, or with subclusters two.
 *
 * Section "Extended L2 Entries" of the specification. The second word has two bits for each
 * subcluster of a cluster:
 *
 *	63                        32 31                         0
 *	| subcluster N reads as zero | subcluster N is allocated |
 *
 * Pure, and builds in user space, too.
 */
#ifndef DM_QCOW2_L2_ENTRY_H
#define DM_QCOW2_L2_ENTRY_H

#include "geometry.h"

/**
 * struct qcow2_l2_entry - an entry in host byte order
 * @word: what a standard entry is; of an extended one without its zero flag
 * @bitmap: the second word; 0 in an image with standard entries
 */
struct qcow2_l2_entry {
	u64 word;
	u64 bitmap;
};

static inline u32 qcow2_l2_allocated(struct qcow2_l2_entry e)
{
	return e.bitmap & QCOW2_ALL_ALLOCATED;
}

static inline u32 qcow2_l2_zero(struct qcow2_l2_entry e)
{
	return e.bitmap >> QCOW2_SUBCLUSTERS;
}

static inline u64 qcow2_l2_bitmap(u32 allocated, u32 zero)
{
	return (u64)zero << QCOW2_SUBCLUSTERS | allocated;
}

static inline bool qcow2_l2_is_equal(struct qcow2_l2_entry a, struct qcow2_l2_entry b)
{
	return a.word == b.word && a.bitmap == b.bitmap;
}

/* Bits of @count subclusters from @first on; at least one. */
static inline u32 qcow2_subcluster_mask(u32 first, u32 count)
{
	return U32_MAX >> (QCOW2_SUBCLUSTERS - count) << first;
}

/* How many bits from @first on are as @bit, if that is the value of the first one. */
static inline u32 qcow2_subcluster_run(u32 bits, u32 first, bool bit)
{
	u32 others = (bit ? ~bits : bits) >> first;

	return others ? __ffs(others) : QCOW2_SUBCLUSTERS - first;
}

/* How many subclusters of an extended entry have the same two bits, from @first on. */
static inline u32 qcow2_l2_run(struct qcow2_l2_entry e, u32 first)
{
	u32 allocated = qcow2_l2_allocated(e), zero = qcow2_l2_zero(e);

	return min(qcow2_subcluster_run(allocated, first, allocated >> first & 1),
		   qcow2_subcluster_run(zero, first, zero >> first & 1));
}

/* Whether the words of an extended entry contradict each other. */
static inline bool qcow2_l2_is_bad(const struct qcow2_geometry *g, struct qcow2_l2_entry e)
{
	u64 host_off = qcow2_entry_offset(e.word);
	u32 allocated = qcow2_l2_allocated(e);

	if (e.word & QCOW2_OFLAG_COMPRESSED)
		return e.bitmap;
	return qcow2_in_cluster(g, host_off) || (allocated & qcow2_l2_zero(e)) ||
	       (allocated && !host_off);
}

/**
 * qcow2_subcluster_type - what an extended entry says of a subcluster
 * @g: the geometry, which has subclusters
 * @e: the entry
 * @n: number of the subcluster
 */
static inline enum qcow2_entry_type qcow2_subcluster_type(const struct qcow2_geometry *g,
							  struct qcow2_l2_entry e, u32 n)
{
	if (qcow2_l2_is_bad(g, e))
		return QCOW2_ENTRY_BAD;
	if (e.word & QCOW2_OFLAG_COMPRESSED)
		return QCOW2_ENTRY_COMPRESSED;
	if (qcow2_l2_allocated(e) >> n & 1)
		return e.word & QCOW2_OFLAG_COPIED ? QCOW2_ENTRY_DATA : QCOW2_ENTRY_SHARED;
	if (qcow2_l2_zero(e) >> n & 1)
		return qcow2_entry_offset(e.word) ? QCOW2_ENTRY_ZERO_ALLOCATED : QCOW2_ENTRY_ZERO;
	return qcow2_entry_offset(e.word) ? QCOW2_ENTRY_RESERVED : QCOW2_ENTRY_UNALLOCATED;
}

/**
 * qcow2_l2_type - what an entry says of a guest offset
 * @g: the geometry
 * @e: the entry, of either kind
 * @guest_off: in its cluster
 */
static inline enum qcow2_entry_type qcow2_l2_type(const struct qcow2_geometry *g,
						  struct qcow2_l2_entry e, u64 guest_off)
{
	if (!qcow2_has_subclusters(g))
		return qcow2_entry_type(g, e.word);
	return qcow2_subcluster_type(g, e, qcow2_subcluster(g, guest_off));
}

/**
 * qcow2_l2_same_bytes - how far an entry says the same
 * @g: the geometry
 * @e: the entry, of either kind
 * @guest_off: in its cluster
 *
 * Return: bytes from @guest_off on, to the end of the cluster at most.
 */
static inline u64 qcow2_l2_same_bytes(const struct qcow2_geometry *g, struct qcow2_l2_entry e,
				      u64 guest_off)
{
	u32 first = qcow2_subcluster(g, guest_off);

	if (!qcow2_has_subclusters(g) || e.word & QCOW2_OFLAG_COMPRESSED)
		return qcow2_cluster_bytes(g) - qcow2_in_cluster(g, guest_off);
	return ((u64)(first + qcow2_l2_run(e, first)) << g->subcluster_bits) -
	       qcow2_in_cluster(g, guest_off);
}

#endif /* DM_QCOW2_L2_ENTRY_H */
