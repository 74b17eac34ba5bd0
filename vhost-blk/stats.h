/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_STATS_H
#define VHOST_BLK_STATS_H

struct vhost_blk;

long vhost_blk_get_vring_stats(struct vhost_blk *vdev, void __user *argp);

#endif
