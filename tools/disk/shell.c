// SPDX-License-Identifier: GPL-2.0-only
/*
 * With a shell around it the kernel writes to a raw image as to any that it has as a top: with its locks, to its own length, and
 * durable when it says so. All of its clusters are mapped from the beginning, each to its own place, so the shell never
 * changes, and another one is as good. It is a file beside the images, where direct I/O works, called .DEVICE. What a device
 * has is taken again, as a host that is full has no room for another.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dm-qcow2/format/header.h"
#include "layers.h"
#include "live.h"
#include "qemu-img.h"
#include "shell.h"

#define TEXT_BYTES	128

/* A shell takes five clusters, and 8 bytes for each cluster of the raw image. */
#define LARGE_BYTES	(64ULL << 30)
#define CLUSTER_SIZE	"64k"
#define LARGE_CLUSTER	"2M"

static int reopen(int fd)
{
	char self[32];
	int other;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	other = open(self, O_RDWR | O_DIRECT | O_CLOEXEC);
	return other < 0 ? -errno : other;
}

/* The file itself is opened when it is known to be the one that the kernel has. */
static int open_own(const struct dmdev *d, const char *path)
{
	struct stat st;
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), own = -ESTALE;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && live_is_image(d->name, 0, &st) == 1)
		own = reopen(fd);
	close(fd);
	return own;
}

/**
 * shell_path() - the one that a device has
 *
 * Return: its path, by the kernel's word, which the caller frees; NULL when it has none.
 */
char *shell_path(const struct dmdev *d)
{
	struct layers layers;
	char *path = NULL;
	uint64_t bytes;

	if (!layers_of_device(d->name, &bytes, &layers) && layers.n == 1 && layers.list[0].data)
		path = strdup(layers.list[0].path);
	layers_free(&layers);
	return path;
}

/**
 * shell_take() - open the one that a device has
 * @bytes: set to how much of the raw image it maps
 * @fd: set to it, for reading and writing
 *
 * Return: 0, -ESTALE when there is none any more, another -errno.
 */
int shell_take(const struct dmdev *d, uint64_t *bytes, int *fd)
{
	char *path = shell_path(d);
	struct qcow2_header h;

	*fd = path ? open_own(d, path) : -ESTALE;
	free(path);
	if (*fd < 0)
		return *fd == -ENOENT ? -ESTALE : *fd;
	if (live_read_header(*fd, &h)) {
		close(*fd);
		return -ESTALE;
	}
	*bytes = h.size;
	return 0;
}

/* The image's own directory: where somebody may swap directories, not another one of that name. */
static int open_directory(const struct live_image *beside)
{
	const char *name = strrchr(beside->path, '/') + 1;
	char dir[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", (int)(name - beside->path), beside->path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatat(fd, name, &st, 0) == 0 && image_is_same(&st, &beside->st))
		return fd;
	close(fd);
	return -ESTALE;
}

static int make_name(const struct dmdev *d, const char *suffix, char name[NAME_MAX + 1])
{
	return snprintf(name, NAME_MAX + 1, ".%s%s", d->name, suffix) <= NAME_MAX ? 0 : -ENAMETOOLONG;
}

/* What is not like one is not ours to remove. */
static int remove_file(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid || (st.st_mode & 07777) != 0600 || st.st_nlink != 1)
		return -EEXIST;
	return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

/* Who was killed has left one. */
static int open_new(int dir, const char *name)
{
	int fd, err = remove_file(dir, name);

	if (err && err != -ENOENT)
		return err;
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int put_in_place(int dir, const char *unfinished, const char *name)
{
	int err = remove_file(dir, name);

	if (err && err != -ENOENT)
		return err;
	return renameat(dir, unfinished, dir, name) < 0 ? -errno : 0;
}

/* QEMU makes the data file anew, so that is another one, in memory, which takes none. */
static int fill(const struct dmdev *d, int shell, uint64_t bytes)
{
	struct live_image files[2] = { { .fd = shell }, { .fd = memfd_create("data", MFD_CLOEXEC) } };
	struct live_chain both = { .list = files, .n = 2 };
	char options[TEXT_BYTES], path[TEXT_BYTES], size[TEXT_BYTES];
	const char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, size, NULL };
	struct statvfs room;
	int ret;

	if (files[1].fd < 0)
		return -errno;
	snprintf(options, sizeof(options),
		 "data_file=/proc/self/fd/%d,data_file_raw=on,preallocation=metadata,cluster_size=%s",
		 files[1].fd, bytes < LARGE_BYTES ? CLUSTER_SIZE : LARGE_CLUSTER);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shell);
	snprintf(size, sizeof(size), "%ju", (uintmax_t)bytes);
	ret = qemu_run(&both, argv, d->name);
	close(files[1].fd);
	if (!ret)
		return fsync(shell) < 0 ? -errno : 0;
	return fstatvfs(shell, &room) == 0 && !room.f_bavail ? -ENOSPC : -EIO;
}

static int make(const struct dmdev *d, int dir, uint64_t bytes, int *fd)
{
	char name[NAME_MAX + 1], unfinished[NAME_MAX + 1];
	int err, shell;

	err = make_name(d, "", name) ?: make_name(d, ".new", unfinished);
	if (err)
		return err;
	shell = open_new(dir, unfinished);
	if (shell < 0)
		return shell;
	err = fill(d, shell, bytes) ?: put_in_place(dir, unfinished, name);
	*fd = err ? err : reopen(shell);
	close(shell);
	if (*fd >= 0)
		return 0;
	unlinkat(dir, err ? unfinished : name, 0);
	return *fd;
}

/**
 * shell_make() - make one
 * @d: the device that is to have it
 * @beside: an image in a directory where direct I/O works
 * @bytes: the length of the raw image
 * @fd: set to it, for reading and writing
 *
 * It takes the name of one that the device has. Return: 0 or -errno; that one is as it was then.
 */
int shell_make(const struct dmdev *d, const struct live_image *beside, uint64_t bytes, int *fd)
{
	int dir = open_directory(beside), err;

	if (dir < 0)
		return dir;
	err = make(d, dir, bytes, fd);
	close(dir);
	return err;
}

/** shell_undo() - remove what is left of one that the device did not get */
void shell_undo(const struct dmdev *d, const struct live_image *beside)
{
	static const char *const suffixes[] = { "", ".new" };
	int dir = open_directory(beside);
	char name[NAME_MAX + 1];

	for (size_t i = 0; i < 2 && dir >= 0; i++)
		if (!make_name(d, suffixes[i], name))
			remove_file(dir, name);
	if (dir >= 0)
		close(dir);
}

/**
 * shell_look() - which file the shell of a device is
 * @file: set to it
 *
 * Return: whether it has one, whose name is still that file's.
 */
bool shell_look(const struct dmdev *d, struct live_image *file)
{
	char *path = shell_path(d);
	bool is_it = path && strlen(path) < PATH_MAX && lstat(path, &file->st) == 0 &&
		     live_is_image(d->name, 0, &file->st) == 1;

	if (is_it)
		strcpy(file->path, path);
	free(path);
	return is_it;
}

/** shell_remove() - remove one that shell_look() has found, and no device has any more */
void shell_remove(const struct live_image *file)
{
	int dir = open_directory(file);

	if (dir < 0)
		return;
	unlinkat(dir, strrchr(file->path, '/') + 1, 0);
	close(dir);
}
