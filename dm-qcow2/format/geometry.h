/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where things are: index arithmetic of the tables, and what an entry means.
 *
 *   guest offset
 *   | L1 index | L2 index: page of the table | entry in the page | in cluster |
 *              |<------------- l2_bits ------------------------->|
 *                                            |<- l2_page_bits -->|
 *   |<------ index of an L2 metadata page -->|
 *
 * The tables are cached in metadata pages of min(4 KiB, cluster). L2 pages are
 * keyed by guest offset, so one look-up finds the entry without the L1 table.
 * Refcount pages are keyed by host cluster in the same way.
 *
 * Everything here is pure and builds in user space, too.
 */
#ifndef DM_QCOW2_GEOMETRY_H
#define DM_QCOW2_GEOMETRY_H

#include "header.h"

#define QCOW2_MAX_PAGE_BITS	12U

/**
 * struct qcow2_geometry - the shifts and bounds that a header implies
 * @size: virtual size in bytes
 * @l1_offset: host offset of the L1 table
 * @l1_size: number of entries of the L1 table
 * @cluster_bits: log2 of the cluster size in bytes
 * @page_bits: log2 of the size of a metadata page in bytes
 * @entry_bits: log2 of the L1 and refcount-table entries a page holds
 * @l2_bits: log2 of the entries an L2 table holds
 * @l2_page_bits: log2 of the L2 entries a page holds
 * @subcluster_bits: log2 of the size of a subcluster in bytes; 0 with standard L2 entries
 * @refcount_order: log2 of the width of a refcount in bits
 * @refblock_bits: log2 of the refcounts a refcount block holds
 * @refpage_bits: log2 of the refcounts a metadata page holds
 * @version: 2 or 3
 * @compression: of compressed clusters: QCOW2_COMPRESSION_ZLIB or _ZSTD
 * @has_data_file: data clusters are in another file, each at its guest offset
 * @has_raw_data: and that is the disk, byte by byte
 */
struct qcow2_geometry {
	u64 size;
	u64 l1_offset;
	u32 l1_size;
	u8 cluster_bits;
	u8 page_bits;
	u8 entry_bits;
	u8 l2_bits;
	u8 l2_page_bits;
	u8 subcluster_bits;
	u8 refcount_order;
	u8 refblock_bits;
	u8 refpage_bits;
	u8 version;
	u8 compression;
	/* Bits, as all of it is half a cache line so. */
	bool has_data_file : 1;
	bool has_raw_data : 1;
};

static inline void qcow2_geometry_init(struct qcow2_geometry *g,
				       const struct qcow2_header *h)
{
	bool is_extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;

	memset(g, 0, sizeof(*g)); /* compared as a whole, padding included */
	g->size = h->size;
	g->l1_offset = h->l1_offset;
	g->l1_size = h->l1_size;
	g->cluster_bits = h->cluster_bits;
	g->page_bits = min(h->cluster_bits, QCOW2_MAX_PAGE_BITS);
	g->l2_bits = h->cluster_bits - QCOW2_ENTRY_BITS - is_extended;
	g->l2_page_bits = g->page_bits - QCOW2_ENTRY_BITS - is_extended;
	g->subcluster_bits = is_extended ? h->cluster_bits - QCOW2_SUBCLUSTER_BITS : 0;
	g->refcount_order = h->refcount_order;
	g->refblock_bits = h->cluster_bits + 3 - h->refcount_order;
	g->version = h->version;
	g->compression = h->compression;
	g->has_data_file = qcow2_header_has_data_file(h);
	g->has_raw_data = qcow2_header_has_raw_data(h);
	g->entry_bits = g->page_bits - QCOW2_ENTRY_BITS;
	g->refpage_bits = g->page_bits + 3 - g->refcount_order;
}

static inline u64 qcow2_cluster_bytes(const struct qcow2_geometry *g)
{
	return BIT_ULL(g->cluster_bits);
}

static inline u32 qcow2_page_bytes(const struct qcow2_geometry *g)
{
	return 1U << g->page_bits;
}

static inline u64 qcow2_in_cluster(const struct qcow2_geometry *g, u64 off)
{
	return off & (qcow2_cluster_bytes(g) - 1);
}

/* Index of the L2 metadata page that maps @guest_off. */
static inline u64 qcow2_l2_page(const struct qcow2_geometry *g, u64 guest_off)
{
	return guest_off >> (g->cluster_bits + g->l2_page_bits);
}

