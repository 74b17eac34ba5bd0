// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loop devices, and the files that they show. A file is told by its number: the path that sysfs has is one of another
 * mount namespace, or of a file that has lost its name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "loop.h"

static bool is_bound(const char *kname)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/%.31s/loop/backing_file", kname);
	return access(path, F_OK) == 0;
}

/**
 * loop_file() - what a loop device shows
 * @kname: its name in sysfs
 * @st: set to the number of the file, or to that of the block device
 *
 * Return: 0, -ENXIO when it is no loop device or shows nothing, another -errno.
 */
int loop_file(const char *kname, struct stat *st)
{
	struct loop_info64 info;
	char path[64];
	int fd, err;

	if (!is_bound(kname))
		return -ENXIO;
	snprintf(path, sizeof(path), "/dev/%.31s", kname);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = ioctl(fd, LOOP_GET_STATUS64, &info) < 0 ? -errno : 0;
	close(fd);
	if (err)
		return err;
	*st = (struct stat){
		.st_mode = info.lo_rdevice ? S_IFBLK : S_IFREG,
		.st_dev = info.lo_device,
		.st_ino = info.lo_inode,
		.st_rdev = info.lo_rdevice,
	};
	return 0;
}

/**
 * loop_of_file() - which loop device shows a file
 * @st: of the file
 * @kname: set to its name
 *
 * Return: 0, -ENXIO when none does, another -errno when that cannot be told.
 */
int loop_of_file(const struct stat *st, char kname[LOOP_NAME_SIZE])
{
	DIR *dir = opendir("/sys/block");
	struct dirent *de;
	struct stat shown;
	int err = -ENXIO;

	while (dir && err == -ENXIO && (de = readdir(dir))) {
		if (strncmp(de->d_name, "loop", 4) != 0)
			continue;
		snprintf(kname, LOOP_NAME_SIZE, "%.31s", de->d_name);
		err = loop_file(kname, &shown);
		if (!err && (shown.st_ino != st->st_ino || shown.st_dev != st->st_dev))
			err = -ENXIO;
	}
	if (dir)
		closedir(dir);
	return err;
}
