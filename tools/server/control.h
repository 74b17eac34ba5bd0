/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket of a disk: one line of JSON asks, one line answers.
 * Documentation/control.rst has what is asked, and what the answers are.
 */
#ifndef VBLK_CONTROL_H
#define VBLK_CONTROL_H

#include <json-c/json.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_VERSION		1
#define CONTROL_LINE_BYTES	4096	/* of a request, its end included */
#define CONTROL_MAX_CLIENTS	8
#define CONTROL_MAX_KEPT	(CONTROL_MAX_CLIENTS / 2)
#define CONTROL_MAX_FDS		(1 + CONTROL_MAX_CLIENTS)

/**
 * struct control_client - somebody who asks
 * @fd: the connection, or -1
 * @is_kept: has had an answer, and stays until he hangs up
 * @since_ms: when it was made, in CLOCK_MONOTONIC
 * @bytes: how much of the request is there
 * @line: it
 */
struct control_client {
	int fd;
	bool is_kept;
	int64_t since_ms;
	size_t bytes;
	char line[CONTROL_LINE_BYTES];
};

/**
 * struct control - a control socket that is listened on
 * @listener: the socket, or -1 where there is none
 * @path: its path
 * @answer: answers a request: an object, which the caller has
 * @let_go: called when somebody has gone whom control_keep() was called for
 * @arg: for these
 * @has_to_keep: who is answered now
 * @clients: who is connected
 */
struct control {
	int listener;
	char path[108];
	json_object *(*answer)(void *arg, json_object *request);
	void (*let_go)(void *arg);
	void *arg;
	bool has_to_keep;
	struct control_client clients[CONTROL_MAX_CLIENTS];
};

/* In the server */
int control_open(struct control *c, const char *name);
void control_close(struct control *c);
size_t control_poll_fds(const struct control *c, struct pollfd *fds);
int control_timeout_ms(const struct control *c);
void control_serve(struct control *c, const struct pollfd *fds, size_t n);
bool control_keep(struct control *c);

json_object *control_ok(void);
json_object *control_error(int code, const char *why);

/* How many are asked at once. */
#define CONTROL_ASK	256

/**
 * struct control_query - one of many servers that are asked the same
 * @name: of its files in STATE_DIR
 * @reply: its answer, an object, which the caller puts; or NULL
 * @err: why there is none: -ETIMEDOUT, or another -errno
 * @fd: of control_ask_all() alone, as the rest
 */
struct control_query {
	const char *name;
	json_object *reply;
	int err;
	int fd;
	char *text;
	size_t bytes;
};

/* For those who ask */
void control_ask_all(struct control_query *q, size_t n, json_object *request, int wait_ms);
json_object *control_request(const char *command);
int control_call(const char *name, json_object *request, int wait_ms, json_object **reply);
int control_hold(const char *name, json_object *request, int wait_ms, json_object **reply, int *fd);
int control_reply_code(json_object *reply, const char **why);

#endif
