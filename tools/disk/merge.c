// SPDX-License-Identifier: GPL-2.0-only
/*
 * Images written into one that is below them, by qemu-img commit.
 *
 * QEMU would open the highest of the images for writing, and change its bitmaps. So it gets an empty one over that, in
 * memory, and merges all that is below: those it only reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "merge.h"
#include "qemu-img.h"

#define ARGS		12
#define TEXT_BYTES	32
#define NOT_FOUND	127
#define SAID_BYTES	4096

static void run(struct merge *m, const char *const argv[], int out, pid_t parent)
{
	sigset_t none;

	/* It ends with us, however that comes; and is told to. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(out, STDOUT_FILENO);
	dup2(m->err, STDERR_FILENO);
	for (size_t i = 0; i < m->images->n; i++)
		fcntl(m->images->list[i].fd, F_SETFD, 0);
	fcntl(m->overlay, F_SETFD, 0);
	execvp(argv[0], (char *const *)argv);
	_exit(NOT_FOUND);
}

static int start(struct merge *m, const char *const argv[], int out)
{
	const pid_t parent = getpid();

	m->pid = fork();
	if (m->pid == 0)
		run(m, argv, out, parent);
	if (m->pid < 0) {
		m->pid = 0;
		return -errno;
	}
	return 0;
}

static int read_status(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return -ENOENT;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static int make_overlay(struct merge *m)
{
	char path[TEXT_BYTES], size[TEXT_BYTES];
	const char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", path, size, NULL };
	int status, err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->overlay);
	snprintf(size, sizeof(size), "%ju", (uintmax_t)m->bytes);
	err = start(m, argv, m->err);
	if (err)
		return err;
	err = waitpid(m->pid, &status, 0) == m->pid ? 0 : -errno;
	m->pid = 0;
	return err ? err : read_status(status);
}

static int start_commit(struct merge *m, int out)
{
	char base[TEXT_BYTES], rate[TEXT_BYTES];
	char *image = qemu_describe_merge(m->overlay, m->images);
	const char *argv[ARGS] = { "qemu-img", "commit", "-p", "-d", "-b", base };
	int n = 6, err = image ? 0 : -ENOMEM;

	snprintf(base, sizeof(base), "/proc/self/fd/%d", m->images->list[m->images->n - 1].fd);
	snprintf(rate, sizeof(rate), "%ju", (uintmax_t)m->rate);
	if (m->rate) {
		argv[n++] = "-r";
		argv[n++] = rate;
	}
	argv[n] = image;
	if (!err)
		err = start(m, argv, out);
	free(image);
	return err;
}

/**
 * merge_start() - begin
 * @m: @images, @bytes and @rate are set
 *
 * merge_end() is due in either case. Return: 0 or -errno.
 */
int merge_start(struct merge *m)
{
	int pipes[2], err;

	m->out = -1;
	m->pid = 0;
	m->err = memfd_create("errors", MFD_CLOEXEC);
	m->overlay = memfd_create("overlay", MFD_CLOEXEC);
	if (m->err < 0 || m->overlay < 0)
		return -errno;
	err = make_overlay(m);
	if (err)
		return err;
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	m->out = pipes[0];
	err = start_commit(m, pipes[1]);
	close(pipes[1]);
	return err;
}

/* "    (12.34/100%)\r": the last one counts. */
static void take_percent(const char *said, unsigned int *percent)
{
	const char *p = strrchr(said, '(');
	double value;

	if (p && sscanf(p, "(%lf/", &value) == 1 && value >= 0 && value <= 100)
		*percent = value;
}

/**
 * merge_wait() - wait until it has ended
 * @timeout_ms: so long at most
 * @percent: set to how far it is, if it says so
 *
 * Return: 0 when it is done and durable; -ETIMEDOUT; another -errno.
 */
int merge_wait(struct merge *m, int timeout_ms, unsigned int *percent)
{
	struct pollfd pfd = { .fd = m->out, .events = POLLIN };
	char said[SAID_BYTES];
	int status;
	ssize_t n;

	if (poll(&pfd, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	n = read(m->out, said, sizeof(said) - 1);
	if (n > 0) {
		said[n] = '\0';
		take_percent(said, percent);
		return -ETIMEDOUT;
	}
	if (waitpid(m->pid, &status, 0) != m->pid)
		return -errno;
	m->pid = 0;
	return read_status(status);
}

/** merge_stop() - end it early; what it has written stays */
void merge_stop(struct merge *m)
{
	if (!m->pid)
		return;
	kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
	m->pid = 0;
}

static void read_errors(const struct merge *m, char *said)
{
	ssize_t n = pread(m->err, said, SAID_BYTES - 1, 0);

	said[n > 0 ? n : 0] = '\0';
}

/** merge_lacked_space() - whether that is why it has failed */
bool merge_lacked_space(const struct merge *m)
{
	char said[SAID_BYTES];

	read_errors(m, said);
	return strstr(said, strerror(ENOSPC)) || strstr(said, "No space left");
}

/** merge_repeat_errors() - hand on what QEMU has said */
void merge_repeat_errors(const struct merge *m)
{
	char said[SAID_BYTES];

	read_errors(m, said);
	fputs(said, stderr);
}

/** merge_end() - let go of what it took */
void merge_end(struct merge *m)
{
	merge_stop(m);
	if (m->out >= 0)
		close(m->out);
	if (m->err >= 0)
		close(m->err);
	if (m->overlay >= 0)
		close(m->overlay);
}
