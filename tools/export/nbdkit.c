// SPDX-License-Identifier: GPL-2.0-only
/*
 * nbdkit as the server of a frozen disk: it speaks NBD, and our plugin (nbdkit/plugin.c) tells it
 * what is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/child.h"
#include "cmd/err.h"
#include "hand-over.h"
#include "nbdkit.h"

#define PLUGIN		"nbdkit-vblk-plugin.so"

static sigset_t waited_for(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	return set;
}

/** nbdkit_block_signals() - from here on nbdkit_wait() takes those that would end this process */
void nbdkit_block_signals(void)
{
	sigset_t set = waited_for();

	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Beside the program as in the tree it was built in, or where it is installed. */
static int find_plugin(char *path, size_t size)
{
	static const char *const places[] = { "", "../lib/vblk/" };
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *base;

	self[len < 0 ? 0 : len] = '\0';
	base = strrchr(self, '/');
	if (!base)
		return -ENOENT;
	base[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if ((size_t)snprintf(path, size, "%s%s" PLUGIN, self, places[i]) < size &&
		    access(path, R_OK) == 0)
			return 0;
	return -ENOENT;
}

static pid_t run(const struct nbdkit *n, const char *plugin, int ready)
{
	const int fds[] = { n->listener, n->view, ready };
	char device[32], ready_fd[32];
	const char *argv[] = {
		"nbdkit", "--readonly", n->has_no_terminal ? "--log=syslog" : "--log=stderr",
		plugin, device, ready_fd, n->is_persistent ? NULL : "--filter=exitlast", NULL
	};

	snprintf(device, sizeof(device), "device=/proc/self/fd/%d", HAND_OVER_FIRST + 1);
	snprintf(ready_fd, sizeof(ready_fd), "ready-fd=%d", HAND_OVER_FIRST + 2);
	return hand_over_start(argv, fds, 3, n->has_no_terminal);
}

static int reap(pid_t *pid, const char *program, const char *name)
{
	int status;

	if (waitpid(*pid, &status, 0) != *pid)
		status = 0;
	*pid = 0;
	return hand_over_report(program, name, status);
}

static int wait_ready(struct nbdkit *n, int ready)
{
	ssize_t got;
	char byte;
	int ret;

	do
		got = read(ready, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return VBLK_OK;
	ret = reap(&n->pid, "nbdkit", n->name);
	return ret ? ret : err_report(VBLK_FAILED, n->name, "nbdkit has ended at its start");
}

static int report_no_plugin(void)
{
	return err_report(VBLK_NOT_FOUND, PLUGIN, "not found, and needed here");
}

/** nbdkit_check() - whether all of it is there to be run: an exit code, reported */
int nbdkit_check(void)
{
	char plugin[PATH_MAX];

	return find_plugin(plugin, sizeof(plugin)) ? report_no_plugin() : child_check("nbdkit");
}

/**
 * nbdkit_start() - serve the disk, in a process of its own
 *
 * After nbdkit_block_signals(). Return: an exit code, once clients are answered; what is wrong has
 * been reported.
 */
int nbdkit_start(struct nbdkit *n)
{
	char plugin[PATH_MAX];
	int ready[2], ret;

	if (find_plugin(plugin, sizeof(plugin)))
		return report_no_plugin();
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_errno(errno, n->name, "cannot start nbdkit");
	n->pid = run(n, plugin, ready[1]);
	close(ready[1]);
	if (n->pid < 0) {
		n->pid = 0;
		ret = err_errno(errno, n->name, "cannot start nbdkit");
	} else {
		ret = wait_ready(n, ready[0]);
	}
	close(ready[0]);
	return ret;
}

/* Return: whether it has ended. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {};

	return pid && waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/**
 * nbdkit_wait() - until it ends by itself, or what is in front of it, or by a signal to this process
 * @front: that, or @pid of it is 0
 *
 * Return: an exit code; what is wrong has been reported.
 */
int nbdkit_wait(struct nbdkit *n, struct front *front)
{
	sigset_t set = waited_for();
	int sig;

	while (!has_ended(n->pid) && !has_ended(front->pid)) {
		sig = sigwaitinfo(&set, NULL);
		if (sig < 0 || sig == SIGCHLD || has_ended(n->pid) || has_ended(front->pid))
			continue;
		front_kill(front);
		nbdkit_kill(n);
		return VBLK_OK;
	}
	if (has_ended(n->pid))
		return reap(&n->pid, "nbdkit", n->name);
	return reap(&front->pid, "qemu-nbd", n->name);
}

/**
 * nbdkit_kill() - end it, if it has not ended
 *
 * Asked to end, it would wait for its clients, and it has nothing to lose.
 */
void nbdkit_kill(struct nbdkit *n)
{
	if (!n->pid)
		return;
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
	n->pid = 0;
}
