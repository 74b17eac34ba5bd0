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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cancel.h"
#include "child.h"
#include "cmd/err.h"
#include "fsfreeze.h"

#define KEEPER_FD	3

/* How long we wait for the thaw; the keeper goes on. */
#define THAW_MS		60000

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

/* Until it has ended, or we are gone: then it is of no use any more. */
static int keeper_freeze(const char *command)
{
	struct pollfd pfds[2] = { { .fd = KEEPER_FD, .events = POLLIN }, { .events = POLLIN } };
	int status = NOT_RUN;
	struct child c;

	if (start(&c, command, "freeze"))
		return NOT_RUN;
	pfds[1].fd = c.fd;
	while (poll(pfds, 2, -1) < 0)
		;
	if (pfds[1].revents)
		child_wait(&c, -1, false, &status);
	else
		child_kill(&c, SIGTERM);
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

/* Its next word. Asked to end meanwhile, we tell it. */
static int listen_to(struct fsfreeze *f, int timeout_ms, bool may_cancel, int *status)
{
	struct pollfd pfd = { .fd = f->fd, .events = POLLIN };

	while (poll(&pfd, 1, CANCEL_POLL_MS) <= 0) {
		if (may_cancel && cancel_asked()) {
			shutdown(f->fd, SHUT_WR);
			may_cancel = false;
		}
		if (timeout_ms >= 0 && (timeout_ms -= CANCEL_POLL_MS) <= 0)
			return -ETIMEDOUT;
	}
	return read(f->fd, status, sizeof(*status)) == sizeof(*status) ? 0 : -ECHILD;
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
	err = listen_to(f, -1, true, &status);
	if (!err && status == 0)
		return VBLK_OK;
	if (cancel_asked())
		return err_report(VBLK_FAILED, f->command, "freeze was cancelled");
	return err_report(VBLK_FAILED, f->command, "freeze has failed");
}

/* The guest's administrator would like to know. */
static int report_thaw(const struct fsfreeze *f, int err)
{
	int ret;

	if (err == -ETIMEDOUT)
		ret = err_report(VBLK_FAILED, f->command,
				 "thaw has not ended in %d seconds: the guest may stand still",
				 THAW_MS / 1000);
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
	err = listen_to(f, THAW_MS, false, &status);
	close(f->fd);
	if (err != -ETIMEDOUT)
		waitpid(f->keeper, NULL, 0);
	f->keeper = 0;
	return err || status ? report_thaw(f, err) : VBLK_OK;
}
