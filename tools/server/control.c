// SPDX-License-Identifier: GPL-2.0-only
/*
 * The server's end of a control socket.
 *
 * The server has one thread, which must not wait for whoever asks: a request is read as far
 * as it has come, an answer fits into the socket's buffer, and who says nothing for some time is
 * dropped. When all places are taken the others wait in the backlog.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cmd/err.h"
#include "control.h"
#include "state.h"

/* A request is written at once. */
#define CLIENT_MS	3000

/* An object, and what is in it. */
#define MAX_DEPTH	4

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/** control_ok() - an answer that says that it is done, to be added to */
json_object *control_ok(void)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "version", json_object_new_int(CONTROL_VERSION));
	json_object_object_add(o, "ok", json_object_new_boolean(true));
	return o;
}

/** control_error() - an answer that says why it is not done; @code: as an exit code */
json_object *control_error(int code, const char *why)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "version", json_object_new_int(CONTROL_VERSION));
	json_object_object_add(o, "ok", json_object_new_boolean(false));
	json_object_object_add(o, "code", json_object_new_int(code));
	json_object_object_add(o, "error", json_object_new_string(why));
	return o;
}

static int bind_for_root(int fd, const struct sockaddr_un *sun)
{
	mode_t mask = umask(0177);
	int err = bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ? -errno : 0;

	umask(mask);
	if (!err && listen(fd, SOMAXCONN) < 0)
		err = -errno;
	return err;
}

/**
 * control_open() - listen on a disk's control socket
 * @c: @answer and @arg are set; control_close() is due in either case
 * @name: of the disk, whose claim the caller has: what a server before left there is removed
 *
 * Return: 0 or -errno; -ENAMETOOLONG when the name is too long for a socket's.
 */
int control_open(struct control *c, const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int err;

	c->listener = -1;
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		c->clients[i].fd = -1;
	err = state_control_path(name, c->path, sizeof(c->path));
	if (err) {
		c->path[0] = '\0';
		return err;
	}
	strcpy(sun.sun_path, c->path);
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener < 0)
		return -errno;
	unlink(c->path);
	return bind_for_root(c->listener, &sun);
}

static void drop(struct control *c, struct control_client *client)
{
	bool was_kept = client->is_kept;

	close(client->fd);
	client->fd = -1;
	client->is_kept = false;
	if (was_kept)
		c->let_go(c->arg);
}

/** control_close() - nobody is answered any more, and @let_go is not called */
void control_close(struct control *c)
{
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		if (c->clients[i].fd < 0)
			continue;
		close(c->clients[i].fd);
		c->clients[i].fd = -1;
	}
	if (c->listener < 0)
		return;
	unlink(c->path);
	close(c->listener);
	c->listener = -1;
}

static bool has_room(const struct control *c)
{
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].fd < 0)
			return true;
	return false;
}

/**
 * control_poll_fds() - what to wait for
 * @fds: CONTROL_MAX_FDS of them
 *
 * Return: how many are set.
 */
size_t control_poll_fds(const struct control *c, struct pollfd *fds)
{
	size_t n = 0;

	if (c->listener >= 0 && has_room(c))
		fds[n++] = (struct pollfd){ c->listener, POLLIN, 0 };
	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			fds[n++] = (struct pollfd){ c->clients[i].fd, POLLIN, 0 };
	return n;
}

/** control_timeout_ms() - when to call control_serve() at the latest; -1: no need to */
int control_timeout_ms(const struct control *c)
{
	int64_t first = INT64_MAX, left;

	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].fd >= 0 && !c->clients[i].is_kept &&
		    c->clients[i].since_ms < first)
			first = c->clients[i].since_ms;
	if (first == INT64_MAX)
		return -1;
	left = first + CLIENT_MS - now_ms();
	return left > 0 ? left : 0;
}

static bool is_root(int fd)
{
	struct ucred cred = { .uid = -1 };
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.uid == 0;
}

