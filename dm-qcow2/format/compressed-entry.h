/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the stream of a compressed cluster is (section "Cluster mapping", "Compressed
 * Clusters Descriptor"):
 *
 *   63  62  61 ........ x  x-1 ......... 0		x = 62 - (cluster_bits - 8)
 *    0   1   sectors - 1   host offset
 *
 * The stream begins at a byte, and ends somewhere in the last of these 512-byte sectors;
 * behind it, and before it in the first sector, is what belongs to others.
 *
 * Pure functions that build in user space, too.
 */
#ifndef DM_QCOW2_COMPRESSED_ENTRY_H
#define DM_QCOW2_COMPRESSED_ENTRY_H

#include "geometry.h"

#define QCOW2_COMPRESSED_SECTOR_BYTES	512U

/*
 * The sectors are two clusters at most, as their number has cluster_bits - 8 bits, and they
 * need not begin where a cluster does.
 */
#define QCOW2_MAX_COMPRESSED_CLUSTERS	3U

static inline unsigned int qcow2_compressed_offset_bits(const struct qcow2_geometry *g)
{
	return 62 - (g->cluster_bits - 8);
}

/* First byte of the stream. Not checked: it may lie behind the end of the image. */
static inline u64 qcow2_compressed_offset(const struct qcow2_geometry *g, u64 entry)
{
	return entry & (BIT_ULL(qcow2_compressed_offset_bits(g)) - 1);
}

static inline u32 qcow2_compressed_sectors(const struct qcow2_geometry *g, u64 entry)
{
	u64 additional = (entry & (QCOW2_OFLAG_COMPRESSED - 1)) >> qcow2_compressed_offset_bits(g);

	return additional + 1;
}

/* From the first byte of the stream to the end of the last sector. */
static inline u32 qcow2_compressed_bytes(const struct qcow2_geometry *g, u64 entry)
{
	return qcow2_compressed_sectors(g, entry) * QCOW2_COMPRESSED_SECTOR_BYTES -
	       qcow2_compressed_offset(g, entry) % QCOW2_COMPRESSED_SECTOR_BYTES;
}

/* The first of the host clusters that count this one in their refcounts. */
static inline u64 qcow2_compressed_first_cluster(const struct qcow2_geometry *g, u64 entry)
{
	return qcow2_compressed_offset(g, entry) >> g->cluster_bits;
}

/**
 * qcow2_compressed_clusters - how many host clusters a compressed cluster touches
 * @g: the geometry
 * @entry: its L2 entry
 *
 * Each of them has a refcount of one more for it, whether the stream reaches that far or not.
 *
 * Return: 1 to QCOW2_MAX_COMPRESSED_CLUSTERS.
 */
static inline u32 qcow2_compressed_clusters(const struct qcow2_geometry *g, u64 entry)
{
	u64 last = qcow2_compressed_offset(g, entry) + qcow2_compressed_bytes(g, entry) - 1;

	return (last >> g->cluster_bits) - qcow2_compressed_first_cluster(g, entry) + 1;
}

#endif /* DM_QCOW2_COMPRESSED_ENTRY_H */
