/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_BLAME_H
#define VHOST_BLK_BLAME_H

struct vhost_blk_vq;

void vhost_blk_blame_chain(struct vhost_blk_vq *q);

#endif
