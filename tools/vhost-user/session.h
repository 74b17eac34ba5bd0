/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_USER_H
#define VBLK_VHOST_USER_H

#include <linux/vhost_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

struct trouble;
struct vhost_user;

struct vhost_user *vhost_user_new(int conn, const struct disk *disk,
				  int stop_fd, struct trouble *trouble);
int vhost_user_handle(struct vhost_user *vu);
int vhost_user_timeout_ms(const struct vhost_user *vu);
void vhost_user_check(struct vhost_user *vu);
int vhost_user_set_paused(struct vhost_user *vu, bool is_paused);
int vhost_user_update_cache(struct vhost_user *vu);
uint64_t vhost_user_features(const struct vhost_user *vu);
int vhost_user_stats(struct vhost_user *vu, unsigned int queue,
		     struct vhost_blk_vring_stats *stats);
bool vhost_user_tell_config(struct vhost_user *vu);
void vhost_user_free(struct vhost_user *vu);

#endif
