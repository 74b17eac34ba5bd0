// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu-nbd in front of nbdkit, whose plugins cannot have meta contexts of their own:
 *
 *	clients - qemu-nbd - an image with the bitmaps - nbdkit - the frozen disk
 *
 * What is in the image below the one with the bitmaps comes through, and where it has data. Between the two is a
 * connection without a name.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/err.h"
#include "hand-over.h"
#include "front.h"
#include "server/state.h"

/* By the numbers that hand_over_start() gives them. */
#define IMAGE \
	"json:{\"driver\": \"qcow2\", \"read-only\": true, " \
	"\"file\": {\"driver\": \"file\", \"filename\": \"/proc/self/fd/5\", \"read-only\": true}, " \
	"\"backing\": {\"driver\": \"nbd\", \"server\": {\"type\": \"fd\", \"str\": \"4\"}}}"

/* Behind those: it writes there when it serves. */
#define READY	"--pid-file=/proc/self/fd/6"

/* How often is looked for that. */
#define POLL_NS	10000000

static const char *const begin[] = { "qemu-nbd", READY, "--read-only", "--shared=0" };

#define NR_BEGIN	(sizeof(begin) / sizeof(begin[0]))

/**
 * front_connect() - a socket for nbdkit to listen on, and a connection to it
 *
 * Nobody else can connect: it has no name by now. Return: 0 or -errno.
 */
int front_connect(int *listener, int *below)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int err = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path), STATE_DIR "/.export-%d", getpid());
	unlink(addr.sun_path);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*below = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listener < 0 || *below < 0 || fchmod(*listener, 0600) < 0 ||
	    bind(*listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(*listener, 1) < 0 ||
	    connect(*below, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		err = -errno;
	unlink(addr.sun_path);
	return err;
}

static int start(struct front *f, int ready)
{
	const int fds[] = { f->listener, f->below, f->bits, ready };
	const char **argv = calloc(NR_BEGIN + 2 * f->nr_bitmaps + 3, sizeof(*argv));
	size_t n;

	if (!argv)
		return err_errno(ENOMEM, f->name, "cannot start qemu-nbd");
	for (n = 0; n < NR_BEGIN; n++)
		argv[n] = begin[n];
	for (size_t i = 0; i < f->nr_bitmaps; i++) {
		argv[n++] = "-B";
		argv[n++] = f->bitmaps[i];
	}
	if (f->is_persistent)
		argv[n++] = "--persistent";
	argv[n] = IMAGE;
	f->pid = hand_over_start(argv, fds, 4, f->has_no_terminal);
	free(argv);
	if (f->pid > 0)
		return VBLK_OK;
	f->pid = 0;
	return err_errno(errno, f->name, "cannot start qemu-nbd");
}

static int report_ended(struct front *f)
{
	int status, ret;

	if (waitpid(f->pid, &status, WNOHANG) != f->pid)
		return VBLK_OK;
	f->pid = 0;
	ret = hand_over_report(begin[0], f->name, status);
	return ret ? ret : err_report(VBLK_FAILED, f->name, "%s has ended", begin[0]);
}

/* Signals are blocked. */
static int wait_ready(struct front *f, int ready)
{
	const struct timespec poll = { .tv_nsec = POLL_NS };
	struct stat st;
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	for (;;) {
		if (fstat(ready, &st) == 0 && st.st_size)
			return VBLK_OK;
		ret = report_ended(f);
		if (ret)
			return ret;
		if (sigtimedwait(&set, NULL, &poll) > 0)
			return err_report(VBLK_FAILED, f->name, "the export was cancelled");
	}
}

/**
 * front_start() - serve the disk with its bitmaps, in a process of its own, and wait until it does
 *
 * Return: an exit code; what is wrong has been reported. front_kill() is due in either case.
 */
int front_start(struct front *f)
{
	int ready = memfd_create("vblk-ready", MFD_CLOEXEC), ret;

	if (ready < 0)
		return err_errno(errno, f->name, "cannot start qemu-nbd");
	ret = start(f, ready);
	if (!ret)
		ret = wait_ready(f, ready);
	close(ready);
	return ret;
}

/** front_kill() - end it, if it has not ended */
void front_kill(struct front *f)
{
	if (!f->pid)
		return;
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	f->pid = 0;
}
