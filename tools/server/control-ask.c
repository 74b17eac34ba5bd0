// SPDX-License-Identifier: GPL-2.0-only
/* Many servers are asked something at once: nobody is waited for longer because of another one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "state.h"

#define PIECE_BYTES	4096
#define MAX_BYTES	(256 * 1024)

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Where those who wait to be heard are too many already, connect() fails at once. */
static int connect_to(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, err;

	err = state_control_path(name, sun.sun_path, sizeof(sun.sun_path));
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return err;
}

static void end(struct control_query *q, int err)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
	q->err = err;
	free(q->text);
	q->text = NULL;
}

static void begin(struct control_query *q, const char *line)
{
	q->reply = NULL;
	q->text = NULL;
	q->bytes = 0;
	q->err = 0;
	q->fd = connect_to(q->name);
	if (q->fd < 0)
		end(q, q->fd);
	else if (send(q->fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		end(q, -errno);
}

static void parse(struct control_query *q)
{
	json_object *o = json_tokener_parse(q->text);

	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		end(q, -EBADMSG);
		return;
	}
	q->reply = o;
	end(q, 0);
}

static void take(struct control_query *q)
{
	char *grown = realloc(q->text, q->bytes + PIECE_BYTES + 1);
	ssize_t n;

	if (!grown || q->bytes > MAX_BYTES) {
		if (grown)
			q->text = grown;
		end(q, -ENOMEM);
		return;
	}
	q->text = grown;
	n = read(q->fd, q->text + q->bytes, PIECE_BYTES);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		end(q, -errno);
	if (n < 0)
		return;
	q->bytes += n;
	q->text[q->bytes] = '\0';
	if (n == 0 && !q->bytes)
		end(q, -ECONNRESET);
	else if (n == 0 || q->text[q->bytes - 1] == '\n')
		parse(q);
}

static void wait_for(struct control_query *q, size_t n, int wait_ms)
{
	int64_t due = now_ms() + wait_ms, left;
	struct pollfd fds[CONTROL_ASK];
	size_t nr_open;

	for (;;) {
		nr_open = 0;
		for (size_t i = 0; i < n; i++) {
			fds[i] = (struct pollfd) { .fd = q[i].fd, .events = POLLIN };
			nr_open += q[i].fd >= 0;
		}
		left = due - now_ms();
		if (!nr_open || left <= 0)
			break;
		if (poll(fds, n, left) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < n; i++)
			if (q[i].fd >= 0 && fds[i].revents)
				take(&q[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (q[i].fd >= 0)
			end(&q[i], -ETIMEDOUT);
}

/**
 * control_ask_all() - ask many servers the same
 * @q: @name of each is set; the rest is filled in
 * @n: how many; so many as CONTROL_ASK are asked at a time
 * @request: from control_request(); belongs to this function
 * @wait_ms: how long these are waited for
 */
void control_ask_all(struct control_query *q, size_t n, json_object *request, int wait_ms)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	size_t some, bytes = strlen(text);
	char *line = malloc(bytes + 2);

	if (line) {
		memcpy(line, text, bytes);
		strcpy(line + bytes, "\n");
	}
	for (; n; q += some, n -= some) {
		some = n < CONTROL_ASK ? n : CONTROL_ASK;
		for (size_t i = 0; i < some; i++) {
			q[i].fd = -1;
			q[i].text = NULL;
			if (line)
				begin(&q[i], line);
			else
				end(&q[i], -ENOMEM);
		}
		wait_for(q, some, wait_ms);
	}
	free(line);
	json_object_put(request);
}
