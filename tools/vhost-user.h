/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_USER_H
#define VBLK_VHOST_USER_H

#include "disk.h"

struct vhost_user;

struct vhost_user *vhost_user_new(int conn, const struct disk *disk,
				  int stop_fd);
int vhost_user_handle(struct vhost_user *vu);
void vhost_user_free(struct vhost_user *vu);

#endif
