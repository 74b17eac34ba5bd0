/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_COMPLETE_H
#define VHOST_BLK_COMPLETE_H

struct vhost_blk_request;
struct vhost_blk_vq;

void vhost_blk_init_completion(struct vhost_blk_vq *q);
void vhost_blk_request_done(struct vhost_blk_request *req);
bool vhost_blk_complete(struct vhost_blk_vq *q);

#endif
