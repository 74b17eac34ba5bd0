// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where on its device a file has its data.
 *
 * XFS says so to servers of pNFS block layouts, one extent a call, and lets them write to
 * unwritten ones, as long as they tell it later. ext4 does not; it
 * says where a block is (bmap), for swap files and whoever else keeps blocks in place
 * himself, and how many extents a range has (fiemap). Of a range that has one
 * extent, the ends say where all of it is.
 *
 * Other file systems that have bmap are not asked: f2fs, for one, moves blocks of
 * a file that nobody has touched.
 */
#include <linux/fiemap.h>
#include <linux/fileattr.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/stat.h>

#include "compat.h"

#include "fs-extent.h"

/* XFS */

static bool has_layouts(const struct inode *inode)
{
	return qcow2_block_ops(inode);
}

/* Newer kernels tell of no more than what is asked for. */
static bool find_in_layout(struct inode *inode, u64 offset, struct iomap *extent)
{
	u64 end = round_up(i_size_read(inode), i_blocksize(inode));
	u32 generation;

	return offset < end &&
	       !qcow2_block_ops(inode)->map_blocks(inode, offset, end - offset, extent, false,
						   &generation) &&
	       (extent->type == IOMAP_MAPPED || extent->type == IOMAP_UNWRITTEN) &&
	       !(extent->flags & IOMAP_F_SHARED) && extent->bdev;
}

/* ext4 */

static bool is_ext4(const struct inode *inode)
{
	return inode->i_sb->s_magic == EXT4_SUPER_MAGIC &&
	       !strcmp(inode->i_sb->s_type->name, "ext4") &&
	       inode->i_mapping->a_ops->bmap && inode->i_op->fiemap;
}

/* A file without extents gets its holes filled through the page cache. */
static bool has_extents(const struct file *file)
{
	struct file_kattr attr = {};

	return !vfs_fileattr_get(file->f_path.dentry, &attr) && attr.flags & FS_EXTENT_FL;
}

/* What is journalled, inline or verified has no direct I/O; what is encrypted is not on disk. */
static bool is_direct(const struct file *file)
{
	struct kstat stat;

	return !vfs_getattr_nosec(&file->f_path, &stat, STATX_DIOALIGN, AT_STATX_SYNC_AS_STAT) &&
	       stat.dio_offset_align && !IS_ENCRYPTED(file_inode(file));
}

/* What others left there before they closed the file. */
static bool drop_page_cache(struct inode *inode)
{
	struct address_space *mapping = inode->i_mapping;
	int err;

	if (mapping_empty(mapping))
		return true;
	if (filemap_write_and_wait(mapping))
		return false;
	inode_lock(inode);
	err = invalidate_inode_pages2(mapping);
	inode_unlock(inode);
	return !err;
}

/* The block of the device, or 0 if a block of the file is not written. */
static sector_t block_at(struct inode *inode, sector_t block)
{
	return bmap(inode, &block) ? 0 : block;
}

static unsigned int count_extents(struct inode *inode, sector_t first, sector_t count)
{
	struct fiemap_extent_info info = {};
	int err = inode->i_op->fiemap(inode, &info, (u64)first << inode->i_blkbits,
				      (u64)count << inode->i_blkbits);

	return err ? 0 : info.fi_extents_mapped;
}

/* Blocks from @first of the file are those from @start of the device. */
struct piece {
	sector_t first;
	sector_t start;
	sector_t count;
};

/*
 * Holes are no extents, so the end has to be written, too, and blocks do become
 * written ones meanwhile, so the extents are counted last.
 */
static bool grow_by(struct inode *inode, struct piece *p, sector_t step, bool is_forward)
{
	sector_t end = i_size_read(inode) >> inode->i_blkbits;
	struct piece more = *p;

	more.count += step;
	if (is_forward) {
		if (more.first + more.count > end ||
		    block_at(inode, more.first + more.count - 1) != more.start + more.count - 1)
			return false;
	} else {
		if (step > p->first || step >= p->start)
			return false;
		more.first -= step;
		more.start -= step;
		if (block_at(inode, more.first) != more.start)
			return false;
	}
	if (count_extents(inode, more.first, more.count) != 1)
		return false;
	*p = more;
	return true;
}

/* Counting takes as long as there are extents: not too many more than what is found. */
static void grow(struct inode *inode, struct piece *p, bool is_forward)
{
	sector_t step = 1;

	while (grow_by(inode, p, step, is_forward))
		step *= 8;
	while (step /= 2)
		grow_by(inode, p, step, is_forward);
}

static bool find_around(struct inode *inode, u64 offset, struct iomap *extent)
{
	struct piece p = { .first = offset >> inode->i_blkbits, .count = 1 };

	p.start = block_at(inode, p.first);
	if (!p.start)
		return false;
	grow(inode, &p, true);
	grow(inode, &p, false);
	extent->type = IOMAP_MAPPED;
	extent->bdev = inode->i_sb->s_bdev;
	extent->offset = (u64)p.first << inode->i_blkbits;
	extent->length = (u64)p.count << inode->i_blkbits;
	extent->addr = (u64)p.start << inode->i_blkbits;
	return true;
}

static bool find_in_ext4(struct file *file, u64 offset, struct iomap *extent)
{
	struct inode *inode = file_inode(file);

	return has_extents(file) && is_direct(file) && drop_page_cache(inode) &&
	       find_around(inode, offset, extent);
}

/* Either */

/* Whole blocks before the end of the file. */
static bool trim(const struct inode *inode, struct iomap *extent)
{
	u64 end = round_down(i_size_read(inode), i_blocksize(inode));

	if (extent->offset >= end)
		return false;
	extent->length = min(extent->length, end - extent->offset);
	return true;
}

bool qcow2_extents_are_known(const struct file *file)
{
	const struct inode *inode = file_inode(file);

	return !IS_DAX(inode) && (has_layouts(inode) || is_ext4(inode));
}

bool qcow2_extents_break_layouts(const struct file *file)
{
	return has_layouts(file_inode(file));
}

bool qcow2_extents_may_be_committed(const struct file *file)
{
	return file->f_mode & FMODE_WRITE && has_layouts(file_inode(file));
}

int qcow2_extents_commit(struct file *file, struct iomap *extents, unsigned int count)
{
	return qcow2_commit_blocks(file_inode(file), extents, count);
}

bool qcow2_extent_find(struct file *file, u64 offset, struct iomap *extent)
{
	struct inode *inode = file_inode(file);

	return (has_layouts(inode) ? find_in_layout(inode, offset, extent) :
				     find_in_ext4(file, offset, extent)) &&
	       trim(inode, extent);
}
