// SPDX-License-Identifier: GPL-2.0-only
/* Asking a disk's server something through its control socket. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/err.h"
#include "control.h"
#include "state.h"

/* An answer about 64 queues is shorter. */
#define REPLY_BYTES	(256 * 1024)

/** control_request() - a request, to be added to */
json_object *control_request(const char *command)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "version", json_object_new_int(CONTROL_VERSION));
	json_object_object_add(o, "command", json_object_new_string(command));
	return o;
}

/* Where a server has stood still for long, connect() waits, too: for room among those whom it has to hear. */
static int connect_to(const char *name, int wait_ms)
{
	struct timeval wait = { .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000 };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, err;

	err = state_control_path(name, sun.sun_path, sizeof(sun.sun_path));
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (wait_ms > 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return err;
}

static int send_request(int fd, json_object *request)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	struct iovec iov[] = {
		{ (void *)text, strlen(text) },
		{ "\n", 1 },
	};
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(fd, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One line, with which an answer ends. */
static int read_reply(int fd, char *text, size_t size, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t bytes = 0;
	ssize_t n;

	for (;;) {
		n = poll(&p, 1, wait_ms);
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0)
			n = read(fd, text + bytes, size - 1 - bytes);
		if (n < 0)
			return -errno;
		bytes += n;
		if (n == 0 || text[bytes - 1] == '\n')
			break;
	}
	text[bytes] = '\0';
	return bytes ? 0 : -ECONNRESET;
}

/**
 * control_hold() - ask a disk's server, and stay connected
 * @name: of its files in STATE_DIR
 * @request: from control_request(); belongs to this function
 * @wait_ms: how long to wait for the answer, -1 for ever
 * @reply: set to the answer, an object, on success
 * @fd: set to the connection, on success
 *
 * Return: 0; -ENOENT or -ECONNREFUSED when nobody listens, -ETIMEDOUT, or another -errno.
 */
int control_hold(const char *name, json_object *request, int wait_ms, json_object **reply, int *fd)
{
	char *text = calloc(1, REPLY_BYTES);
	int err;

	*fd = text ? connect_to(name, wait_ms) : -ENOMEM;
	err = *fd < 0 ? *fd : send_request(*fd, request);
	if (!err)
		err = read_reply(*fd, text, REPLY_BYTES, wait_ms);
	if (!err) {
		*reply = json_tokener_parse(text);
		if (!json_object_is_type(*reply, json_type_object)) {
			json_object_put(*reply);
			err = -EBADMSG;
		}
	}
	if (err && *fd >= 0)
		close(*fd);
	json_object_put(request);
	free(text);
	return err;
}

/** control_call() - the same, and hang up */
int control_call(const char *name, json_object *request, int wait_ms, json_object **reply)
{
	int fd, err = control_hold(name, request, wait_ms, reply, &fd);

	if (!err)
		close(fd);
	return err;
}

/**
 * control_reply_code() - whether it was done
 * @why: set to why not, if it was not; part of @reply
 *
 * Return: an exit code.
 */
int control_reply_code(json_object *reply, const char **why)
{
	json_object *v;

	if (json_object_object_get_ex(reply, "ok", &v) && json_object_get_boolean(v))
		return VBLK_OK;
	*why = "it does not say why";
	if (json_object_object_get_ex(reply, "error", &v))
		*why = json_object_get_string(v);
	if (json_object_object_get_ex(reply, "code", &v) && json_object_get_int(v) > 0)
		return json_object_get_int(v);
	return VBLK_FAILED;
}
