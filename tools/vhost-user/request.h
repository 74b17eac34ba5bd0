/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_REQUEST_H
#define VBLK_VHOST_REQUEST_H

#include "front-end.h"

int vhost_request_handle(struct vhost_user *vu, const struct vhost_user_msg *msg);
bool vhost_request_has_own_reply(const struct vhost_user_msg *msg);
int vhost_request_reply_u64(struct vhost_user *vu, const struct vhost_user_msg *msg,
			    uint64_t value);

#endif
