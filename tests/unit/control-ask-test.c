// SPDX-License-Identifier: GPL-2.0-only
/* Many servers are asked at once: nobody who answers suffers from those who do not, and these are waited for together. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "server/control.h"
#include "server/state.h"

#define NR_HUNG		8
#define WAIT_MS		4000
/* Less than that, and more than what is left of it when it is halved for each that hangs. */
#define SLOW_MS		1000

static char dir[] = "/tmp/control-ask-test.XXXXXX";

int state_control_path(const char *name, char *path, size_t size)
{
	return (size_t)snprintf(path, size, "%s/%s", dir, name) < size ? 0 : -ENAMETOOLONG;
}

static int listen_as(const char *name, int backlog)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	state_control_path(name, sun.sun_path, sizeof(sun.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

struct server {
	pthread_t thread;
	int fd;
	const char *answer;
	bool is_slow;
};

/* Answer the first who asks, a byte at a time. */
static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	char c = 0;

	while (c != '\n' && read(fd, &c, 1) == 1)
		;
	if (s->is_slow)
		usleep(SLOW_MS * 1000);
	for (const char *at = s->answer; *at; at++)
		if (send(fd, at, 1, MSG_NOSIGNAL) != 1)
			break;
	close(fd);
	return NULL;
}

static void start(struct server *s, const char *name, const char *answer, bool is_slow)
{
	*s = (struct server) { .fd = listen_as(name, 5), .answer = answer, .is_slow = is_slow };
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void ask(struct control_query *q, size_t n)
{
	json_object *request = json_object_new_object();

	json_object_object_add(request, "command", json_object_new_string("stats"));
	control_ask_all(q, n, request, WAIT_MS);
}

static void one_that_is_slow_answers_beside_many_that_hang(void **state)
{
	struct control_query q[NR_HUNG + 1] = {};
	char names[NR_HUNG][10];
	double began = now();
	struct server slow;
	int fds[NR_HUNG];

	(void)state;
	for (int i = 0; i < NR_HUNG; i++) {
		sprintf(names[i], "hung%d", i);
		fds[i] = listen_as(names[i], 5);
		q[i].name = names[i];
	}
	start(&slow, "slow", "{\"ok\":true}\n", true);
	q[NR_HUNG].name = "slow";
	ask(q, NR_HUNG + 1);
	assert_true(now() - began < 3 * WAIT_MS / 1e3);
	for (int i = 0; i < NR_HUNG; i++) {
		assert_null(q[i].reply);
		assert_int_equal(q[i].err, -ETIMEDOUT);
		close(fds[i]);
	}
	assert_non_null(q[NR_HUNG].reply);
	json_object_put(q[NR_HUNG].reply);
	end(&slow);
}

/* The kernel has connections that nobody has taken; another one would wait. */
static void one_that_has_hung_for_long_is_not_waited_for(void **state)
{
	struct control_query q = { .name = "full" };
	int fd = listen_as("full", 0), clients[4];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	double began;

	(void)state;
	state_control_path("full", sun.sun_path, sizeof(sun.sun_path));
	for (int i = 0; i < 4; i++) {
		clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(clients[i], (struct sockaddr *)&sun, sizeof(sun));
	}
	began = now();
	ask(&q, 1);
	assert_true(now() - began < 3 * WAIT_MS / 1e3);
	assert_null(q.reply);
	assert_int_equal(q.err, -ETIMEDOUT);
	for (int i = 0; i < 4; i++)
		close(clients[i]);
	close(fd);
}

static void expect_error(const char *name, const char *answer, int err)
{
	struct control_query q = { .name = name };
	struct server s;

	start(&s, name, answer, false);
	ask(&q, 1);
	assert_null(q.reply);
	assert_int_equal(q.err, err);
	end(&s);
}

static void what_is_no_answer_is_none(void **state)
{
	struct control_query q = { .name = "nobody" };

	(void)state;
	ask(&q, 1);
	assert_int_equal(q.err, -ENOENT);
	expect_error("list", "[]\n", -EBADMSG);
	expect_error("cut", "{\"ok\":", -EBADMSG);
	expect_error("silent", "", -ECONNRESET);
	ask(NULL, 0);
}

static int make_dir(void **state)
{
	(void)state;
	return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_slow_answers_beside_many_that_hang),
		cmocka_unit_test(one_that_has_hung_for_long_is_not_waited_for),
		cmocka_unit_test(what_is_no_answer_is_none),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
