/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes that hold the freezing of a file system up, begun in one context and ended
 * in another, as I/O is.
 */
#ifndef DM_QCOW2_FREEZE_H
#define DM_QCOW2_FREEZE_H

#include <linux/fs.h>

/**
 * qcow2_freeze_tryhold - keep a file system from being frozen
 * @file: an open file of it
 *
 * Any context. Return: false when it is frozen, or about to be.
 */
static inline bool qcow2_freeze_tryhold(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (!sb_start_write_trylock(sb))
		return false;
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	return true;
}

/**
 * qcow2_freeze_is_near - whether a file system is frozen, or about to be
 * @file: an open file of it
 *
 * Any context; the answer may be old when it comes.
 */
static inline bool qcow2_freeze_is_near(const struct file *file)
{
	return READ_ONCE(file_inode(file)->i_sb->s_writers.frozen) != SB_UNFROZEN;
}

/**
 * qcow2_freeze_release - undo a qcow2_freeze_tryhold(), here or where it was called
 * @file: the file
 *
 * Any context.
 */
static inline void qcow2_freeze_release(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	__sb_writers_acquired(sb, SB_FREEZE_WRITE);
	sb_end_write(sb);
}

#endif /* DM_QCOW2_FREEZE_H */
