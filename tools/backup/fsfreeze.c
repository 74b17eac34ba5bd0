// SPDX-License-Identifier: GPL-2.0-only
/*
 * File systems of a guest that stand still for a moment: `CMD freeze', `CMD thaw', as the hooks of backup programs
 * are called.
 *
 * What was frozen is thawed whatever becomes of us. So a process of its own, the keeper, runs both: it says how the
 * first has ended, waits until we are done or gone, and then runs the second in any case. ^C does not reach it.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cancel.h"
#include "child.h"
#include "cmd/err.h"
#include "fsfreeze.h"

#define KEEPER_FD	3

/* How long either may take. A thaw that takes longer is not waited for, but goes on. */
#define HOOK_MS		60000

/* How long what it has run may take to end when it is told to. */
#define GROUP_MS	5000
#define GROUP_POLL_MS	50

/* Of a command that could not be run. */
#define NOT_RUN		(-1)

static int start(struct child *c, const char *command, const char *what)
{
	const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
	char *line;
	int err;

	if (asprintf(&line, "%s %s", command, what) < 0)
		return -ENOMEM;
	argv[2] = line;
	err = child_start(c, argv, -1);
	free(line);
	return err;
}

/* The shell is gone before what it has run, which is ours then: see keep(). */
static void wait_for_group(pid_t group)
{
	for (int waited_ms = 0; waited_ms < GROUP_MS; waited_ms += GROUP_POLL_MS) {
		if (waitpid(-group, NULL, WNOHANG) < 0)
			return;
		poll(NULL, 0, GROUP_POLL_MS);
	}
	kill(-group, SIGKILL);
}

/* Until it has ended, or we are gone: then it is of no use any more, and must not end behind the thaw. */
static int keeper_freeze(const char *command)
{
	struct pollfd pfds[2] = { { .fd = KEEPER_FD, .events = POLLIN }, { .events = POLLIN } };
	int status = NOT_RUN;
	struct child c;
	pid_t group;

	if (start(&c, command, "freeze"))
		return NOT_RUN;
	pfds[1].fd = c.fd;
	while (poll(pfds, 2, -1) < 0)
		;
	if (pfds[1].revents) {
		child_wait(&c, -1, false, &status);
	} else {
		group = c.pid;
		child_kill(&c, SIGTERM);
		wait_for_group(group);
	}
	return status;
}

/* Once more if somebody has killed it. */
static int keeper_thaw(const char *command)
{
	int status = NOT_RUN;
	struct child c;

	for (int i = 0; i < 2; i++) {
		if (start(&c, command, "thaw") || child_wait(&c, -1, false, &status))
			return NOT_RUN;
		if (!WIFSIGNALED(status) && WEXITSTATUS(status) <= 128)
			break;
	}
	return status;
}

static _Noreturn void keep(const char *command, int fd)
{
	char byte;
	int status;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (fd != KEEPER_FD)
		dup2(fd, KEEPER_FD);
	close_range(KEEPER_FD + 1, ~0U, 0);
	status = keeper_freeze(command);
	send(KEEPER_FD, &status, sizeof(status), MSG_NOSIGNAL);
	while (read(KEEPER_FD, &byte, 1) < 0 && errno == EINTR)
		;
	status = keeper_thaw(command);
	send(KEEPER_FD, &status, sizeof(status), MSG_NOSIGNAL);
	_exit(0);
}

static bool has_word(const struct fsfreeze *f, int *timeout_ms)
{
	struct pollfd pfd = { .fd = f->fd, .events = POLLIN };

	*timeout_ms -= CANCEL_POLL_MS;
	return poll(&pfd, 1, CANCEL_POLL_MS) > 0;
}

/* The keeper's next word: how a command has ended. */
static int listen_to(const struct fsfreeze *f, int *status)
{
	return read(f->fd, status, sizeof(*status)) == sizeof(*status) ? 0 : -ECHILD;
}

/* Asked to end, or tired of waiting, we tell the keeper: it ends the command soon, and has another word then. */
static int wait_for_freeze(const struct fsfreeze *f, int *status)
{
	int timeout_ms = HOOK_MS, given_up = 0;

	while (!has_word(f, &timeout_ms)) {
		if (given_up)
			continue;
		if (cancel_asked())
			given_up = -EINTR;
		else if (timeout_ms <= 0)
			given_up = -ETIMEDOUT;
		if (given_up)
			shutdown(f->fd, SHUT_WR);
	}
	return listen_to(f, status) ?: given_up;
}

static int wait_for_thaw(const struct fsfreeze *f, int *status)
{
	int timeout_ms = HOOK_MS;

	while (!has_word(f, &timeout_ms))
		if (timeout_ms <= 0)
			return -ETIMEDOUT;
	return listen_to(f, status);
}

static int report_freeze(const struct fsfreeze *f, int err)
{
	if (err == -EINTR)
		return err_report(VBLK_FAILED, f->command, "freeze was cancelled");
	if (err == -ETIMEDOUT)
		return err_report(VBLK_FAILED, f->command, "freeze has not ended in %d seconds",
				  HOOK_MS / 1000);
	return err_report(VBLK_FAILED, f->command, "freeze has failed");
}

/**
 * fsfreeze_begin() - have them stand still
 * @f: @command is set, the rest 0; fsfreeze_end() is due in either case
 *
 * Return: an exit code; what is wrong has been reported.
 */
int fsfreeze_begin(struct fsfreeze *f)
{
	int fds[2], status, err;

	if (!f->command)
		return VBLK_OK;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(errno, f->command, "cannot run it");
	f->keeper = fork();
	if (f->keeper == 0) {
		close(fds[0]);
		keep(f->command, fds[1]);
	}
	err = errno;
	close(fds[1]);
	f->fd = fds[0];
	if (f->keeper < 0) {
		f->keeper = 0;
		close(f->fd);
		return err_errno(err, f->command, "cannot run it");
	}
	err = wait_for_freeze(f, &status);
	return err || status ? report_freeze(f, err) : VBLK_OK;
}

/* The guest's administrator would like to know. */
static int report_thaw(const struct fsfreeze *f, int err)
{
	int ret;

	if (err == -ETIMEDOUT)
		ret = err_report(VBLK_FAILED, f->command,
				 "thaw has not ended in %d seconds: the guest may stand still",
				 HOOK_MS / 1000);
	else
		ret = err_report(VBLK_FAILED, f->command,
				 "thaw has failed: the guest may stand still");
	err_hint("%s thaw", f->command);
	return ret;
}

/**
 * fsfreeze_end() - have them go on
 *
 * Return: an exit code; what is wrong has been reported.
 */
int fsfreeze_end(struct fsfreeze *f)
{
	int status = 0, err;

	if (!f->keeper)
		return VBLK_OK;
	shutdown(f->fd, SHUT_WR);
	err = wait_for_thaw(f, &status);
	close(f->fd);
	if (err != -ETIMEDOUT)
		waitpid(f->keeper, NULL, 0);
	f->keeper = 0;
	return err || status ? report_thaw(f, err) : VBLK_OK;
}
