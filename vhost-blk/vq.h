/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_VQ_H
#define VHOST_BLK_VQ_H

struct vhost_blk_backend;
struct vhost_blk_request;
struct vhost_blk_vq;
struct vhost_work;

int vhost_blk_vq_start(struct vhost_blk_vq *q, struct vhost_blk_backend *backend);
void vhost_blk_vq_stop(struct vhost_blk_vq *q);
void vhost_blk_vq_free_memory(struct vhost_blk_vq *q);
void vhost_blk_handle_kick(struct vhost_work *work);
void vhost_blk_poll(struct vhost_blk_vq *q);
bool vhost_blk_must_stop(const struct vhost_blk_vq *q);
void vhost_blk_break_ring(struct vhost_blk_vq *q, int error);
void vhost_blk_recycle(struct vhost_blk_request *req);
void vhost_blk_unstall(struct vhost_blk_vq *q);

#endif