/* Place of an entry of the L1 or the refcount table in its metadata page. */
static inline u32 qcow2_slot(const struct qcow2_geometry *g, u64 entry)
{
	return entry & ((1U << g->entry_bits) - 1);
}

/* Index of the entry for @guest_off in its L2 metadata page. */
static inline u32 qcow2_l2_slot(const struct qcow2_geometry *g, u64 guest_off)
{
	return (guest_off >> g->cluster_bits) & ((1U << g->l2_page_bits) - 1);
}

static inline bool qcow2_has_subclusters(const struct qcow2_geometry *g)
{
	return g->subcluster_bits;
}

/* What a discard can be of, and what the alloc bit of an entry is for. */
static inline u64 qcow2_unit_bytes(const struct qcow2_geometry *g)
{
	return BIT_ULL(qcow2_has_subclusters(g) ? g->subcluster_bits : g->cluster_bits);
}

/* Number of the subcluster of @guest_off in its cluster. */
static inline u32 qcow2_subcluster(const struct qcow2_geometry *g, u64 guest_off)
{
	return qcow2_in_cluster(g, guest_off) >> g->subcluster_bits;
}

/* log2 of the metadata pages that one table cluster holds. */
static inline unsigned int qcow2_table_page_bits(const struct qcow2_geometry *g)
{
	return g->cluster_bits - g->page_bits;
}

/**
 * enum qcow2_entry_type - what an L2 entry says about its guest cluster
 * @QCOW2_ENTRY_UNALLOCATED: no host cluster; reads as zero without backing file
 * @QCOW2_ENTRY_ZERO: reads as zero, no host cluster
 * @QCOW2_ENTRY_ZERO_ALLOCATED: reads as zero, a host cluster is kept for it
 * @QCOW2_ENTRY_RESERVED: of subclusters: as unallocated, but a host cluster is kept for it
 * @QCOW2_ENTRY_DATA: data, in a cluster that may be written in place
 * @QCOW2_ENTRY_SHARED: data, in a cluster that must be copied before a write
 * @QCOW2_ENTRY_COMPRESSED: compressed data
 * @QCOW2_ENTRY_BAD: not aligned; a zero cluster in a version 2 image; a bitmap that cannot be; a
 *	compressed cluster with a data file
 */
enum qcow2_entry_type {
	QCOW2_ENTRY_UNALLOCATED,
	QCOW2_ENTRY_ZERO,
	QCOW2_ENTRY_ZERO_ALLOCATED,
	QCOW2_ENTRY_RESERVED,
	QCOW2_ENTRY_DATA,
	QCOW2_ENTRY_SHARED,
	QCOW2_ENTRY_COMPRESSED,
	QCOW2_ENTRY_BAD,
};

static inline u64 qcow2_entry_offset(u64 entry)
{
	return entry & QCOW2_OFFSET_MASK;
}

/* Section "Reference count table": unlike other entries, these have no bits at the top. */
static inline u64 qcow2_reftable_offset(u64 entry)
{
	return entry & QCOW2_REFTABLE_MASK;
}

/*
 * Section "Cluster mapping", "Standard Cluster Descriptor". In a data file nothing is shared, and
 * offset 0 is one like any other: there COPIED alone tells it from a hole.
 */
static inline enum qcow2_entry_type
qcow2_entry_type(const struct qcow2_geometry *g, u64 entry)
{
	u64 host_off = qcow2_entry_offset(entry);

	if (entry & QCOW2_OFLAG_COMPRESSED)
		return g->has_data_file ? QCOW2_ENTRY_BAD : QCOW2_ENTRY_COMPRESSED;
	if (qcow2_in_cluster(g, host_off))
		return QCOW2_ENTRY_BAD;
	if (entry & QCOW2_OFLAG_ZERO) {
		if (g->version < 3)
			return QCOW2_ENTRY_BAD;
		return host_off ? QCOW2_ENTRY_ZERO_ALLOCATED : QCOW2_ENTRY_ZERO;
	}
	if (!host_off)
		return g->has_data_file && entry & QCOW2_OFLAG_COPIED ? QCOW2_ENTRY_DATA :
									QCOW2_ENTRY_UNALLOCATED;
	if (entry & QCOW2_OFLAG_COPIED)
		return QCOW2_ENTRY_DATA;
	return g->has_data_file ? QCOW2_ENTRY_DATA : QCOW2_ENTRY_SHARED;
}

#endif /* DM_QCOW2_GEOMETRY_H */
