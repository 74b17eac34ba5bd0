// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages over a vhost-user socket.
 *
 * A message is read as far as it has come, so that a front-end that stops in the
 * middle of one does not stop the server, and never beyond its end, so that
 * descriptors belong to the message that they came with.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

/**
 * vhost_conn_take_fd() - take a descriptor out of the message
 *
 * Return: the @n-th one, which is the caller's from now on, or -1.
 */
int vhost_conn_take_fd(struct vhost_conn *c, unsigned int n)
{
	int fd = n < c->nr_fds ? c->fds[n] : -1;

	if (fd >= 0)
		c->fds[n] = -1;
	return fd;
}

/** vhost_conn_forget() - drop the message, with the descriptors left in it */
void vhost_conn_forget(struct vhost_conn *c)
{
	unsigned int i;

	for (i = 0; i < c->nr_fds; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
	c->nr_fds = 0;
	c->bytes = 0;
}

static int keep_fds(struct vhost_conn *c, struct msghdr *mh)
{
	struct cmsghdr *cm;
	size_t n, i;
	int fd, err = 0;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(fd), sizeof(fd));
			if (c->nr_fds < VHOST_USER_MAX_FDS) {
				c->fds[c->nr_fds++] = fd;
				continue;
			}
			close(fd);
			err = -EPROTO;
		}
	}
	return mh->msg_flags & MSG_CTRUNC ? -EPROTO : err;
}

/* Read until the message has @want bytes. */
static int receive_bytes(struct vhost_conn *c, size_t want)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
	} control;
	struct iovec iov = {
		.iov_base = c->buf + c->bytes,
		.iov_len = want - c->bytes,
	};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;
	int err;

	n = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	err = keep_fds(c, &mh);
	if (err)
		return err;
	if (n == 0)
		return -ECONNRESET;
	c->bytes += n;
	return c->bytes == want ? 0 : -EAGAIN;
}

/**
 * vhost_conn_receive() - receive a message
 * @c: the connection
 * @msg: the message, checked; vhost_conn_forget() is due when it was handled
 *
 * Return: 0, -EAGAIN when more has to come, -ECONNRESET when the front-end has
 * gone, another -errno when it does not speak the protocol.
 */
int vhost_conn_receive(struct vhost_conn *c, struct vhost_user_msg *msg)
{
	size_t want = sizeof(struct vhost_user_header);
	int err = 0;

	if (c->bytes < want)
		err = receive_bytes(c, want);
	if (!err)
		err = vhost_user_message_bytes(c->buf, &want);
	if (!err && c->bytes < want)
		err = receive_bytes(c, want);
	return err ? err : vhost_user_parse(c->buf, c->bytes, c->nr_fds, msg);
}

/**
 * vhost_conn_reply() - answer a message
 *
 * An answer is far smaller than a socket's buffer: when it does not fit, the
 * front-end does not read.
 *
 * Return: 0 or -EPIPE.
 */
int vhost_conn_reply(struct vhost_conn *c, const struct vhost_user_msg *msg,
		     const void *payload, size_t payload_bytes)
{
	uint8_t buf[VHOST_USER_MAX_BYTES];
	size_t len = vhost_user_reply(msg->request, payload, payload_bytes, buf);
	ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n == (ssize_t)len ? 0 : -EPIPE;
}
