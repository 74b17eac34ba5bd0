// SPDX-License-Identifier: GPL-2.0-only
/* Small files that are there after a power cut, whole or as they were before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "durable.h"

/** durable_directory() - make the names in it durable; 0 or -errno */
int durable_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int write_file(const char *path, const char *text)
{
	size_t bytes = strlen(text);
	int fd, err = 0;
	ssize_t n;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, text, bytes);
	if (n != (ssize_t)bytes)
		err = n < 0 ? -errno : -ENOSPC;
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

/**
 * durable_replace() - give a file other contents
 * @dir: what it is in
 * @path: the file; need not be there
 * @new: a name beside it that nobody else uses
 * @text: what is to be in it
 *
 * Return: 0; or -errno, and it may have been replaced nevertheless.
 */
int durable_replace(const char *dir, const char *path, const char *new, const char *text)
{
	int err = write_file(new, text);

	if (!err && rename(new, path) < 0)
		err = -errno;
	if (err)
		unlink(new);
	return err ? err : durable_directory(dir);
}
