// SPDX-License-Identifier: GPL-2.0-only
/*
 * nbdkit as the server of a frozen disk: it speaks NBD, and our plugin (nbdkit/plugin.c) tells it
 * what is there.
 *
 * It gets the socket as from systemd: descriptor 3, LISTEN_FDS and LISTEN_PID. It ends with us,
 * however we end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/err.h"
#include "nbdkit.h"

#define PLUGIN		"nbdkit-vblk-plugin.so"
#define NOT_FOUND	127

/* In the child */
enum { LISTENER = 3, VIEW, READY, FIRST_OTHER };

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

/* Whoever reads what we print is not to wait for its end. */
static bool leave_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	return null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0 &&
	       dup2(null, STDERR_FILENO) >= 0;
}

/* To the numbers where it looks for them, and nothing else. */
static bool hand_over(const struct nbdkit *n, int ready)
{
	const int from[] = { n->listener, n->view, ready };
	int high[3];

	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(from[i], F_DUPFD, FIRST_OTHER);
		if (high[i] < 0)
			return false;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], LISTENER + i) < 0)
			return false;
	return syscall(SYS_close_range, FIRST_OTHER, ~0U, 0) == 0;
}

static bool set_environment(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return !setenv("LISTEN_FDS", "1", 1) && !setenv("LISTEN_PID", pid, 1) &&
	       !unsetenv("LISTEN_FDNAMES");
}

static void run(const struct nbdkit *n, const char *plugin, int ready, pid_t parent)
{
	sigset_t none;
	char device[32], ready_fd[32];
	const char *argv[] = {
		"nbdkit", "--readonly", n->has_no_terminal ? "--log=syslog" : "--log=stderr",
		plugin, device, ready_fd, n->is_persistent ? NULL : "--filter=exitlast", NULL
	};

	snprintf(device, sizeof(device), "device=/proc/self/fd/%d", VIEW);
	snprintf(ready_fd, sizeof(ready_fd), "ready-fd=%d", READY);
	sigemptyset(&none);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
	    (n->has_no_terminal && !leave_streams()) || !hand_over(n, ready) ||
	    !set_environment())
		_exit(VBLK_FAILED);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], (char *const *)argv);
	_exit(NOT_FOUND);
}

static int report_end(const struct nbdkit *n, int status)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return VBLK_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return err_report(VBLK_NOT_FOUND, "nbdkit", "not found, and needed here");
	if (WIFEXITED(status))
		return err_report(VBLK_FAILED, n->name, "nbdkit has failed");
	return err_report(VBLK_FAILED, n->name, "nbdkit was killed by signal %d",
			  WTERMSIG(status));
}

static int reap(struct nbdkit *n)
{
	int status;

	if (waitpid(n->pid, &status, 0) != n->pid)
		status = 0;
	n->pid = 0;
	return report_end(n, status);
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
	ret = reap(n);
	return ret ? ret : err_report(VBLK_FAILED, n->name, "nbdkit has ended at its start");
}

/**
 * nbdkit_start() - serve the disk, in a process of its own
 *
 * After nbdkit_block_signals(). Return: an exit code, once clients are answered; what is wrong has
 * been reported.
 */
int nbdkit_start(struct nbdkit *n)
{
	pid_t parent = getpid();
	char plugin[PATH_MAX];
	int ready[2], ret;

	if (find_plugin(plugin, sizeof(plugin)))
		return err_report(VBLK_NOT_FOUND, PLUGIN, "not found, and needed here");
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_errno(errno, n->name, "cannot start nbdkit");
	n->pid = fork();
	if (n->pid == 0)
		run(n, plugin, ready[1], parent);
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
static bool has_ended(const struct nbdkit *n)
{
	siginfo_t info = {};

	return waitid(P_PID, n->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/**
 * nbdkit_wait() - until it ends by itself, or by a signal to this process
 *
 * Return: an exit code; what is wrong has been reported.
 */
int nbdkit_wait(struct nbdkit *n)
{
	sigset_t set = waited_for();
	int sig;

	while (!has_ended(n)) {
		sig = sigwaitinfo(&set, NULL);
		if (sig < 0 || sig == SIGCHLD || has_ended(n))
			continue;
		nbdkit_kill(n);
		return VBLK_OK;
	}
	return reap(n);
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
