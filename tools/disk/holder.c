// SPDX-License-Identifier: GPL-2.0-only
/*
 * What keeps a block device busy, in words for an error message.
 *
 * "Busy" from the device mapper names nobody, so look where holders show: mounts,
 * swap areas, stacked block devices, loop devices, journals of file systems,
 * open files. Nothing here asks a file system about a file of its own: paths
 * are looked at under /dev only.
 */
#include <dirent.h>
#include <libmount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "holder.h"
#include "open-file.h"

/* A block device by its number, and by the name that sysfs has for it. */
struct device {
	dev_t dev;
	char kname[64];
};

static void name_device(struct device *d, dev_t dev)
{
	char path[64], target[256];
	const char *base;
	ssize_t len;

	d->dev = dev;
	d->kname[0] = '\0';
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev),
		 minor(dev));
	len = readlink(path, target, sizeof(target) - 1);
	if (len <= 0)
		return;
	target[len] = '\0';
	base = strrchr(target, '/');
	snprintf(d->kname, sizeof(d->kname), "%.63s",
		 base ? base + 1 : target);
}

static bool is_node_of(const char *path, const struct device *d)
{
	struct stat st;

	return path && !strncmp(path, "/dev/", 5) && stat(path, &st) == 0 &&
	       S_ISBLK(st.st_mode) && st.st_rdev == d->dev;
}

static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(line, size, f);

	if (ok)
		line[strcspn(line, "\n")] = '\0';
	if (f)
		fclose(f);
	return ok;
}

/* Mounts */

/* XFS has its log, and the data of some files, on devices of their own. */
static bool has_option_device(struct libmnt_fs *fs, const struct device *d)
{
	static const char *const names[] = { "logdev", "rtdev" };
	const char *options = mnt_fs_get_fs_options(fs);
	char *value, path[512];
	size_t len;

	for (int i = 0; options && i < 2; i++) {
		if (mnt_optstr_get_option(options, names[i], &value, &len) ||
		    len >= sizeof(path))
			continue;
		snprintf(path, sizeof(path), "%.*s", (int)len, value);
		if (is_node_of(path, d))
			return true;
	}
	return false;
}

/* A btrfs has a number of its own for a device, and any number of them. */
static bool is_on_btrfs_of(struct libmnt_fs *fs, const char *devices)
{
	const char *source = mnt_fs_get_source(fs);
	const char *type = mnt_fs_get_fstype(fs);
	char path[512];
	struct device d;
	struct stat st;

	if (!type || strcmp(type, "btrfs") != 0 || !source ||
	    strncmp(source, "/dev/", 5) != 0 || stat(source, &st) < 0)
		return false;
	name_device(&d, st.st_rdev);
	snprintf(path, sizeof(path), "%.400s/%s", devices, d.kname);
	return *d.kname && access(path, F_OK) == 0;
}

/**
 * struct use - a device that a mounted file system may use
 * @d: the device
 * @btrfs: the directory in sysfs of the btrfs that has it, or ""
 */
struct use {
	struct device d;
	char btrfs[320];
};

static void find_btrfs(struct use *u)
{
	DIR *dir = opendir("/sys/fs/btrfs");
	struct dirent *de;
	char path[400];

	u->btrfs[0] = '\0';
	if (!dir)
		return;
	while (!*u->btrfs && (de = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices/%s",
			 de->d_name, u->d.kname);
		if (de->d_name[0] != '.' && access(path, F_OK) == 0)
			snprintf(u->btrfs, sizeof(u->btrfs),
				 "/sys/fs/btrfs/%s/devices", de->d_name);
	}
	closedir(dir);
}

static bool is_used_by(struct libmnt_fs *fs, const struct use *u)
{
	return mnt_fs_get_devno(fs) == u->d.dev ||
	       has_option_device(fs, &u->d) ||
	       (*u->btrfs && is_on_btrfs_of(fs, u->btrfs));
}

