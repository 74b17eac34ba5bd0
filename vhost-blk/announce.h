/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_ANNOUNCE_H
#define VHOST_BLK_ANNOUNCE_H

#include <linux/types.h>

struct vhost_blk_vq;

void vhost_blk_announce_init(struct vhost_blk_vq *q);
void vhost_blk_announce(struct vhost_blk_vq *q, unsigned int nr);
void vhost_blk_announce_held(struct vhost_blk_vq *q);
void vhost_blk_announce_overdue(struct vhost_blk_vq *q);

#endif
