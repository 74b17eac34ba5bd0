// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a backup is written to. Whatever it is, NBD is spoken to it: to a server, or to a qemu-nbd of our own that has
 * the file or device open. Nothing here waits for an answer without looking whether we are to end: a server may never
 * give one.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cancel.h"
#include "cmd/err.h"
#include "cmd/progress.h"
#include "target.h"

#define MAX_PIECE	(32 << 20)
#define MIN_UNIT	4096

/* How long a server that has all of it, and was told so, may take to close. */
#define GOODBYE_MS	2000

/* "scheme://", and of NBD's also what is no path to anybody. */
static bool is_uri(const char *name)
{
	const char *p = name;

	while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.')
		p++;
	return p > name && (!strncmp(p, "://", 3) ||
			    (*p == ':' && (!strncmp(name, "nbd:", 4) || !strncmp(name, "nbd+", 4) ||
					   !strncmp(name, "nbds:", 5) || !strncmp(name, "nbds+", 5))));
}

/** target_report() - what libnbd says is wrong: an exit code, reported */
int target_report(const struct target *t, const char *what)
{
	int error = nbd_get_errno();

	return err_report(error == ENOSPC || !error ? VBLK_FAILED : err_code(error), t->name,
			  "%s: %s", what, nbd_get_error());
}

/**
 * target_turn() - let the connection go on, until something has happened, or for so long
 *
 * Return: an exit code: what is wrong, or that we are to end, has been reported.
 */
int target_turn(struct target *t, int timeout_ms)
{
	if (cancel_asked())
		return err_report(VBLK_FAILED, t->disk, "the backup was cancelled");
	progress_poll();
	if (nbd_poll(t->nbd, timeout_ms < CANCEL_POLL_MS ? timeout_ms : CANCEL_POLL_MS) < 0)
		return target_report(t, "lost");
	return VBLK_OK;
}

static int report_no_file(const struct target *t)
{
	return err_report(VBLK_USAGE, t->name, "a backup by a bitmap is a file");
}

static int check_uri(const struct target *t)
{
	if (strncmp(t->name, "nbd", 3) != 0)
		return err_report(VBLK_UNSUPPORTED, t->name, "no NBD server, nor a path");
	if (t->mark)
		return report_no_file(t);
	if (t->is_compressed)
		return err_report(VBLK_USAGE, "-c", "an NBD server is written to as it is");
	return VBLK_OK;
}

static int connect_uri(struct target *t)
{
	int ret = check_uri(t);

	if (ret)
		return ret;
	/* Keys of TLS: it is root who names them. */
	nbd_set_uri_allow_local_file(t->nbd, true);
	if (nbd_aio_connect_uri(t->nbd, t->name) < 0)
		return target_report(t, "cannot connect");
	while (!ret && nbd_aio_is_connecting(t->nbd) > 0) {
		if (cancel_asked())
			return target_turn(t, 0);
		if (nbd_poll(t->nbd, CANCEL_POLL_MS) < 0)
			ret = target_report(t, "cannot connect");
	}
	if (!ret && nbd_aio_is_ready(t->nbd) <= 0)
		ret = target_report(t, "cannot connect");
	return ret;
}

static int open_file(struct target *t, int path)
{
	t->kind = TARGET_FILE;
	return target_file_open(t, path);
}

static int open_there(struct target *t, int path)
{
	struct stat st;

	if (fstat(path, &st) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return open_file(t, path);
	case S_IFBLK:
		t->kind = TARGET_DEVICE;
		return t->mark ? report_no_file(t) : target_device_open(t, path);
	case S_IFDIR:
		return err_report(VBLK_USAGE, t->name, "it is a directory");
	default:
		return err_report(VBLK_USAGE, t->name, "it is neither a file nor a block device");
	}
}

static int open_path(struct target *t)
{
	int path = open(t->name, O_PATH | O_CLOEXEC);
	int ret;

	if (path >= 0)
		ret = open_there(t, path);
	else if (errno == ENOENT)
		ret = open_file(t, -1);
	else
		ret = err_errno(errno, t->name, "cannot look at it");
	if (path >= 0)
		close(path);
	return ret;
}