static void accept_client(struct control *c)
{
	struct control_client *client = c->clients;
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!is_root(fd)) {
		close(fd);
		return;
	}
	while (client->fd >= 0)
		client++;
	client->fd = fd;
	client->is_kept = false;
	client->since_ms = now_ms();
	client->bytes = 0;
}

/**
 * control_keep() - let go whoever asks now only when he hangs up; for @answer
 *
 * @let_go is called then. Return: whether there is a place left for others.
 */
bool control_keep(struct control *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
		kept += c->clients[i].fd >= 0 && c->clients[i].is_kept;
	c->has_to_keep = kept < CONTROL_MAX_KEPT;
	return c->has_to_keep;
}

/* Return: the request, or NULL for what is none. */
static json_object *parse(const char *line, size_t bytes)
{
	struct json_tokener *tok = json_tokener_new_ex(MAX_DEPTH);
	json_object *o = NULL;

	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, line, bytes);
	if (o && (json_tokener_get_error(tok) != json_tokener_success ||
		  json_tokener_get_parse_end(tok) != bytes ||
		  !json_object_is_type(o, json_type_object))) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	return o;
}

static json_object *answer(struct control *c, const char *line, size_t bytes)
{
	json_object *request = parse(line, bytes), *version, *reply;

	if (!request)
		return control_error(VBLK_USAGE, "not an object in JSON, on one line");
	version = json_object_object_get(request, "version");
	if (json_object_is_type(version, json_type_int) &&
	    json_object_get_int64(version) == CONTROL_VERSION)
		reply = c->answer(c->arg, request);
	else
		reply = control_error(VBLK_UNSUPPORTED, "version is not 1");
	json_object_put(request);
	return reply;
}

/* Who does not read it has not asked for it. */
static void send_reply(int fd, json_object *reply)
{
	const char *text = json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	struct iovec iov[] = {
		{ (void *)text, strlen(text) },
		{ "\n", 1 },
	};
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	if (sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		err_errno(errno, "control socket", "cannot answer");
	json_object_put(reply);
}

/* True when there is nothing more to come. */
static bool answer_client(struct control *c, struct control_client *client, size_t bytes)
{
	json_object *reply;

	c->has_to_keep = false;
	reply = answer(c, client->line, bytes);
	client->is_kept = c->has_to_keep;
	client->bytes = 0;
	send_reply(client->fd, reply);
	return !client->is_kept;
}

/* Read on. True when there is nothing more to come. */
static bool serve_client(struct control *c, struct control_client *client)
{
	ssize_t n = read(client->fd, client->line + client->bytes,
			 sizeof(client->line) - client->bytes);
	char *end;

	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	/* Who is kept has asked already. */
	if (n == 0 || client->is_kept)
		return true;
	client->bytes += n;
	end = memchr(client->line, '\n', client->bytes);
	if (end)
		return answer_client(c, client, end - client->line);
	if (client->bytes == sizeof(client->line))
		send_reply(client->fd, control_error(VBLK_USAGE, "the line is too long"));
	else
		return false;
	return true;
}

static bool is_ready(int fd, const struct pollfd *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i].fd == fd)
			return fds[i].revents;
	return false;
}

static bool is_late(const struct control_client *client)
{
	return !client->is_kept && now_ms() - client->since_ms >= CLIENT_MS;
}

/**
 * control_serve() - read and answer what has come
 * @fds: of control_poll_fds(), behind a poll
 * @n: how many
 */
void control_serve(struct control *c, const struct pollfd *fds, size_t n)
{
	struct control_client *client;

	for (client = c->clients; client < c->clients + CONTROL_MAX_CLIENTS; client++) {
		/* While we did something else, one that is late may have sent what was missing. */
		if (client->fd >= 0 && (serve_client(c, client) || is_late(client)))
			drop(c, client);
	}
	if (c->listener >= 0 && has_room(c) && is_ready(c->listener, fds, n))
		accept_client(c);
}
