// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening a layer, and the registry of layers in use.
 *
 * dm's own holder of a block device is shared by all dm devices, and files have
 * none. So one module-wide list, keyed by inode, says who uses which image:
 *  - one mapped device may hold an image for writing, and then nobody else any;
 *  - any number of them may have it as a backing image, and share the open file; a table
 *    has it once. While a table is replaced, one that is active may write to what another one
 *    of the same mapped device is going to have as a backing image;
 *  - during a reload the old and the new table of one mapped device both hold
 *    it, and share the open file description, so that its locks stay;
 *  - of those two, one is active at a time, and only that one does I/O;
 *  - what one of them failed to write, the other must not call durable: they
 *    share that failure, too.
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

#include "file.h"

/* Pages of metadata are no longer. */
#define MAX_TRY		4096U

static DEFINE_MUTEX(registry_lock);
static LIST_HEAD(registry);

static struct inode *file_inode_of(const struct file *file)
{
	return file->f_mapping->host;
}

static bool is_sibling(const struct qcow2_file *f, const struct qcow2_file *other)
{
	return other->md && other->md == f->md &&
	       file_inode_of(other->filp) == file_inode_of(f->filp);
}

/* A layer of the same mapped device on the same image, or NULL. */
static struct qcow2_file *find_sibling(const struct qcow2_file *f)
{
	struct qcow2_file *other;

	lockdep_assert_held(&registry_lock);
	list_for_each_entry(other, &registry, node)
		if (is_sibling(f, other))
			return other;
	return NULL;
}

/* Whether a top may be opened while others have its image as a backing image. */
static int check_users(const struct qcow2_file *f, const struct qcow2_file *other)
{
	const struct qcow2_file_user *user;

	list_for_each_entry(user, &other->users, node)
		if (user->table == f->table || (f->is_writable && user->md != f->md))
			return -EBUSY;
	return 0;
}

static int check_registry(const struct qcow2_file *f)
{
	struct qcow2_file *other;
	int err;

	lockdep_assert_held(&registry_lock);
	list_for_each_entry(other, &registry, node) {
		if (file_inode_of(other->filp) != file_inode_of(f->filp))
			continue;
		err = check_users(f, other);
		if (err)
			return err;
		if (!other->md)
			continue;
		if (other->md != f->md && (other->is_writable || f->is_writable))
			return -EBUSY;
		if (other->table == f->table)
			return -EBUSY;
	}
	return 0;
}

/* Whether a table may have a file as a backing image. */
static int check_user(const struct qcow2_file *f, const struct qcow2_file_user *user)
{
	const struct qcow2_file_user *u;
	const struct qcow2_file *other;

	lockdep_assert_held(&registry_lock);
	list_for_each_entry(other, &registry, node) {
		if (file_inode_of(other->filp) != file_inode_of(f->filp))
			continue;
		if (other->md && (other->table == user->table ||
				  (other->is_writable && other->md != user->md)))
			return -EBUSY;
		list_for_each_entry(u, &other->users, node)
			if (u->table == user->table)
				return -EBUSY;
	}
	return 0;
}

/*
 * A guest's reads are no news of the file, and to look whether its access time is
 * due would cost each of them. Only the owner may ask for that.
 */
static struct file *open_path(const char *path, int flags)
{
	struct file *file = filp_open(path, flags | O_NOATIME, 0);

	return file == ERR_PTR(-EPERM) ? filp_open(path, flags, 0) : file;
}

