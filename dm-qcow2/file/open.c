// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening a layer, and seeing what it is and what I/O it takes.
 */
#include <linux/device-mapper.h>
#include <linux/file.h>
#include <linux/kdev_t.h>
#include <linux/log2.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include "format/table.h"
#include "lease/lease.h"

#include "registry.h"

/* Pages of metadata are no longer. */
#define MAX_TRY		4096U

/*
 * A guest's reads are no news of the file, and to look whether its access time is
 * due would cost each of them. Only the owner may ask for that.
 */
static struct file *open_path(const char *path, int flags)
{
	struct file *file = filp_open(path, flags | O_NOATIME, 0);

	return file == ERR_PTR(-EPERM) ? filp_open(path, flags, 0) : file;
}

/* What both can be the matter with. */
static void say(struct dm_target *ti, const struct qcow2_file *f, const char *of_layer,
		const char *of_data)
{
	ti->error = (char *)(f->is_data ? of_data : of_layer);
}

static int open_file(struct qcow2_file *f, struct dm_target *ti,
		     const struct qcow2_table_layer *layer)
{
	int flags = (f->is_writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_LARGEFILE;

	f->filp = layer->path ? open_path(layer->path, flags) : fget(layer->fd);
	if (IS_ERR(f->filp)) {
		say(ti, f, "Cannot open the layer",
		    f->filp == ERR_PTR(-ENOENT) ? "Data file does not exist" :
						  "Data file cannot be opened");
		return PTR_ERR(f->filp);
	}
	if (!f->filp) {
		ti->error = "Layer descriptor is not open";
		return -EBADF;
	}
	return 0;
}

/* The file itself, where it is seen through an overlay. */
static struct inode *real_inode(const struct qcow2_file *f)
{
	return d_real_inode(f->filp->f_path.dentry);
}

static int check_file(const struct qcow2_file *f, struct dm_target *ti)
{
	struct gendisk *disk = dm_disk(dm_table_get_md(ti->table));
	struct inode *inode = qcow2_file_inode(f);

	if (!S_ISREG(inode->i_mode) && !S_ISBLK(inode->i_mode)) {
		ti->error = "Layer is neither a regular file nor a block device";
		return -EINVAL;
	}
	if (!(f->filp->f_mode & FMODE_READ) ||
	    (f->is_writable && !(f->filp->f_mode & FMODE_WRITE))) {
		ti->error = "Layer is not open for what the table needs";
		return -EACCES;
	}
	if (!(f->filp->f_mode & FMODE_CAN_ODIRECT) || !f->filp->f_op->read_iter ||
	    (f->is_writable && !f->filp->f_op->write_iter)) {
		say(ti, f, "Layer does not support direct I/O",
		    "Data file does not support direct I/O");
		return -EOPNOTSUPP;
	}
	if (S_ISREG(inode->i_mode) && real_inode(f)->i_sb->s_bdev &&
	    real_inode(f)->i_sb->s_bdev->bd_disk == disk) {
		ti->error = "Layer lives on this very device";
		return -ELOOP;
	}
	return 0;
}

static int read_first(const struct qcow2_file *f, u32 bytes)
{
	struct qcow2_iovec vec = { .buf = kmalloc(bytes, GFP_KERNEL), .bytes = bytes };
	int err;

	if (!vec.buf)
		return -ENOMEM;
	err = qcow2_file_rw(f, REQ_OP_READ, &vec, 1);
	kfree(vec.buf);
	return err;
}

/*
 * A file system that does not tell is asked for blocks of its own, up to a page of
 * metadata: some take less, but through the page cache, which direct I/O on the rest of the
 * page then has to agree with. No write is tried; a device takes none below its sectors.
 */
static int try_alignment(struct qcow2_file *f, u32 blksize, struct dm_target *ti)
{
	struct block_device *bdev = real_inode(f)->i_sb->s_bdev;
	u32 align = rounddown_pow_of_two(clamp_t(u32, blksize, SECTOR_SIZE, MAX_TRY));
	int err;

	if (bdev)
		align = max_t(u32, align, bdev_logical_block_size(bdev));
	for (;;) {
		err = read_first(f, align);
		if (err != -EINVAL || align >= MAX_TRY)
			break;
		align *= 2;
	}
	if (err) {
		ti->error = "Layer cannot be read by direct I/O";
		return err == -EINVAL ? -EOPNOTSUPP : err;
	}
	f->mem_align = align;
	f->io_align = align;
	return 0;
}

static int probe_file(struct qcow2_file *f, struct dm_target *ti)
{
	struct kstat stat;
	int err;

	f->may_nowait = f->filp->f_mode & FMODE_NOWAIT;
	err = vfs_getattr(&f->filp->f_path, &stat, STATX_DIOALIGN | STATX_BASIC_STATS,
			  AT_STATX_SYNC_AS_STAT);
	if (err) {
		ti->error = "Cannot examine the layer";
		return err;
	}
	f->dev = stat.dev;
	f->ino = stat.ino;
	if (!(stat.result_mask & STATX_DIOALIGN))
		return try_alignment(f, stat.blksize, ti);
	if (!stat.dio_mem_align || !stat.dio_offset_align) {
		say(ti, f, "Layer's file system has no direct I/O for this file",
		    "Data file does not support direct I/O");
		return -EOPNOTSUPP;
	}
	f->mem_align = stat.dio_mem_align;
	f->io_align = max_t(u32, stat.dio_offset_align, SECTOR_SIZE);
	return 0;
}

static void probe_bdev(struct qcow2_file *f)
{
	f->bdev = I_BDEV(qcow2_file_inode(f));
	f->mem_align = bdev_dma_alignment(f->bdev) + 1;
	f->io_align = bdev_logical_block_size(f->bdev);
}

/* See what it is and takes. */
static int probe(struct qcow2_file *f, struct dm_target *ti)
{
	int err;

	err = qcow2_file_io_init(f);
	if (err) {
		ti->error = "Out of memory";
		return err;
	}
	err = check_file(f, ti);
	if (err)
		return err;
	if (!S_ISBLK(qcow2_file_inode(f)->i_mode))
		return probe_file(f, ti);
	probe_bdev(f);
	return 0;
}

static void close_file(struct qcow2_file *f)
{
	__fput_sync(f->filp);
	qcow2_file_io_exit(f);
}

static int open_and_probe(struct qcow2_file *f, struct dm_target *ti,
			  const struct qcow2_table_layer *layer)
{
	int err;

	err = open_file(f, ti, layer);
	if (err)
		return err;
	err = probe(f, ti);
	if (err)
		close_file(f);
	return err;
}

/* Begin a table's use of a file: of a block device, by dm's means. */
static int begin_use(struct qcow2_file *f, struct qcow2_file_user *user, struct dm_target *ti,
		     blk_mode_t mode)
{
	char name[32];
	dev_t devt;
	int err;

	*user = (struct qcow2_file_user) {
		.file = f,
		.md = dm_table_get_md(ti->table),
		.table = ti->table,
	};
	if (!f->bdev)
		return 0;
	devt = f->bdev->bd_dev;
	snprintf(name, sizeof(name), "%u:%u", MAJOR(devt), MINOR(devt));
	err = dm_get_device(ti, name, mode, &user->dev);
	if (err)
		ti->error = "Cannot claim the layer's block device";
	return err;
}

static void end_use(struct qcow2_file_user *user, struct dm_target *ti)
{
	if (user->dev)
		dm_put_device(ti, user->dev);
}

static int open_lease(struct qcow2_file *f, struct dm_target *ti, const struct qcow2_table *table)
{
	int err = f->bdev || table->no_layouts ? 0 : qcow2_lease_open(f->filp, &f->lease);

	if (err)
		ti->error = "Out of memory";
	return err;
}

/* Not under the registry's mutex: a server of the host may have to answer. */
static int lock_top(struct qcow2_file *f, struct dm_target *ti)
{
	int err;

	if (f->top.is_locked)
		return 0;
	err = qcow2_image_lock(f->filp, f->is_writable);
	if (err)
		say(ti, f, "Image is locked by another process",
		    "Data file is locked by another process");
	else
		qcow2_registry_note_locked(f);
	return err;
}

int qcow2_file_open(struct qcow2_file *f, struct dm_target *ti, const struct qcow2_table *table,
		    const struct qcow2_table_layer *layer)
{
	blk_mode_t mode = dm_table_get_mode(ti->table);
	int err;

	*f = (struct qcow2_file) {
		.is_writable = mode & BLK_OPEN_WRITE,
		.is_data = layer->is_data,
	};
	err = open_and_probe(f, ti, layer);
	if (err)
		return err;
	err = begin_use(f, &f->top, ti, mode);
	if (err)
		goto err_close;
	err = qcow2_registry_add_top(f, layer->path);
	if (err) {
		say(ti, f, "Image is in use by another mapped device",
		    "Data file is in the chain twice, or in use by another mapped device");
		goto err_end_use;
	}
	err = lock_top(f, ti);
	if (err)
		goto err_remove;
	err = open_lease(f, ti, table);
	if (err)
		goto err_remove;
	return 0;

err_remove:
	qcow2_registry_remove(&f->top);
err_end_use:
	end_use(&f->top, ti);
err_close:
	close_file(f);
	return err;
}

void qcow2_file_close(struct qcow2_file *f, struct dm_target *ti)
{
	qcow2_lease_close(f->lease);
	qcow2_registry_remove(&f->top);
	kvfree(f->scan);
	end_use(&f->top, ti);
	close_file(f);
}

/* Backing images */

int qcow2_file_open_backing(struct qcow2_file *f, struct dm_target *ti,
			    const struct qcow2_table_layer *layer)
{
	*f = (struct qcow2_file) { .is_data = layer->is_data };
	return open_and_probe(f, ti, layer);
}

int qcow2_file_lock_backing(struct qcow2_file *f, struct dm_target *ti,
			    const struct qcow2_table *table, bool by_path)
{
	int err = by_path ? qcow2_image_lock(f->filp, false) : 0;

	if (err) {
		say(ti, f, "Backing image is locked by another process",
		    "Data file is locked by another process");
		return err;
	}
	return open_lease(f, ti, table);
}

void qcow2_file_close_backing(struct qcow2_file *f)
{
	qcow2_lease_close(f->lease);
	close_file(f);
}

int qcow2_file_add_user(struct qcow2_file *f, struct qcow2_file_user *user, struct dm_target *ti)
{
	int err;

	err = begin_use(f, user, ti, BLK_OPEN_READ);
	if (err)
		return err;
	err = qcow2_registry_add(user);
	if (!err)
		return 0;
	say(ti, f, "Backing image is in the chain twice, or is written to",
	    "Data file is in the chain twice, or is written to");
	end_use(user, ti);
	return err;
}

void qcow2_file_remove_user(struct qcow2_file_user *user, struct dm_target *ti)
{
	qcow2_registry_remove(user);
	end_use(user, ti);
}

bool qcow2_file_stamp(const struct qcow2_file *f, struct qcow2_stamp *stamp)
{
	struct kstat stat;

	if (f->bdev || vfs_getattr(&f->filp->f_path, &stat, STATX_BASIC_STATS | STATX_CHANGE_COOKIE,
				   AT_STATX_SYNC_AS_STAT))
		return false;
	*stamp = (struct qcow2_stamp) {
		.bytes = stat.size,
		.version = stat.result_mask & STATX_CHANGE_COOKIE ? stat.change_cookie : 0,
		.mtime = stat.mtime,
		.ctime = stat.ctime,
	};
	return true;
}

bool qcow2_file_needs_stable_writes(const struct qcow2_file *f)
{
	return !f->bdev && mapping_stable_writes(real_inode(f)->i_mapping);
}
