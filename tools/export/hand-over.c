// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server that is given descriptors of ours, and nothing else: the socket that it listens on first, as from systemd
 * (LISTEN_FDS, LISTEN_PID). It ends with us, however we end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/err.h"
#include "hand-over.h"

#define MAX_FDS		4

/* Whoever reads what we print is not to wait for its end. */
static bool leave_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	return null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0 &&
	       dup2(null, STDERR_FILENO) >= 0;
}

/* To the numbers where it looks for them. */
static bool move(const int fds[], size_t n)
{
	int high[MAX_FDS];

	for (size_t i = 0; i < n; i++) {
		high[i] = fcntl(fds[i], F_DUPFD, HAND_OVER_FIRST + MAX_FDS);
		if (high[i] < 0)
			return false;
	}
	for (size_t i = 0; i < n; i++)
		if (dup2(high[i], HAND_OVER_FIRST + i) < 0)
			return false;
	return syscall(SYS_close_range, HAND_OVER_FIRST + n, ~0U, 0) == 0;
}

static bool set_environment(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return !setenv("LISTEN_FDS", "1", 1) && !setenv("LISTEN_PID", pid, 1) &&
	       !unsetenv("LISTEN_FDNAMES");
}

static void become(const char *const argv[], const int fds[], size_t n, bool has_no_terminal,
		   pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
	    (has_no_terminal && !leave_streams()) || !move(fds, n) || !set_environment())
		_exit(VBLK_FAILED);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], (char *const *)argv);
	_exit(HAND_OVER_NOT_FOUND);
}

/**
 * hand_over_start() - start a server
 * @fds: what it has as HAND_OVER_FIRST, and behind; up to four
 * @n: how many
 * @has_no_terminal: it may print nowhere
 *
 * Return: its pid, or -1 with errno.
 */
pid_t hand_over_start(const char *const argv[], const int fds[], size_t n, bool has_no_terminal)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		become(argv, fds, n, has_no_terminal, parent);
	return pid;
}

/**
 * hand_over_report() - how it has ended, as waitpid() says it
 * @name: of the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int hand_over_report(const char *program, const char *name, int status)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return VBLK_OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == HAND_OVER_NOT_FOUND)
		return err_report(VBLK_NOT_FOUND, program, "not found, and needed here");
	if (WIFEXITED(status))
		return err_report(VBLK_FAILED, name, "%s has failed", program);
	return err_report(VBLK_FAILED, name, "%s was killed by signal %d", program,
			  WTERMSIG(status));
}
