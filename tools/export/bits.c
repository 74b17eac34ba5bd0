// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bitmaps of a frozen disk, in an image that QEMU reads: of the disk's size, without any data, and without a name.
 *
 * QEMU makes the bitmaps, and marks in them what it is told to discard. In an image that has nothing that leaves
 * everything unallocated, so that its contents are those of whatever is put below it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backup/child.h"
#include "backup/extents.h"
#include "bits.h"
#include "cmd/err.h"
#include "disk/bitmaps.h"

#define TEMPORARY_DIR	"/var/tmp"
#define SECTOR_BYTES	512

/* How often is looked for signals. */
#define POLL_MS		100

/* Of the largest clusters there are few tables. */
#define CREATE_OPTIONS	"cluster_size=2M"

/**
 * struct bits - the image on its way
 * @disk: name of the disk
 * @view: name of the device that shows it
 * @size: of the disk, in bytes
 * @path: of the image, for QEMU's programs
 */
struct bits {
	const char *disk;
	const char *view;
	uint64_t size;
	char path[32];
};

static int make_file(void)
{
	int fd = open(TEMPORARY_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : memfd_create("vblk-bitmaps", MFD_CLOEXEC);
}

static int create(const struct bits *b)
{
	char size[24];
	const char *const argv[] = {
		"qemu-img", "create", "-q", "-f", "qcow2", "-o", CREATE_OPTIONS, b->path, size, NULL
	};

	snprintf(size, sizeof(size), "%ju", (uintmax_t)b->size);
	return child_run(argv);
}

static int add_bitmap(const struct bits *b, const struct bitmap *bitmap)
{
	char granularity[24];
	const char *const argv[] = {
		"qemu-img", "bitmap", "--add", "-g", granularity, "-f", "qcow2", "--", b->path,
		bitmap->name, NULL
	};

	snprintf(granularity, sizeof(granularity), "%ju", (uintmax_t)bitmap->granularity);
	return child_run(argv);
}

/* The marks of the next one are not for it. */
static int disable(const struct bits *b, const struct bitmap *bitmap)
{
	const char *const argv[] = {
		"qemu-img", "bitmap", "--disable", "-f", "qcow2", "--", b->path, bitmap->name, NULL
	};

	return child_run(argv);
}

/* Signals are blocked until it serves. */
static bool is_to_end(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigpending(&set);
	return sigismember(&set, SIGHUP) || sigismember(&set, SIGINT) || sigismember(&set, SIGTERM);
}

static int tell(const struct bits *b, const struct bitmap *bitmap, FILE *to)
{
	struct extents e = {
		.view = b->view, .bitmap = bitmap->name, .size = b->size, .unit = SECTOR_BYTES
	};
	struct extent extent;
	int more = 0;

	while (!is_to_end() && (more = extents_next(&e, &extent)) > 0)
		if (!extent.is_zero)
			fprintf(to, "discard -q %" PRIu64 " %" PRIu64 "\n", extent.offset,
				extent.bytes);
	extents_end(&e);
	return more < 0 ? err_errno(-more, b->disk, "cannot tell what has changed by bitmap '%s'",
				    bitmap->name) : VBLK_OK;
}

static int wait_for(const struct bits *b, struct child *c, const char *program)
{
	int status, err;

	do
		err = child_wait(c, POLL_MS, false, &status);
	while (err == -ETIMEDOUT && !is_to_end());
	if (!err && !is_to_end())
		return child_report(program, status);
	child_kill(c, SIGKILL);
	return err && err != -ETIMEDOUT ? err_errno(-err, program, "cannot wait for it") :
					  err_report(VBLK_FAILED, b->disk, "the export was cancelled");
}

static int mark(const struct bits *b, const struct bitmap *bitmap)
{
	const char *const argv[] = { "qemu-io", "-d", "unmap", "-f", "qcow2", b->path, NULL };
	int pipefd[2], err, ret, end_ret;
	struct child c;
	FILE *to;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(errno, argv[0], "cannot run it");
	err = child_start_fed(&c, argv, pipefd[0]);
	close(pipefd[0]);
	to = err ? NULL : fdopen(pipefd[1], "w");
	if (!to) {
		close(pipefd[1]);
		return err_errno(err ? -err : errno, argv[0], "cannot run it");
	}
	ret = tell(b, bitmap, to);
	/* It fails if it has not read all of it; not if it has not stored it. */
	fclose(to);
	end_ret = wait_for(b, &c, argv[0]);
	return ret ? ret : end_ret;
}

static int put_bitmap(const struct bits *b, const struct bitmap *bitmap, bool is_last)
{
	int ret = add_bitmap(b, bitmap);

	if (!ret)
		ret = mark(b, bitmap);
	return ret || is_last ? ret : disable(b, bitmap);
}

static int check(const struct bits *b, const struct bitmaps *known, const char *const names[],
		 size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!bitmaps_find(known, names[i]))
			return err_report(VBLK_NOT_FOUND, b->disk,
					  "it had no bitmap '%s' that recorded", names[i]);
	return VBLK_OK;
}

/* QEMU's programs do not fail if they have no room for them. */
static int check_stored(const struct bits *b, int fd, const char *const names[], size_t n)
{
	const struct bitmap *bitmap;
	struct bitmaps now;
	int ret = VBLK_OK;

	if (bitmaps_read_image(fd, &now))
		bitmaps_free(&now);
	for (size_t i = 0; i < n && !ret; i++) {
		bitmap = bitmaps_find(&now, names[i]);
		if (!bitmap || bitmap->state == BITMAP_IN_USE)
			ret = err_report(VBLK_FAILED, b->disk, "bitmap '%s' was not stored in "
					 TEMPORARY_DIR, names[i]);
	}
	bitmaps_free(&now);
	return ret;
}

static int fill(const struct bits *b, const char *const names[], size_t n)
{
	struct bitmaps known;
	int err, ret;

	err = bitmaps_ask(b->view, &known);
	ret = err ? err_errno(-err, b->disk, "cannot read its bitmaps") :
		    check(b, &known, names, n);
	if (!ret)
		ret = create(b);
	for (size_t i = 0; i < n && !ret; i++)
		ret = put_bitmap(b, bitmaps_find(&known, names[i]), i + 1 == n);
	bitmaps_free(&known);
	return ret;
}

/**
 * bits_check() - whether there are bitmaps of these names that record
 * @disk: name of the disk
 * @device: of it, or of what shows it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bits_check(const char *disk, const char *device, const char *const names[], size_t n)
{
	const struct bits b = { .disk = disk };
	struct bitmaps known;
	int err, ret;

	err = bitmaps_ask(device, &known);
	ret = err ? err_errno(-err, disk, "cannot read its bitmaps") : check(&b, &known, names, n);
	bitmaps_free(&known);
	return ret;
}

/**
 * bits_make() - make the image
 * @disk: name of the disk
 * @view: name of the device that shows it
 * @size: of the disk, in bytes
 * @names: of the bitmaps
 * @n: how many
 * @fd: set to the image
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bits_make(const char *disk, const char *view, uint64_t size, const char *const names[],
	      size_t n, int *fd)
{
	struct bits b = { .disk = disk, .view = view, .size = size };
	int ret;

	*fd = make_file();
	if (*fd < 0)
		return err_errno(errno, disk, "cannot make a temporary file");
	snprintf(b.path, sizeof(b.path), "/proc/%d/fd/%d", getpid(), *fd);
	ret = fill(&b, names, n);
	if (!ret)
		ret = check_stored(&b, *fd, names, n);
	if (ret) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}