static int open_file(struct qcow2_file *f, struct dm_target *ti,
		     const struct qcow2_table_layer *layer)
{
	int flags = (f->is_writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_LARGEFILE;

	f->filp = layer->path ? open_path(layer->path, flags) : fget(layer->fd);
	if (IS_ERR(f->filp)) {
		ti->error = "Cannot open the layer";
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
	struct inode *inode = file_inode_of(f->filp);

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
		ti->error = "Layer does not support direct I/O";
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
	if (!(stat.result_mask & STATX_DIOALIGN))
		return try_alignment(f, stat.blksize, ti);
	if (!stat.dio_mem_align || !stat.dio_offset_align) {
		ti->error = "Layer's file system has no direct I/O for this file";
		return -EOPNOTSUPP;
	}
	f->mem_align = stat.dio_mem_align;
	f->io_align = max_t(u32, stat.dio_offset_align, SECTOR_SIZE);
	return 0;
}

static int claim_device(struct file *filp, struct dm_target *ti, blk_mode_t mode,
			struct dm_dev **dev)
{
	char name[32];
	dev_t devt = file_inode_of(filp)->i_rdev;
	int err;

	snprintf(name, sizeof(name), "%u:%u", MAJOR(devt), MINOR(devt));
	err = dm_get_device(ti, name, mode, dev);
	if (err)
		ti->error = "Cannot claim the layer's block device";
	return err;
}

static void probe_bdev(struct qcow2_file *f)
{
	f->bdev = I_BDEV(file_inode_of(f->filp));
	f->mem_align = bdev_dma_alignment(f->bdev) + 1;
	f->io_align = bdev_logical_block_size(f->bdev);
}

/* Lock the image, or share the description that holds its locks already. */
static int lock_or_share(struct qcow2_file *f, struct dm_target *ti, bool by_path)
{
	struct qcow2_file *sibling = find_sibling(f);
	int err;

	err = check_registry(f);
	if (err) {
		ti->error = "Image is in use by another mapped device";
		return err;
	}
	if (!by_path)
		return 0;
	if (sibling && (sibling->is_writable || !f->is_writable)) {
		fput(f->filp);
		f->filp = get_file(sibling->filp);
		return 0;
	}
	err = qcow2_image_lock(f->filp, f->is_writable);
	if (err)
		ti->error = "Image is locked by another process";
	return err;
}

static int register_layer(struct qcow2_file *f, struct dm_target *ti, bool by_path)
{
	struct qcow2_file *sibling;
	int err;

	mutex_lock(&registry_lock);
	err = lock_or_share(f, ti, by_path);
	if (!err) {
		sibling = find_sibling(f);
		f->has_failed = sibling && sibling->has_failed;
		list_add(&f->node, &registry);
	}
	mutex_unlock(&registry_lock);
	return err;
}

static void unregister_layer(struct qcow2_file *f)
{
	mutex_lock(&registry_lock);
	list_del(&f->node);
	mutex_unlock(&registry_lock);
}

/* Open it, and see what it is and takes. */
static int open_and_probe(struct qcow2_file *f, struct dm_target *ti,
			  const struct qcow2_table_layer *layer)
{
	int err;

	INIT_LIST_HEAD(&f->users);
	err = qcow2_file_io_init(f);
	if (err) {
		ti->error = "Out of memory";
		return err;
	}
	err = open_file(f, ti, layer);
	if (err)
		goto err_io;
	err = check_file(f, ti);
	if (err)
		goto err_fput;
	if (!S_ISBLK(file_inode_of(f->filp)->i_mode))
		err = probe_file(f, ti);
	else
		probe_bdev(f);
	if (err)
		goto err_fput;
	return 0;

err_fput:
	__fput_sync(f->filp);
err_io:
	qcow2_file_io_exit(f);
	return err;
}

static void close_file(struct qcow2_file *f)
{
	__fput_sync(f->filp);
	qcow2_file_io_exit(f);
}

int qcow2_file_open(struct qcow2_file *f, struct dm_target *ti, const struct qcow2_table *table)
{
	const struct qcow2_table_layer *top = qcow2_table_top(table);
	blk_mode_t mode = dm_table_get_mode(ti->table);
	int err;

	*f = (struct qcow2_file) {
		.md = dm_table_get_md(ti->table),
		.table = ti->table,
		.is_writable = mode & BLK_OPEN_WRITE,
	};
	err = open_and_probe(f, ti, top);
	if (err)
		return err;
	err = f->bdev ? claim_device(f->filp, ti, mode, &f->dev) : 0;
	if (err)
		goto err_close;
	err = register_layer(f, ti, top->path);
	if (err)
		goto err_put_device;
	if (f->bdev || table->no_layouts)
		return 0;
	err = qcow2_lease_open(f->filp, &f->lease);
	if (err) {
		ti->error = "Out of memory";
		goto err_unregister;
	}
	return 0;

err_unregister:
	unregister_layer(f);
err_put_device:
	if (f->dev)
		dm_put_device(ti, f->dev);
err_close:
	close_file(f);
	return err;
}

void qcow2_file_close(struct qcow2_file *f, struct dm_target *ti)
{
	qcow2_lease_close(f->lease);
	unregister_layer(f);
	kvfree(f->scan);
	if (f->dev)
		dm_put_device(ti, f->dev);
	close_file(f);
}

/* Backing images */

int qcow2_file_open_backing(struct qcow2_file *f, struct dm_target *ti,
			    const struct qcow2_table_layer *layer)
{
	*f = (struct qcow2_file) {};
	return open_and_probe(f, ti, layer);
}

void qcow2_file_close_backing(struct qcow2_file *f)
{
	close_file(f);
}

int qcow2_file_register_backing(struct qcow2_file *f, struct dm_target *ti,
				const struct qcow2_table *table, bool by_path)
{
	int err = by_path ? qcow2_image_lock(f->filp, false) : 0;

	if (err) {
		ti->error = "Backing image is locked by another process";
		return err;
	}
	err = f->bdev || table->no_layouts ? 0 : qcow2_lease_open(f->filp, &f->lease);
	if (err) {
		ti->error = "Out of memory";
		return err;
	}
	mutex_lock(&registry_lock);
	list_add(&f->node, &registry);
	mutex_unlock(&registry_lock);
	return 0;
}

void qcow2_file_unregister_backing(struct qcow2_file *f)
{
	qcow2_lease_close(f->lease);
	unregister_layer(f);
}

int qcow2_file_add_user(struct qcow2_file *f, struct qcow2_file_user *user, struct dm_target *ti)
{
	int err;

	*user = (struct qcow2_file_user) {
		.md = dm_table_get_md(ti->table),
		.table = ti->table,
	};
	err = f->bdev ? claim_device(f->filp, ti, BLK_OPEN_READ, &user->dev) : 0;
	if (err)
		return err;
	mutex_lock(&registry_lock);
	err = check_user(f, user);
	if (!err)
		list_add(&user->node, &f->users);
	mutex_unlock(&registry_lock);
	if (!err)
		return 0;
	ti->error = "Backing image is in the chain twice, or is written to";
	if (user->dev)
		dm_put_device(ti, user->dev);
	return err;
}

void qcow2_file_remove_user(struct qcow2_file_user *user, struct dm_target *ti)
{
	mutex_lock(&registry_lock);
	list_del(&user->node);
	mutex_unlock(&registry_lock);
	if (user->dev)
		dm_put_device(ti, user->dev);
}

/* Whether somebody active writes to it: the table that this one replaces. */
static bool is_written(const struct qcow2_file *f)
{
	const struct qcow2_file *other;

	lockdep_assert_held(&registry_lock);
	list_for_each_entry(other, &registry, node)
		if (other->is_active && other->is_writable &&
		    file_inode_of(other->filp) == file_inode_of(f->filp))
			return true;
	return false;
}

bool qcow2_file_is_written(const struct qcow2_file *f)
{
	bool result;

	mutex_lock(&registry_lock);
	result = is_written(f);
	mutex_unlock(&registry_lock);
	return result;
}

/* A table of the same mapped device has had it as its top, or has inherited that. */
static void inherit_failure(const struct qcow2_file *f, struct qcow2_file_user *user)
{
	const struct qcow2_file_user *u;
	const struct qcow2_file *other;

	lockdep_assert_held(&registry_lock);
	list_for_each_entry(other, &registry, node) {
		if (file_inode_of(other->filp) != file_inode_of(f->filp))
			continue;
		user->has_failed |= other->md == user->md && other->has_failed;
		list_for_each_entry(u, &other->users, node)
			user->has_failed |= u->md == user->md && u->has_failed;
	}
}

int qcow2_file_activate_user(struct qcow2_file *f, struct qcow2_file_user *user)
{
	int err = 0;

	mutex_lock(&registry_lock);
	if (is_written(f)) {
		err = -EBUSY;
	} else {
		user->is_active = true;
		inherit_failure(f, user);
	}
	mutex_unlock(&registry_lock);
	return err;
}

void qcow2_file_deactivate_user(struct qcow2_file_user *user)
{
	mutex_lock(&registry_lock);
	user->is_active = false;
	mutex_unlock(&registry_lock);
}

bool qcow2_file_is_same(const struct qcow2_file *a, const struct qcow2_file *b)
{
	return file_inode_of(a->filp) == file_inode_of(b->filp);
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

/* What another table of the mapped device has found out about the image. */
static void take_scan(struct qcow2_file *f)
{
	struct qcow2_file *other;

	lockdep_assert_held(&registry_lock);
	if (f->scan || !f->is_writable)
		return;
	list_for_each_entry(other, &registry, node)
		if (is_sibling(f, other) && !other->is_active && !f->scan)
			swap(f->scan, other->scan);
}

static bool has_active_user(const struct qcow2_file *f)
{
	const struct qcow2_file_user *user;

	list_for_each_entry(user, &f->users, node)
		if (user->is_active)
			return true;
	return false;
}

int qcow2_file_activate(struct qcow2_file *f)
{
	struct qcow2_file *other;
	int err = 0;

	mutex_lock(&registry_lock);
	list_for_each_entry(other, &registry, node)
		if (other != f && file_inode_of(other->filp) == file_inode_of(f->filp) &&
		    ((other->is_active && (other->is_writable || f->is_writable)) ||
		     (f->is_writable && has_active_user(other))))
			err = -EBUSY;
	if (!err) {
		f->is_active = true;
		take_scan(f);
	}
	mutex_unlock(&registry_lock);
	return err;
}

void qcow2_file_deactivate(struct qcow2_file *f, bool has_failed)
{
	struct qcow2_file *other;

	mutex_lock(&registry_lock);
	f->is_active = false;
	list_for_each_entry(other, &registry, node)
		if (has_failed && is_sibling(f, other))
			other->has_failed = true;
	mutex_unlock(&registry_lock);
}
