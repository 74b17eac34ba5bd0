/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_CONN_H
#define VBLK_VHOST_CONN_H

#include "messages.h"

/**
 * struct vhost_conn - a socket and the message that is being received
 * @fd: the socket
 * @buf: the message
 * @bytes: how much of it is there
 * @fds: descriptors that came with it; the ones that were taken are -1
 * @nr_fds: how many came
 */
struct vhost_conn {
	int fd;
	uint8_t buf[VHOST_USER_MAX_BYTES];
	size_t bytes;
	int fds[VHOST_USER_MAX_FDS];
	unsigned int nr_fds;
};

int vhost_conn_receive(struct vhost_conn *c, struct vhost_user_msg *msg);
int vhost_conn_take_fd(struct vhost_conn *c, unsigned int n);
void vhost_conn_forget(struct vhost_conn *c);
int vhost_conn_reply(struct vhost_conn *c, const struct vhost_user_msg *msg,
		     const void *payload, size_t payload_bytes);

#endif
