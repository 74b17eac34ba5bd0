// SPDX-License-Identifier: GPL-2.0-only
/* CPU time of an image's kernel threads: processes of the same name take their places. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "cmd/threads.h"

#define BURN_MS	100

struct worker {
	pid_t pid;
	int ask, done;
};

static void burn(void)
{
	clock_t end = clock() + BURN_MS * (CLOCKS_PER_SEC / 1000);

	while (clock() < end)
		;
}

static void work(const char *name, int ask, int done)
{
	char c;

	prctl(PR_SET_NAME, name);
	while (read(ask, &c, 1) == 1) {
		burn();
		if (write(done, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static struct worker start(const char *name)
{
	int ask[2], done[2];
	struct worker w;

	assert_int_equal(pipe(ask) | pipe(done), 0);
	w.pid = fork();
	if (!w.pid) {
		close(ask[1]);
		work(name, ask[0], done[1]);
	}
	assert_true(w.pid > 0);
	close(ask[0]);
	close(done[1]);
	w.ask = ask[1];
	w.done = done[0];
	return w;
}

static void have_work(const struct worker *w)
{
	char c = 0;

	assert_int_equal(write(w->ask, &c, 1), 1);
	assert_int_equal(read(w->done, &c, 1), 1);
}

static void end(const struct worker *w)
{
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	close(w->ask);
	close(w->done);
}

static void time_is_of_the_threads_of_the_device(void **state)
{
	struct worker a = start("qcow2_io/511:19"), other = start("qcow2_io/511:2");
	struct threads t, none = {};

	(void)state;
	have_work(&a);
	have_work(&other);
	threads_find(&t, &none);
	assert_in_range(threads_grown_ms(&t, makedev(511, 19)), BURN_MS - 20, 100 * BURN_MS);
	assert_int_equal(threads_grown_ms(&t, makedev(511, 1)), 0);
	threads_free(&t);
	end(&a);
	end(&other);
}

/* As slow ones do when there is nothing to do for them. */
static void a_thread_that_ends_takes_nothing_back(void **state)
{
	struct worker a = start("qcow2_a/511:199"), b = start("qcow2_b/511:199");
	struct threads t, now, none = {};

	(void)state;
	have_work(&a);
	have_work(&a);
	have_work(&b);
	threads_find(&t, &none);
	end(&a);
	have_work(&b);
	threads_find(&now, &t);
	assert_in_range(threads_grown_ms(&now, makedev(511, 199)), BURN_MS - 20, 100 * BURN_MS);
	threads_free(&t);
	t = now;
	threads_find(&now, &t);
	assert_int_equal(threads_grown_ms(&now, makedev(511, 199)), 0);
	threads_free(&t);
	threads_free(&now);
	end(&b);
}

static void a_process_has_used_what_the_kernel_says(void **state)
{
	struct worker a = start("a) R 1 (");

	(void)state;
	have_work(&a);
	assert_in_range(threads_process_cpu_ms(a.pid), BURN_MS - 20, 100 * BURN_MS);
	end(&a);
	assert_int_equal(threads_process_cpu_ms(a.pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_is_of_the_threads_of_the_device),
		cmocka_unit_test(a_thread_that_ends_takes_nothing_back),
		cmocka_unit_test(a_process_has_used_what_the_kernel_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
