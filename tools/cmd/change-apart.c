// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is done to the image of a disk while that is suspended, and a guest waits: by a process of its own,
 * which nothing that happens to the tool reaches.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "snapshot.h"

static void block_signals(sigset_t *old)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, old);
	signal(SIGPIPE, SIG_IGN);
}

/**
 * change_apart() - call a function in a process of its own, and wait for that
 * @c: the disk
 * @work: the function; returns an exit code
 * @arg: of it
 * @what: is done, for the line that says that the process has died
 *
 * Return: the exit code of @work.
 */
int change_apart(struct change *c, int (*work)(struct change *c, void *arg), void *arg,
		 const char *what)
{
	int ret, status;
	sigset_t old;
	pid_t pid;

	block_signals(&old);
	/* dm's descriptors are one's own. */
	dmdev_release();
	/* A qemu-img that it leaves becomes ours. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (pid == 0) {
		setsid();
		_exit(work(c, arg));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		ret = err_errno(errno, c->a.d.name, "cannot start a process");
	else if (WIFEXITED(status))
		ret = WEXITSTATUS(status);
	else
		ret = err_report(VBLK_FAILED, c->a.d.name, "%s by a process that died", what);
	/* Of its session; others of ours go on. */
	while (pid > 0 && waitpid(-pid, NULL, 0) > 0)
		;
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return ret;
}
