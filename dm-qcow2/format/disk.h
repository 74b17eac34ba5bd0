/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On-disk structures and constants of the qcow2 format.
 *
 * The names of sections refer to QEMU's docs/interop/qcow2. All integers of an
 * image are big-endian; only the files that build in user space too (header,
 * geometry, refcount-entry) and the table accessors swap them.
 */
#ifndef DM_QCOW2_DISK_H
#define DM_QCOW2_DISK_H

#include "userspace.h"

#define QCOW2_MAGIC			0x514649fbU	/* "QFI\xfb" */

/* Section "Header": limits that QEMU keeps, too. */
#define QCOW2_MIN_CLUSTER_BITS		9
#define QCOW2_MAX_CLUSTER_BITS		21
#define QCOW2_MAX_REFCOUNT_ORDER	6
#define QCOW2_MAX_L1_BYTES		(32U << 20)
#define QCOW2_MAX_REFTABLE_BYTES	(8U << 20)
#define QCOW2_MAX_SNAPSHOTS		65536
#define QCOW2_V2_HEADER_BYTES		72
#define QCOW2_V3_HEADER_BYTES		104	/* at least */
#define QCOW2_HEADER_BYTES		112	/* as far as the fields are known */
#define QCOW2_SNAPSHOT_ENTRY_BYTES	40	/* at least */
#define QCOW2_MAX_BACKING_NAME_BYTES	1023
#define QCOW2_MAX_BACKING_FORMAT_BYTES	15
#define QCOW2_MAX_BITMAPS		65535
#define QCOW2_MAX_BITMAP_DIR_BYTES	(1024U * QCOW2_MAX_BITMAPS)
#define QCOW2_MAX_BITMAP_NAME_BYTES	1023
#define QCOW2_MAX_BITMAP_TABLE_ENTRIES	0x8000000
#define QCOW2_MIN_BITMAP_GRANULARITY_BITS	9
#define QCOW2_MAX_BITMAP_GRANULARITY_BITS	31

/* Incompatible features */
#define QCOW2_INCOMPAT_DIRTY		BIT_ULL(0)
#define QCOW2_INCOMPAT_CORRUPT		BIT_ULL(1)
#define QCOW2_INCOMPAT_DATA_FILE	BIT_ULL(2)
#define QCOW2_INCOMPAT_COMPRESSION	BIT_ULL(3)
#define QCOW2_INCOMPAT_EXTENDED_L2	BIT_ULL(4)
#define QCOW2_INCOMPAT_KNOWN		(BIT_ULL(5) - 1)

/* Compatible features */
#define QCOW2_COMPAT_LAZY_REFCOUNTS	BIT_ULL(0)

/* Autoclear features */
#define QCOW2_AUTOCLEAR_BITMAPS		BIT_ULL(0)
#define QCOW2_AUTOCLEAR_RAW_DATA_FILE	BIT_ULL(1)

struct qcow2_disk_header {
	__be32 magic;
	__be32 version;
	__be64 backing_file_offset;
	__be32 backing_file_size;
	__be32 cluster_bits;
	__be64 size;
	__be32 crypt_method;
	__be32 l1_size;
	__be64 l1_table_offset;
	__be64 refcount_table_offset;
	__be32 refcount_table_clusters;
	__be32 nb_snapshots;
	__be64 snapshots_offset;
	/* version 3 */
	__be64 incompatible_features;
	__be64 compatible_features;
	__be64 autoclear_features;
	__be32 refcount_order;
	__be32 header_length;
	/* not there unless the header's length says so */
	u8 compression_type;
	u8 padding[7];
} __packed;
static_assert(sizeof(struct qcow2_disk_header) == QCOW2_HEADER_BYTES);

/* Section "Additional fields" */
#define QCOW2_COMPRESSION_ZLIB		0
#define QCOW2_COMPRESSION_ZSTD		1

/* Section "Header extensions" */
#define QCOW2_EXT_END			0
#define QCOW2_EXT_BACKING_FORMAT	0xe2792acaU
#define QCOW2_EXT_CRYPTO		0x0537be77U
#define QCOW2_EXT_BITMAPS		0x23852875U
#define QCOW2_EXT_DATA_FILE		0x44415441U

#define QCOW2_CRYPT_LUKS		2

struct qcow2_disk_ext {
	__be32 type;
	__be32 bytes;
} __packed;
static_assert(sizeof(struct qcow2_disk_ext) == 8);

struct qcow2_disk_ext_bitmaps {
	__be32 nb_bitmaps;
	__be32 reserved;
	__be64 directory_bytes;
	__be64 directory_offset;
} __packed;
static_assert(sizeof(struct qcow2_disk_ext_bitmaps) == 24);

/* Section "Bitmap directory": an entry; extra data and the name follow, padded to 8 bytes */
struct qcow2_disk_bitmap {
	__be64 table_offset;
	__be32 table_entries;
	__be32 flags;
	u8 type;
	u8 granularity_bits;
	__be16 name_bytes;
	__be32 extra_bytes;
} __packed;
static_assert(sizeof(struct qcow2_disk_bitmap) == 24);

#define QCOW2_BITMAP_IN_USE		(1U << 0)
#define QCOW2_BITMAP_AUTO		(1U << 1)
#define QCOW2_BITMAP_DIRTY_TRACKING	1

/* Section "Bitmap table": entries without a cluster */
#define QCOW2_BITMAP_ALL_ZEROES		0ULL
#define QCOW2_BITMAP_ALL_ONES		1ULL

/* Section "Cluster mapping": L1 and L2 table entries */
#define QCOW2_OFLAG_COPIED		BIT_ULL(63)
#define QCOW2_OFLAG_COMPRESSED		BIT_ULL(62)
#define QCOW2_OFLAG_ZERO		BIT_ULL(0)
#define QCOW2_OFFSET_MASK		0x00fffffffffffe00ULL
#define QCOW2_REFTABLE_MASK		0xfffffffffffffe00ULL
#define QCOW2_ENTRY_BYTES		8
#define QCOW2_ENTRY_BITS		3

/* Section "Extended L2 Entries" */
#define QCOW2_SUBCLUSTERS		32
#define QCOW2_SUBCLUSTER_BITS		5
#define QCOW2_MIN_EXTENDED_BITS		14	/* of clusters: a subcluster is a sector at least */
#define QCOW2_ALL_ALLOCATED		0x00000000ffffffffULL
#define QCOW2_ALL_ZERO			0xffffffff00000000ULL

/* Host offsets stay below 2^56: the mask above has no bit beyond. */
#define QCOW2_MAX_HOST_OFFSET		BIT_ULL(56)

#endif /* DM_QCOW2_DISK_H */