/* What the server takes in one go, and where that may begin. */
static int check_blocks(struct target *t)
{
	int64_t min_bytes = nbd_get_block_size(t->nbd, LIBNBD_SIZE_MINIMUM);
	int64_t max_bytes = nbd_get_block_size(t->nbd, LIBNBD_SIZE_MAXIMUM);

	t->min_bytes = min_bytes > 0 ? min_bytes : 1;
	t->max_bytes = max_bytes > 0 && max_bytes < MAX_PIECE ? max_bytes : MAX_PIECE;
	t->unit = t->kind != TARGET_SERVER && !strcmp(t->format, "qcow2") ? TARGET_CLUSTER_BYTES :
									     MIN_UNIT;
	if (t->min_bytes > t->unit)
		t->unit = t->min_bytes;
	t->max_bytes &= -t->unit;
	if (t->unit & (t->unit - 1) || t->unit > TARGET_CLUSTER_BYTES || !t->max_bytes)
		return err_report(VBLK_UNSUPPORTED, t->name, "it takes blocks of %ju to %ju bytes",
				  (uintmax_t)min_bytes, (uintmax_t)max_bytes);
	return VBLK_OK;
}

static int check_server(struct target *t)
{
	int64_t size = nbd_get_size(t->nbd);
	int ret;

	if (size < 0)
		return target_report(t, "cannot tell its size");
	if (nbd_is_read_only(t->nbd) > 0)
		return err_report(VBLK_DENIED, t->name, "it is read-only");
	ret = check_blocks(t);
	if (ret)
		return ret;
	if ((uint64_t)size < t->bytes)
		return err_report(VBLK_USAGE, t->name, "too small: it has %jd bytes, the disk %ju",
				  (intmax_t)size, (uintmax_t)t->bytes);
	if ((uint64_t)size < ((t->bytes + t->min_bytes - 1) & -t->min_bytes))
		return err_report(VBLK_USAGE, t->name,
				  "too small: the disk ends in one of its blocks of %ju bytes",
				  (uintmax_t)t->min_bytes);
	return VBLK_OK;
}

static void begin(struct target *t)
{
	t->fd = -1;
	t->dir = -1;
	t->old_fd = -1;
}

static int check_path(struct target *t)
{
	int ret = child_check("qemu-nbd");

	if (!ret && !strcmp(t->format, "qcow2"))
		ret = child_check("qemu-img");
	return ret ? ret : open_path(t);
}

/**
 * target_check() - whether target_open() has a reason to fail, as far as that can be told
 * @t: as for that, with @is_dry. Many a server ends with its first client: none is connected to.
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int target_check(struct target *t)
{
	int ret;

	begin(t);
	ret = is_uri(t->name) ? check_uri(t) : check_path(t);
	target_abandon(t);
	return ret;
}

/**
 * target_claim() - make the file, or claim the device, for whoever writes to its descriptor
 * @t: as for target_open()
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int target_claim(struct target *t)
{
	int ret;

	begin(t);
	ret = is_uri(t->name) ? err_report(VBLK_UNSUPPORTED, t->name, "it is no path") : open_path(t);
	if (ret)
		target_abandon(t);
	return ret;
}

static int open_served(struct target *t)
{
	int ret = open_path(t);

	return ret ? ret : target_serve(t);
}

/**
 * target_open() - get ready to write
 * @t: @name, @disk, @bytes, @format, @is_compressed and @force are set, the rest is 0
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int target_open(struct target *t)
{
	int ret;

	begin(t);
	t->nbd = nbd_create();
	if (!t->nbd)
		return err_report(VBLK_FAILED, t->name, "%s", nbd_get_error());
	ret = is_uri(t->name) ? connect_uri(t) : open_served(t);
	if (!ret)
		ret = check_server(t);
	if (ret)
		target_abandon(t);
	return ret;
}

/* Of libnbd: 1 to forget the command. */
static int flushed(void *user_data, int *error)
{
	*(int *)user_data = *error;
	return 1;
}