static bool find_mount(const struct device *d, char *who, size_t size)
{
	struct use use = { .d = *d };
	struct libmnt_table *table;
	struct libmnt_iter *iter;
	struct libmnt_fs *fs;
	bool found = false;

	find_btrfs(&use);
	table = mnt_new_table_from_file("/proc/self/mountinfo");
	iter = mnt_new_iter(MNT_ITER_FORWARD);
	while (table && iter && !found &&
	       mnt_table_next_fs(table, iter, &fs) == 0) {
		found = is_used_by(fs, &use);
		if (found)
			snprintf(who, size, "it is mounted on %s",
				 mnt_fs_get_target(fs));
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
	if (!found && *use.btrfs)
		snprintf(who, size, "it is part of a btrfs");
	return found || *use.btrfs;
}

/* Journals of ext4 */

/* The journal's thread is named after the device that it writes to. */
static bool is_journal_of(const char *fs, const struct device *d)
{
	char path[320], line[64], want[80];
	size_t len;

	snprintf(path, sizeof(path), "/sys/fs/ext4/%s/journal_task", fs);
	if (!read_line(path, line, sizeof(line)))
		return false;
	snprintf(path, sizeof(path), "/proc/%.10s/comm", line);
	if (!read_line(path, line, sizeof(line)))
		return false;
	/* No more than 15 characters of it. */
	len = snprintf(want, sizeof(want), "jbd2/%s", d->kname);
	return len <= 15 ? !strcmp(line, want) : !strncmp(line, want, 15);
}

/* A journal inside of its file system has an inode number behind the device. */
static bool find_journal(const struct device *d, char *who, size_t size)
{
	char path[128];
	struct dirent *de;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/fs/jbd2/%s", d->kname);
	if (!*d->kname || access(path, F_OK) < 0)
		return false;
	dir = opendir("/sys/fs/ext4");
	while (dir && !found && (de = readdir(dir))) {
		found = de->d_name[0] != '.' && is_journal_of(de->d_name, d);
		if (found)
			snprintf(who, size, "it is the journal of /dev/%s",
				 de->d_name);
	}
	if (dir)
		closedir(dir);
	if (!found)
		snprintf(who, size, "it is the journal of a file system");
	return true;
}

/* Block devices on it */

static bool find_swap(const struct device *d, char *who, size_t size)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[1024], path[512], type[32];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%511s %31s", path, type) != 2 ||
		    strcmp(type, "partition") != 0 || !is_node_of(path, d))
			continue;
		snprintf(who, size, "it is a swap area");
		found = true;
	}
	fclose(f);
	return found;
}

static void name_stacked(const char *kname, char *who, size_t size)
{
	char path[300], name[128];

	snprintf(path, sizeof(path), "/sys/block/%s/dm/name", kname);
	if (read_line(path, name, sizeof(name)))
		snprintf(who, size, "/dev/mapper/%s is on it", name);
	else
		snprintf(who, size, "/dev/%s is on it", kname);
}

static bool find_stacked(const struct device *d, char *who, size_t size)
{
	bool found = false;
	struct dirent *de;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders",
		 major(d->dev), minor(d->dev));
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		name_stacked(de->d_name, who, size);
		found = true;
	}
	closedir(dir);
	return found;
}

/* A loop device is no holder for sysfs. */
static bool find_loop(const struct device *d, char *who, size_t size)
{
	char path[300], backing[512];
	bool found = false;
	struct dirent *de;
	DIR *dir;

	dir = opendir("/sys/block");
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (strncmp(de->d_name, "loop", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file",
			 de->d_name);
		found = read_line(path, backing, sizeof(backing)) &&
			is_node_of(backing, d);
		if (found)
			snprintf(who, size, "the loop device /dev/%s is on it",
				 de->d_name);
	}
	closedir(dir);
	return found;
}

/**
 * holder_of_device() - what keeps a block device busy
 * @dev: the device
 * @except: a process that does not count, the disk's own server
 * @who: set to a phrase like "it is mounted on /mnt"
 * @size: of @who
 *
 * Return: false when nothing visible holds it.
 */
bool holder_of_device(dev_t dev, pid_t except, char *who, size_t size)
{
	struct device d;

	name_device(&d, dev);
	if (find_mount(&d, who, size) || find_journal(&d, who, size) ||
	    find_swap(&d, who, size) || find_stacked(&d, who, size) ||
	    find_loop(&d, who, size))
		return true;
	if (!open_file_user(dev, except, who, size))
		return false;
	strncat(who, " has it open", size - strlen(who) - 1);
	return true;
}
