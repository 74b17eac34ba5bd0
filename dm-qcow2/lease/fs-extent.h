/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where on its device a file has its data.
 */
#ifndef DM_QCOW2_FS_EXTENT_H
#define DM_QCOW2_FS_EXTENT_H

#include <linux/types.h>

struct file;
struct iomap;

/**
 * qcow2_extents_are_known - can a file system say where the blocks of its files are?
 * @file: an open regular file
 *
 * And does it leave them there while nobody but us can have the file open, or tell
 * by breaking an FL_LAYOUT lease.
 */
bool qcow2_extents_are_known(const struct file *file);

/**
 * qcow2_extents_break_layouts - does a file system break a lease before it takes blocks?
 * @file: an open regular file of which qcow2_extents_are_known()
 *
 * If not, it takes them for callers that have the file open, or change its size.
 */
bool qcow2_extents_break_layouts(const struct file *file);

/**
 * qcow2_extent_find - find blocks of a file
 * @file: an open regular file of which qcow2_extents_are_known()
 * @offset: in bytes
 * @extent: on success: offset, length, addr, bdev and type of blocks that are on disk in one
 *	piece and that belong to @file alone, @offset among them. They lie before the end of the
 *	file. IOMAP_MAPPED: all of them hold data, so that to overwrite them changes no
 *	metadata. IOMAP_UNWRITTEN: none of them does.
 *
 * There is no page cache of the file when it returns true. What it says is true until
 * somebody changes the file, which the caller rules out: by leases for others, and by
 * a lock for our own calls that take blocks. Sleeps; takes locks of the file.
 *
 * Return: whether there are such blocks.
 */
bool qcow2_extent_find(struct file *file, u64 offset, struct iomap *extent);

/**
 * qcow2_extents_may_be_committed - may unwritten blocks be written to past the file system?
 * @file: an open regular file
 *
 * If they are committed afterwards.
 */
bool qcow2_extents_may_be_committed(const struct file *file);

/**
 * qcow2_extents_commit - tell the file system that unwritten blocks were written
 * @file: an open regular file of which qcow2_extents_may_be_committed()
 * @extents: offset and length of whole blocks that qcow2_extent_find() found, and that
 *	were not taken from the file since; blocks that the file system knows to be written
 *	may be among them
 * @count: how many; at least 1
 *
 * Sets the times of the file, and makes durable that and all that was written to the file
 * before. Sleeps; takes locks of the file.
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_extents_commit(struct file *file, struct iomap *extents,
				      unsigned int count);

#endif /* DM_QCOW2_FS_EXTENT_H */