static int flush(struct target *t)
{
	static int error;
	int ret = VBLK_OK;

	error = -1;
	if (nbd_can_flush(t->nbd) <= 0)
		return VBLK_OK;
	if (nbd_aio_flush(t->nbd, (nbd_completion_callback) { .callback = flushed,
							      .user_data = &error }, 0) < 0)
		return target_report(t, "cannot make it durable");
	while (!ret && error < 0)
		ret = target_turn(t, CANCEL_POLL_MS);
	if (ret || !error)
		return ret;
	return err_errno(error, t->name, "cannot make it durable");
}

/* Nothing depends on a server that does not close. One of ours does: then we are to look at it. */
static int say_goodbye(struct target *t)
{
	int waited_ms;

	nbd_aio_disconnect(t->nbd, 0);
	for (waited_ms = 0; waited_ms < GOODBYE_MS; waited_ms += CANCEL_POLL_MS) {
		if (nbd_aio_is_closed(t->nbd) > 0 || nbd_aio_is_dead(t->nbd) > 0)
			break;
		if (cancel_asked())
			return target_turn(t, 0);
		if (nbd_poll(t->nbd, CANCEL_POLL_MS) < 0)
			break;
	}
	nbd_close(t->nbd);
	t->nbd = NULL;
	return VBLK_OK;
}

/* A server is told; one of ours has to be gone: it has the file open, and locked. */
static int disconnect(struct target *t)
{
	int ret, status, err;

	ret = say_goodbye(t);
	if (ret || !t->server.pid)
		return ret;
	err = child_wait(&t->server, -1, true, &status);
	if (err == -EINTR)
		return err_report(VBLK_FAILED, t->disk, "the backup was cancelled");
	return err ? err_errno(-err, "qemu-nbd", "cannot wait for it") :
		     child_report("qemu-nbd", status);
}

/**
 * target_place() - the file or device is whole, and nobody writes to it: make it durable, and give it its name
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int target_place(struct target *t)
{
	int ret = VBLK_OK;

	if (t->kind == TARGET_DEVICE && fsync(t->fd) < 0)
		ret = err_errno(errno, t->name, "cannot make it durable");
	if (!ret && t->kind == TARGET_FILE)
		ret = target_file_name(t);
	if (!ret)
		t->is_touched = false;
	target_abandon(t);
	return ret;
}

/* When nobody writes to it any more. */
static int write_mark(const struct target *t)
{
	char path[TARGET_PATH_BYTES];

	target_fd_path(t, path);
	return mark_write(t->fd, path, t->name, t->mark);
}

/**
 * target_finish() - all is written: make it durable, and give it its name
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int target_finish(struct target *t)
{
	int ret;

	ret = flush(t);
	if (!ret)
		ret = disconnect(t);
	if (!ret && t->kind != TARGET_SERVER)
		ret = target_cut(t);
	if (!ret && t->mark)
		ret = write_mark(t);
	if (!ret)
		return target_place(t);
	target_abandon(t);
	return ret;
}

/** target_disconnect() - at once, whatever is in flight: buffers are ours again */
void target_disconnect(struct target *t)
{
	/* One of ours does not get to complain, nor to write what it still has. */
	child_signal(&t->server, SIGKILL);
	if (t->nbd)
		nbd_close(t->nbd);
	t->nbd = NULL;
}

/** target_abandon() - let go of it; what is not finished is of no use: a file goes */
void target_abandon(struct target *t)
{
	bool is_gone;

	target_disconnect(t);
	is_gone = child_kill(&t->server, SIGKILL);
	if (t->kind == TARGET_DEVICE && t->is_touched)
		target_device_wipe(t, is_gone);
	if (t->kind == TARGET_FILE)
		target_file_close(t);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->is_touched = false;
}
