/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_BACKEND_H
#define VHOST_BLK_BACKEND_H

#include <linux/types.h>

/**
 * struct vhost_blk_backend - a claimed block device; constant while it exists
 * @file: our own open of it, which holds the claim
 * @bdev: the device
 * @is_writable: the descriptor that user space passed was open for writing
 */
struct vhost_blk_backend {
	struct file *file;
	struct block_device *bdev;
	bool is_writable;
};

struct vhost_blk_backend *vhost_blk_backend_open(int fd);
void vhost_blk_backend_close(struct vhost_blk_backend *backend);
bool vhost_blk_backend_refuses_writes(const struct vhost_blk_backend *backend);
bool vhost_blk_backend_covers(const struct vhost_blk_backend *backend,
			      sector_t sector, sector_t nr_sectors);

#endif
