/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_DRAIN_H
#define VHOST_BLK_DRAIN_H

struct vhost_blk;
struct vhost_blk_vq;

int vhost_blk_drain_vq(struct vhost_blk_vq *q);
int vhost_blk_drain(struct vhost_blk *vdev);
int vhost_blk_drain_stopped(struct vhost_blk *vdev);
void vhost_blk_drain_for_release(struct vhost_blk *vdev);
void vhost_blk_wake_drains(struct vhost_blk_vq *q);

#endif
