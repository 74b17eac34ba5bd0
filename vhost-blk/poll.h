/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_POLL_H
#define VHOST_BLK_POLL_H

#include <linux/types.h>

struct vhost_blk_vq;

u64 vhost_blk_poll_limit_ns(const struct vhost_blk_vq *q);
void vhost_blk_wait_begins(struct vhost_blk_vq *q);
void vhost_blk_wait_ended(struct vhost_blk_vq *q);
bool vhost_blk_polls_at_all(const struct vhost_blk_vq *q);
bool vhost_blk_may_poll(const struct vhost_blk_vq *q, u64 now);

#endif
