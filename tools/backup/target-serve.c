// SPDX-License-Identifier: GPL-2.0-only
/*
 * A qemu-nbd of our own, which has the file or device of a backup open. It gets what we have open, not a name:
 * whatever a name may mean to QEMU, or to somebody who changes a directory meanwhile, is not asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cancel.h"
#include "cmd/err.h"
#include "server/state.h"
#include "target.h"

/* So that a piece of the disk is sent in one go. */
#define SOCKET_BYTES	(2 << 20)

/** target_fd_path() - a path of the file or device for a program that we run */
void target_fd_path(const struct target *t, char path[TARGET_PATH_BYTES])
{
	snprintf(path, TARGET_PATH_BYTES, "/proc/%d/fd/%d", getpid(), t->fd);
}

/* Whole clusters: compressed ones are written only so, and direct I/O on a host may need 4 KiB. */
static uint64_t image_bytes(const struct target *t)
{
	return (t->bytes + TARGET_CLUSTER_BYTES - 1) & ~(TARGET_CLUSTER_BYTES - 1ULL);
}

static bool is_raw(const struct target *t)
{
	return !strcmp(t->format, "raw");
}

static int create(struct target *t)
{
	char path[TARGET_PATH_BYTES], size[24];
	const char *const alone[] = {
		"qemu-img", "create", "-q", "-f", "qcow2", path, size, NULL
	};
	const char *const over[] = {
		"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", t->below,
		path, size, NULL
	};
	int ret;

	if (is_raw(t) && t->kind == TARGET_DEVICE)
		return VBLK_OK;
	if (is_raw(t))
		return ftruncate(t->fd, image_bytes(t)) < 0 ?
			err_errno(errno, t->name, "cannot make it as large as the disk") : VBLK_OK;
	target_fd_path(t, path);
	snprintf(size, sizeof(size), "%ju", (uintmax_t)image_bytes(t));
	ret = child_run(t->below ? over : alone);
	/* What has failed, or was cancelled, may have written. */
	t->is_touched = ret != VBLK_NOT_FOUND;
	return ret;
}

/**
 * target_cut() - have an image of whole clusters end with the disk
 *
 * When nobody serves it any more. Return: an exit code; what is wrong has been reported.
 */
int target_cut(struct target *t)
{
	char path[TARGET_PATH_BYTES], size[24];
	const char *const argv[] = {
		"qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", path, size, NULL
	};

	if (t->bytes == image_bytes(t) || (is_raw(t) && t->kind == TARGET_DEVICE))
		return VBLK_OK;
	if (is_raw(t))
		return ftruncate(t->fd, t->bytes) < 0 ?
			err_errno(errno, t->name, "cannot make it as small as the disk") : VBLK_OK;
	target_fd_path(t, path);
	snprintf(size, sizeof(size), "%ju", (uintmax_t)t->bytes);
	return child_run(argv);
}

/** target_has_direct_io() - some file systems have none */
bool target_has_direct_io(const struct target *t)
{
	char self[32];
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd);
	fd = open(self, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Where nobody else connects: we do before it is told to anybody, and then it has no name. */
static int make_sockets(int *listening, int *connected)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int buffer_bytes = SOCKET_BYTES;
	int err = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path), STATE_DIR "/.backup-%d", getpid());
	unlink(addr.sun_path);
	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(*connected, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof(buffer_bytes));
	if (*listening < 0 || *connected < 0 || fchmod(*listening, 0600) < 0 ||
	    bind(*listening, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(*listening, 1) < 0 ||
	    connect(*connected, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		err = -errno;
	unlink(addr.sun_path);
	if (!err)
		return 0;
	if (*listening >= 0)
		close(*listening);
	if (*connected >= 0)
		close(*connected);
	return err;
}

static int start(struct target *t, int *connected)
{
	char path[TARGET_PATH_BYTES], options[256];
	const char *const argv[] = {
		"qemu-nbd", "--image-opts", target_has_direct_io(t) ? "--cache=none" : "--cache=writeback",
		"--discard=unmap", "--detect-zeroes=unmap", options, NULL
	};
	const char *deeper = t->is_compressed ? "file." : "";
	int listening, err;

	target_fd_path(t, path);
	snprintf(options, sizeof(options), "driver=%s%s,%sfile.driver=%s,%sfile.filename=%s",
		 t->is_compressed ? "compress,file.driver=" : "", t->format, deeper,
		 t->kind == TARGET_FILE ? "file" : "host_device", deeper, path);
	err = make_sockets(&listening, connected);
	if (err)
		return err_errno(-err, STATE_DIR, "cannot make a socket");
	err = child_start(&t->server, argv, listening);
	close(listening);
	if (!err)
		return VBLK_OK;
	close(*connected);
	return err_errno(-err, argv[0], "cannot run it");
}

/* One that has ended has said why. */
static int report_server(struct target *t)
{
	int status;

	if (child_wait(&t->server, 1000, false, &status) == 0 && status)
		return child_report("qemu-nbd", status);
	return target_report(t, "cannot have qemu-nbd serve it");
}

/**
 * target_serve() - have the file or device served
 *
 * Return: an exit code; what is wrong has been reported.
 */
int target_serve(struct target *t)
{
	int connected, ret;

	ret = create(t);
	if (!ret)
		ret = start(t, &connected);
	if (ret)
		return ret;
	/* The socket is libnbd's from here on. */
	if (nbd_aio_connect_socket(t->nbd, connected) < 0)
		return report_server(t);
	while (nbd_aio_is_connecting(t->nbd) > 0) {
		if (cancel_asked())
			return target_turn(t, 0);
		if (nbd_poll(t->nbd, CANCEL_POLL_MS) < 0)
			return report_server(t);
	}
	return nbd_aio_is_ready(t->nbd) > 0 ? VBLK_OK : report_server(t);
}
