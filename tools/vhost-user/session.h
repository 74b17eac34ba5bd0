/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_USER_H
#define VBLK_VHOST_USER_H

#include "disk.h"

struct trouble;
struct vhost_user;

struct vhost_user *vhost_user_new(int conn, const struct disk *disk,
				  int stop_fd, struct trouble *trouble);
int vhost_user_handle(struct vhost_user *vu);
int vhost_user_timeout_ms(const struct vhost_user *vu);
void vhost_user_check(struct vhost_user *vu);
void vhost_user_free(struct vhost_user *vu);

#endif
