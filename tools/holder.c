// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who holds an image or a block device, in words for an error message.
 *
 * The kernel does not name the owner of an OFD lock (F_OFD_GETLK gives pid -1),
 * and "busy" from the device mapper names nobody, so look where holders show:
 * open files in /proc, mounts, swap areas, stacked block devices in sysfs.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "holder.h"

/* What an open file must look like to be the one that is searched for. */
struct wanted {
	struct stat file;
	bool must_lock;
	pid_t except;
};

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
		return false;
	if (S_ISBLK(a->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_ofd_lock(pid_t pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.10s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5) && strstr(line, "OFDLCK");
	fclose(f);
	return found;
}

static bool process_has(pid_t pid, const struct wanted *want)
{
	struct dirent *de;
	bool found = false;
	struct stat st;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (!isdigit(de->d_name[0]) ||
		    fstatat(dirfd(dir), de->d_name, &st, 0) < 0 ||
		    !is_same_file(&st, &want->file))
			continue;
		found = !want->must_lock || has_ofd_lock(pid, de->d_name);
	}
	closedir(dir);
	return found;
}

static void read_command(pid_t pid, char *comm, size_t size)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(comm, size, f))
		snprintf(comm, size, "?");
	comm[strcspn(comm, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* Workers of udev look at every new device and leave within milliseconds. */
static bool is_passer_by(const char *comm)
{
	return !strcmp(comm, "(udev-worker)") || !strcmp(comm, "systemd-udevd");
}

static bool find_process(const struct wanted *want, char *who, size_t size)
{
	DIR *dir = opendir("/proc");
	bool found = false;
	struct dirent *de;
	char comm[32];
	pid_t pid;

	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		pid = atoi(de->d_name);
		if (pid <= 0 || pid == getpid() || pid == want->except ||
		    !process_has(pid, want))
			continue;
		read_command(pid, comm, sizeof(comm));
		if (is_passer_by(comm))
			continue;
		snprintf(who, size, "process %d (%s)", pid, comm);
		found = true;
	}
	closedir(dir);
	return found;
}

/**
 * holder_of_image() - which process holds QEMU locks on an image
 * @image: the image
 * @who: set to a phrase like "process 812 (qemu-system-x86)"
 * @size: of @who
 *
 * Return: false when no visible process holds one.
 */
bool holder_of_image(const struct stat *image, char *who, size_t size)
{
	struct wanted want = {
		.file = *image,
		.must_lock = true,
	};

	return find_process(&want, who, size);
}

static bool find_mount(dev_t dev, char *who, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned int maj, min;
	bool found = false;
	char line[4096], where[1024];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d %*d %u:%u %*s %1023s", &maj, &min,
			   where) != 3 || makedev(maj, min) != dev)
			continue;
		snprintf(who, size, "it is mounted on %s", where);
		found = true;
	}
	fclose(f);
	return found;
}

static bool find_swap(dev_t dev, char *who, size_t size)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[1024], path[512];
	bool found = false;
	struct stat st;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%511s", path) != 1 || stat(path, &st) < 0 ||
		    !S_ISBLK(st.st_mode) || st.st_rdev != dev)
			continue;
		snprintf(who, size, "it is a swap area");
		found = true;
	}
	fclose(f);
	return found;
}

static void name_stacked(const char *kname, char *who, size_t size)
{
	char path[300], name[128] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/dm/name", kname);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof(name), f)) {
		name[strcspn(name, "\n")] = '\0';
		snprintf(who, size, "/dev/mapper/%s is on it", name);
	} else {
		snprintf(who, size, "/dev/%s is on it", kname);
	}
	if (f)
		fclose(f);
}

static bool find_stacked(dev_t dev, char *who, size_t size)
{
	bool found = false;
	struct dirent *de;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders",
		 major(dev), minor(dev));
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
	struct wanted want = {
		.file.st_mode = S_IFBLK,
		.file.st_rdev = dev,
		.except = except,
	};

	if (find_mount(dev, who, size) || find_swap(dev, who, size) ||
	    find_stacked(dev, who, size))
		return true;
	if (!find_process(&want, who, size))
		return false;
	strncat(who, " has it open", size - strlen(who) - 1);
	return true;
}
