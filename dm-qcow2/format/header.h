/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The header of a qcow2 image: parsed, checked, and judged for support.
 *
 * Everything here is a pure function of its arguments and builds in user space
 * too, so that the tools refuse an image in the same words as the kernel does.
 */
#ifndef DM_QCOW2_HEADER_H
#define DM_QCOW2_HEADER_H

#include "disk.h"

/**
 * struct qcow2_header - the header's fields in host byte order
 * @size: virtual size in bytes
 * @l1_offset: host offset of the active L1 table in bytes
 * @reftable_offset: host offset of the refcount table in bytes
 * @snapshots_offset: host offset of the snapshot table in bytes
 * @incompatible: incompatible feature bits (0 for version 2)
 * @compatible: compatible feature bits
 * @autoclear: autoclear feature bits
 * @version: 2 or 3
 * @cluster_bits: log2 of the cluster size
 * @refcount_order: log2 of the width of a refcount in bits
 * @l1_size: number of entries of the active L1 table
 * @reftable_clusters: size of the refcount table
 * @nb_snapshots: number of internal snapshots
 * @crypt_method: 0 none, 1 AES, 2 LUKS
 * @length: length of the header in bytes; header extensions follow
 * @backing_offset: host offset of the name of the backing file, 0 without one
 * @backing_bytes: length of the name
 * @bitmap_dir_offset: host offset of the bitmap directory in bytes; this and the next two are by
 *	qcow2_header_ext_check(), and 0 when bitmaps are not valid
 * @bitmap_dir_bytes: its length
 * @nb_bitmaps: number of bitmaps
 * @compression: of compressed clusters: 0 zlib, 1 zstd
 */
struct qcow2_header {
	u64 size;
	u64 l1_offset;
	u64 reftable_offset;
	u64 snapshots_offset;
	u64 backing_offset;
	u64 incompatible;
	u64 compatible;
	u64 autoclear;
	u32 version;
	u32 cluster_bits;
	u32 refcount_order;
	u32 l1_size;
	u32 reftable_clusters;
	u32 nb_snapshots;
	u32 crypt_method;
	u32 length;
	u32 backing_bytes;
	u64 bitmap_dir_offset;
	u64 bitmap_dir_bytes;
	u32 nb_bitmaps;
	u8 compression;
};

/**
 * qcow2_header_parse - decode and check what stands in the header itself
 * @buf: the first bytes of the image
 * @len: how many; QCOW2_HEADER_BYTES suffice
 * @h: filled in on success
 * @why: set to a sentence on failure; a static string
 *
 * Section "Header" of the specification, with QEMU's limits.
 *
 * Return: 0, -EINVAL when this is no qcow2 image, -EUCLEAN when it is a damaged
 * one, -EOPNOTSUPP when its version is unknown.
 */
int __must_check qcow2_header_parse(const void *buf, size_t len,
				    struct qcow2_header *h, const char **why);

/**
 * qcow2_image_end - where the image ends
 * @cluster_bits: log2 of the cluster size
 * @bytes: size of the file or device that holds it
 * @is_file: it is a file
 *
 * QEMU leaves files that end in the middle of a sector: behind its end a file reads
 * as zero and can be extended, so the last cluster is as good as whole. A device
 * ends where it ends, and that of a loop device may be before that of its file.
 */
static inline u64 qcow2_image_end(u32 cluster_bits, u64 bytes, bool is_file)
{
	return is_file ? round_up(bytes, BIT_ULL(cluster_bits)) : bytes;
}

/**
 * qcow2_header_verify - check that the tables lie inside the image
 * @h: a parsed header
 * @image_end: qcow2_image_end()
 * @why: set to a sentence on failure; a static string
 *
 * Return: 0 or -EUCLEAN.
 */
int __must_check qcow2_header_verify(const struct qcow2_header *h,
				     u64 image_end, const char **why);

/**
 * qcow2_header_supported - can this image be attached?
 * @h: a parsed header
 * @writable: whether it is to be written
 * @why: set to the name of the feature that is in the way; a static string
 *
 * Return: 0, -EOPNOTSUPP for a feature that is not there yet, -EUCLEAN for an
 * image that is marked as damaged and may only be read.
 */
int __must_check qcow2_header_supported(const struct qcow2_header *h,
					bool writable, const char **why);

/**
 * qcow2_header_autoclear - autoclear bits that must be cleared before a write
 * @h: a parsed header
 *
 * Return: the bits of @h->autoclear that this implementation does not keep.
 */
static inline u64 qcow2_header_autoclear(const struct qcow2_header *h)
{
	return h->autoclear & ~(QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_RAW_DATA_FILE);
}

static inline bool qcow2_header_has_data_file(const struct qcow2_header *h)
{
	return h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
}

/* The data file is the disk, byte by byte, whoever reads it. */
static inline bool qcow2_header_has_raw_data(const struct qcow2_header *h)
{
	return h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA_FILE;
}

#endif /* DM_QCOW2_HEADER_H */
