/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where on its device a file has its data.
 */
#ifndef DM_QCOW2_EXTENT_H
#define DM_QCOW2_EXTENT_H

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
 * qcow2_extent_find - find written blocks of a file
 * @file: an open regular file of which qcow2_extents_are_known()
 * @offset: in bytes
 * @extent: on success: offset, length, addr and bdev of blocks that are on disk in one
 *	piece and that belong to @file alone, @offset among them. All of them hold data, and
 *	lie before the end of the file, so that to overwrite them changes no metadata.
 *
 * There is no page cache of the file when it returns true. What it says is true until
 * somebody changes the file, which the caller rules out: by leases for others, and by
 * a lock for our own calls that take blocks. Sleeps; takes locks of the file.
 *
 * Return: whether there are such blocks.
 */
bool qcow2_extent_find(struct file *file, u64 offset, struct iomap *extent);

#endif /* DM_QCOW2_EXTENT_H */
