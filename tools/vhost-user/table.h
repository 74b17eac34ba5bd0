/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_TABLE_H
#define VBLK_VHOST_TABLE_H

#include "front-end.h"

int vhost_table_change(struct vhost_user *vu, const struct vhost_user_msg *msg);

#endif
