// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device behind a disk: claim, rights, bounds, and the host's page cache.
 *
 * A request's bios go past the page cache of the device, and user space may keep
 * the device open, so that its last close, which empties the cache, never comes.
 * Therefore:
 *
 *	claim	what is dirty is written, so that the guest reads it and it is not
 *		written over the guest's data later; then the cache is emptied
 *	close	the cache is emptied: the host may have read while the guest wrote
 *
 * In between host and guest see each other's writes only past the cache (O_DIRECT).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include "backend.h"

/* @holder is the claim's owner: the same one could claim a device twice. */
static struct file *claim(struct file *passed, void *holder)
{
	struct inode *inode = file_inode(passed);
	blk_mode_t mode = BLK_OPEN_READ;

	if (!S_ISBLK(inode->i_mode))
		return ERR_PTR(-ENOTBLK);
	if (!(passed->f_mode & FMODE_READ))
		return ERR_PTR(-EBADF);
	if (passed->f_mode & FMODE_WRITE)
		mode |= BLK_OPEN_WRITE;

	/* i_rdev names the device that the descriptor has open. */
	return bdev_file_open_by_dev(inode->i_rdev, mode, holder, NULL);
}

/*
 * Empty the page cache of a device. Pages that are mapped, or being read, go too.
 * EBUSY: somebody is writing to some.
 */
static int drop_cache(const struct vhost_blk_backend *backend)
{
	/* Also empties the lists of buffers that each CPU has. */
	invalidate_bdev(backend->bdev);
	return invalidate_inode_pages2(backend->file->f_mapping);
}

static int write_back_and_drop_cache(const struct vhost_blk_backend *backend)
{
	int ret = sync_blockdev(backend->bdev);

	if (!ret)
		return drop_cache(backend);
	pr_warn_ratelimited("%pg: cannot write back what the host has written: %d\n",
			    backend->bdev, ret);
	return ret;
}

/**
 * vhost_blk_backend_open - claim the block device that a descriptor has open
 * @fd: descriptor of the caller; its mode bounds ours
 *
 * The claim is exclusive: another vhost-blk disk, a mount or a device-mapper
 * table on the same device excludes us and is excluded by us.
 *
 * Context: waits until what the host has in the page cache is on the device.
 * Return: the backend, or an ERR_PTR: EBADF, ENOTBLK, EBUSY, what opening the
 * device says, or how writing the page cache failed.
 */
struct vhost_blk_backend *vhost_blk_backend_open(int fd)
{
	struct vhost_blk_backend *backend;
	struct file *passed, *file;
	int ret;

	backend = kzalloc(sizeof(*backend), GFP_KERNEL_ACCOUNT);
	if (!backend)
		return ERR_PTR(-ENOMEM);

	/* fget() refuses O_PATH descriptors, which grant nothing. */
	passed = fget(fd);
	if (!passed) {
		file = ERR_PTR(-EBADF);
		goto err_free;
	}
	file = claim(passed, backend);
	backend->is_writable = passed->f_mode & FMODE_WRITE;
	fput(passed);
	if (IS_ERR(file))
		goto err_free;

	backend->file = file;
	backend->bdev = file_bdev(file);
	/* With the claim held nobody mounts it meanwhile. */
	ret = write_back_and_drop_cache(backend);
	if (!ret)
		return backend;

	__fput_sync(file);
	file = ERR_PTR(ret);
err_free:
	kfree(backend);
	return ERR_CAST(file);
}

/**
 * vhost_blk_backend_close - give the device up
 * @backend: no request uses it any more
 *
 * The device is free for others when this returns.
 */
void vhost_blk_backend_close(struct vhost_blk_backend *backend)
{
	/* What is dirty now was written while the guest ran: it is its writer's business. */
	drop_cache(backend);
	__fput_sync(backend->file);
	kfree(backend);
}

/**
 * vhost_blk_backend_refuses_writes - is the disk read-only now
 * @backend: device
 *
 * The block layer only warns about writes to a read-only device.
 */
bool vhost_blk_backend_refuses_writes(const struct vhost_blk_backend *backend)
{
	return !backend->is_writable || bdev_read_only(backend->bdev);
}

/**
 * vhost_blk_backend_covers - may a request touch these sectors
 * @backend: device; its size is looked at each time, it may be resized
 * @sector: first sector, from the guest
 * @nr_sectors: length
 *
 * Return: whether the range is inside the device and on logical blocks.
 */
bool vhost_blk_backend_covers(const struct vhost_blk_backend *backend,
			      sector_t sector, sector_t nr_sectors)
{
	sector_t capacity = bdev_nr_sectors(backend->bdev);
	sector_t block = bdev_logical_block_size(backend->bdev) >> SECTOR_SHIFT;

	if ((sector | nr_sectors) & (block - 1))
		return false;
	return nr_sectors <= capacity && sector <= capacity - nr_sectors;
}
