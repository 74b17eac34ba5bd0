// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program that is run, in a session of its own: ^C is for us, and we say when it ends; with us, if we are killed. It
 * has none of our descriptors: they are disks, and locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cancel.h"
#include "child.h"
#include "cmd/err.h"
#include "cmd/progress.h"

/* As systemd hands a socket over: sd_listen_fds(3). */
#define FIRST_FD	3

/* How long a program that was killed may take to be gone. */
#define KILL_MS		5000

/**
 * struct io - what a program gets
 * @socket: one that it is to listen on, or -1
 * @input: a file with commands, or -1
 * @is_silent: what it says is not for the user
 */
struct io {
	int socket;
	int input;
	bool is_silent;
};

static void pass_socket(int fd)
{
	char pid[16];

	if (fd == FIRST_FD)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, FIRST_FD);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	unsetenv("LISTEN_FDNAMES");
	/* Or each request would have its buffer mapped, zeroed and unmapped. */
	setenv("MALLOC_MMAP_THRESHOLD_", "33554432", 0);
	setenv("MALLOC_TRIM_THRESHOLD_", "268435456", 0);
	/* In large pages: direct I/O looks each page up. */
	setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
}

/* Standard output is for our own result. */
static void become(const char *const argv[], const struct io *io, pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(VBLK_FAILED);
	setsid();
	cancel_undo();
	progress_undo();
	if (null >= 0)
		dup2(io->input < 0 ? null : io->input, STDIN_FILENO);
	if (null >= 0 && io->is_silent)
		dup2(null, STDERR_FILENO);
	/* Who reads commands answers with prompts. */
	dup2(io->input < 0 || null < 0 ? STDERR_FILENO : null, STDOUT_FILENO);
	if (io->socket >= 0)
		pass_socket(io->socket);
	close_range(FIRST_FD + (io->socket >= 0), ~0U, CLOSE_RANGE_CLOEXEC);
	execvp(argv[0], (char *const *)argv);
	_exit(CHILD_NOT_FOUND);
}

static int start(struct child *c, const char *const argv[], const struct io *io)
{
	pid_t parent = getpid();
	int err;

	c->pid = fork();
	if (c->pid == 0)
		become(argv, io, parent);
	if (c->pid < 0) {
		c->pid = 0;
		return -errno;
	}
	c->fd = pidfd_open(c->pid, 0);
	if (c->fd >= 0)
		return 0;
	err = -errno;
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
	return err;
}

/**
 * child_start() - run a program
 * @socket: one that it is to listen on, or -1
 *
 * Return: 0 or -errno.
 */
int child_start(struct child *c, const char *const argv[], int socket)
{
	return start(c, argv, &(struct io){ .socket = socket, .input = -1 });
}

/** child_start_fed() - run a program that reads commands from a file; 0 or -errno */
int child_start_fed(struct child *c, const char *const argv[], int input)
{
	return start(c, argv, &(struct io){ .socket = -1, .input = input });
}

static int wait_for_end(const struct child *c, int timeout_ms, bool may_cancel)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	int step, n;

	for (;;) {
		if (may_cancel && cancel_asked())
			return -EINTR;
		step = timeout_ms < 0 || timeout_ms > CANCEL_POLL_MS ? CANCEL_POLL_MS : timeout_ms;
		n = poll(&pfd, 1, step);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (timeout_ms >= 0 && step == timeout_ms)
			return -ETIMEDOUT;
		if (timeout_ms >= 0)
			timeout_ms -= step;
	}
}

/**
 * child_wait() - wait until it has ended
 * @timeout_ms: so long, or -1
 * @may_cancel: or until we are asked to end
 * @status: set to how it has ended, as waitpid() says it; may be NULL
 *
 * Return: 0, -ETIMEDOUT, -EINTR when we are to end, another -errno; it runs on then.
 */
int child_wait(struct child *c, int timeout_ms, bool may_cancel, int *status)
{
	int err = wait_for_end(c, timeout_ms, may_cancel);

	if (err)
		return err;
	if (waitpid(c->pid, status, 0) != c->pid)
		err = -errno;
	close(c->fd);
	c->pid = 0;
	return err;
}

/** child_signal() - send a signal to it, and to all that it has started, if it is there */
void child_signal(const struct child *c, int sig)
{
	if (!c->pid)
		return;
	kill(-c->pid, sig);
	kill(c->pid, sig);
}

/**
 * child_kill() - end it, and all that it has started
 *
 * Return: whether it is gone; what hangs in the kernel is left to it.
 */
bool child_kill(struct child *c, int sig)
{
	if (!c->pid)
		return true;
	child_signal(c, sig);
	if (sig != SIGKILL && child_wait(c, KILL_MS, false, NULL) == 0)
		return true;
	child_signal(c, SIGKILL);
	if (child_wait(c, KILL_MS, false, NULL) == 0)
		return true;
	close(c->fd);
	c->pid = 0;
	return false;
}

static int report_missing(const char *program)
{
	return err_report(VBLK_NOT_FOUND, program, "not found, and needed here");
}

/** child_report() - how a program has ended: an exit code, reported */
int child_report(const char *program, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_NOT_FOUND)
		return report_missing(program);
	if (WIFSIGNALED(status))
		return err_report(VBLK_FAILED, program, "has failed: %s", strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		return err_report(VBLK_FAILED, program, "has failed");
	return VBLK_OK;
}

static int run_status(const char *const argv[], bool is_silent, int *status)
{
	struct child c;
	int err;

	err = start(&c, argv, &(struct io){ .socket = -1, .input = -1, .is_silent = is_silent });
	if (!err)
		err = child_wait(&c, -1, true, status);
	if (err == -EINTR) {
		child_kill(&c, SIGKILL);
		return err_report(VBLK_FAILED, argv[0], "it was cancelled");
	}
	return err ? err_errno(-err, argv[0], "cannot run it") : VBLK_OK;
}

/**
 * child_run_status() - run a program to its end
 * @status: set to how that was, as waitpid() says it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int child_run_status(const char *const argv[], int *status)
{
	return run_status(argv, false, status);
}

/** child_run_silent() - the same, and what it says is not for the user */
int child_run_silent(const char *const argv[], int *status)
{
	return run_status(argv, true, status);
}

/**
 * child_run() - run a program, which is to succeed
 *
 * Return: an exit code; what is wrong has been reported.
 */
int child_run(const char *const argv[])
{
	int status, ret = child_run_status(argv, &status);

	return ret ? ret : child_report(argv[0], status);
}

/* As execvp() looks. */
static bool is_in(const char *dir, size_t len, const char *program)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%.*s%s%s", (int)len, dir, len ? "/" : "", program) <
	       (int)sizeof(path) && access(path, X_OK) == 0;
}

/** child_check() - whether a program is there to be run: an exit code, reported */
int child_check(const char *program)
{
	const char *dir = getenv("PATH") ?: "/bin:/usr/bin";
	size_t len;

	for (;; dir += len + 1) {
		len = strcspn(dir, ":");
		if (is_in(dir, len, program))
			return VBLK_OK;
		if (!dir[len])
			return report_missing(program);
	}
}
