/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bitmap directory, and the tables of bitmaps. Pure, and builds in user space, too.
 *
 * Section "Bitmaps" of the specification.
 */
#ifndef DM_QCOW2_BITMAP_ENTRY_H
#define DM_QCOW2_BITMAP_ENTRY_H

#include "header.h"

/**
 * struct qcow2_bitmap_entry - an entry of the bitmap directory
 * @table_offset: host offset of the bitmap table in bytes
 * @table_entries: number of its entries
 * @flags: QCOW2_BITMAP_*
 * @extra_bytes: length of data that is not known here
 * @bytes: length of the entry
 * @name: its name, not terminated; in the directory
 * @name_bytes: length of the name
 * @granularity_bits: log2 of the bytes of the disk that a bit stands for
 * @type: QCOW2_BITMAP_DIRTY_TRACKING
 */
struct qcow2_bitmap_entry {
	u64 table_offset;
	u32 table_entries;
	u32 flags;
	u32 extra_bytes;
	u32 bytes;
	const char *name;
	u16 name_bytes;
	u8 granularity_bits;
	u8 type;
};

/* Of those that record: how many an image may have, and what they may take of memory together. */
#define QCOW2_MAX_RECORDING		64U
#define QCOW2_MAX_RECORDING_BYTES	(256ULL << 20)

/* Whether changes of the disk are recorded in it. */
static inline bool qcow2_bitmap_records(const struct qcow2_bitmap_entry *e)
{
	return (e->flags & (QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE)) == QCOW2_BITMAP_AUTO;
}

/**
 * qcow2_bitmap_bits - how many bits a bitmap has
 * @disk_bytes: size of the disk
 * @granularity_bits: log2 of the bytes that a bit stands for
 */
static inline u64 qcow2_bitmap_bits(u64 disk_bytes, u32 granularity_bits)
{
	return (disk_bytes + BIT_ULL(granularity_bits) - 1) >> granularity_bits;
}

/**
 * qcow2_bitmap_entry_parse - decode and check the next entry of the directory
 * @h: a parsed header
 * @buf: the rest of the directory
 * @len: its length
 * @e: filled in on success; points into @buf
 * @why: set to a sentence on failure; a static string
 *
 * Of a bitmap that is in use only the length of the entry is checked: nobody reads more of it.
 *
 * Return: 0; -EUCLEAN for a damaged entry; -EOPNOTSUPP for one that changes are to be recorded in by
 * rules that are not known here.
 */
int __must_check qcow2_bitmap_entry_parse(const struct qcow2_header *h, const void *buf,
					  size_t len, struct qcow2_bitmap_entry *e,
					  const char **why);

/**
 * qcow2_bitmap_dir_check - check the whole directory
 * @h: a parsed header, with where the bitmaps are
 * @dir: the directory, of as many bytes as @h says
 * @nr_recording: set to how many bitmaps record
 * @why: set to a sentence on failure; a static string
 *
 * Return: as qcow2_bitmap_entry_parse(); -EOPNOTSUPP also when too many record.
 */
int __must_check qcow2_bitmap_dir_check(const struct qcow2_header *h, const void *dir,
					unsigned int *nr_recording, const char **why);

/**
 * qcow2_bitmap_table_check - check an entry of a bitmap table
 * @cluster_bits: log2 of the cluster size
 * @entry: in host byte order
 * @image_end: qcow2_image_end()
 *
 * Return: whether it is one of the two that have no cluster, or points at a cluster of the image.
 */
bool qcow2_bitmap_table_check(u32 cluster_bits, u64 entry, u64 image_end);

#endif /* DM_QCOW2_BITMAP_ENTRY_H */
