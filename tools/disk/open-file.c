// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which process has a file or a block device open, from /proc.
 *
 * Any other descriptor of any process may be on a file system whose server is
 * gone, where even stat() never returns. So a file is asked about only when
 * procfs alone has said that it may be the one: fdinfo has the mount and the
 * inode number, mountinfo the file system of the mount.
 */
#include <ctype.h>
#include <dirent.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "open-file.h"

/**
 * struct wanted - what an open file must look like to be the one
 * @file: the file, or a block device by its st_rdev
 * @fs: the file system that a regular file is on, as mountinfo has it
 * @must_lock: holds an OFD lock
 * @except: a process that does not count
 */
struct wanted {
	struct stat file;
	dev_t fs;
	bool must_lock;
	pid_t except;
};

/**
 * struct mounts - the mounts that a process sees
 * @table: them, or NULL
 * @ns: of this mount namespace
 */
struct mounts {
	struct libmnt_table *table;
	ino_t ns;
};

/* What fdinfo says of a descriptor */
struct fdinfo {
	unsigned long long ino;
	int mount_id;
	bool has_ofd_lock;
};

static bool read_fdinfo(const char *pid, const char *fd, struct fdinfo *info)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.10s/fdinfo/%.10s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	*info = (struct fdinfo){ .mount_id = -1 };
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "mnt_id: %d", &info->mount_id) == 1 ||
		    sscanf(line, "ino: %llu", &info->ino) == 1)
			continue;
		if (!strncmp(line, "lock:", 5) && strstr(line, "OFDLCK"))
			info->has_ofd_lock = true;
	}
	fclose(f);
	return info->mount_id >= 0;
}

/* Processes of one namespace come in a row more often than not. */
static void load_mounts(struct mounts *m, const char *pid)
{
	char path[64];
	struct stat ns;

	snprintf(path, sizeof(path), "/proc/%.10s/ns/mnt", pid);
	if (stat(path, &ns) < 0)
		ns.st_ino = 0;
	if (m->table && ns.st_ino && ns.st_ino == m->ns)
		return;
	mnt_unref_table(m->table);
	snprintf(path, sizeof(path), "/proc/%.10s/mountinfo", pid);
	m->table = mnt_new_table_from_file(path);
	m->ns = ns.st_ino;
}

static struct libmnt_fs *find_mount(const struct mounts *m, int id)
{
	struct libmnt_iter *iter;
	struct libmnt_fs *fs = NULL;
	bool found = false;

	iter = m->table ? mnt_new_iter(MNT_ITER_FORWARD) : NULL;
	if (!iter)
		return NULL;
	while (!found && mnt_table_next_fs(m->table, iter, &fs) == 0)
		found = mnt_fs_get_id(fs) == id;
	mnt_free_iter(iter);
	return found ? fs : NULL;
}

/* Has its files in memory or on a device of this host, where looking at one ends. */
static bool is_local(struct libmnt_fs *fs)
{
	static const char *const types[] = {
		"devtmpfs", "tmpfs", "ramfs", "btrfs",
	};
	const char *type = mnt_fs_get_fstype(fs);

	if (major(mnt_fs_get_devno(fs)))
		return strncmp(type ?: "fuse", "fuse", 4) != 0;
	for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

static bool may_look(const struct wanted *want, const struct mounts *m,
		     const struct fdinfo *info)
{
	struct libmnt_fs *fs;

	if (S_ISREG(want->file.st_mode) && info->ino != want->file.st_ino)
		return false;
	if (want->must_lock && !info->has_ofd_lock)
		return false;
	fs = find_mount(m, info->mount_id);
	if (!fs)
		return false;
	if (S_ISREG(want->file.st_mode))
		return mnt_fs_get_devno(fs) == want->fs;
	return is_local(fs);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
		return false;
	if (S_ISBLK(a->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Sockets, pipes and the like have no path. */
static bool has_path(int dir, const char *fd)
{
	char first;

	return isdigit(fd[0]) && readlinkat(dir, fd, &first, 1) == 1 &&
	       first == '/';
}

static bool process_has(const char *pid, const struct wanted *want,
			struct mounts *m)
{
	bool found = false, is_loaded = false;
	struct fdinfo info;
	struct dirent *de;
	struct stat st;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.10s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (!has_path(dirfd(dir), de->d_name) ||
		    !read_fdinfo(pid, de->d_name, &info))
			continue;
		if (!is_loaded)
			load_mounts(m, pid);
		is_loaded = true;
		found = may_look(want, m, &info) &&
			fstatat(dirfd(dir), de->d_name, &st, 0) == 0 &&
			is_same_file(&st, &want->file);
	}
	closedir(dir);
	return found;
}

static void read_command(const char *pid, char *comm, size_t size)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.10s/comm", pid);
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
	struct mounts mounts = {};
	bool found = false;
	struct dirent *de;
	char comm[32];
	pid_t pid;

	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		pid = atoi(de->d_name);
		if (pid <= 0 || pid == getpid() || pid == want->except ||
		    !process_has(de->d_name, want, &mounts))
			continue;
		read_command(de->d_name, comm, sizeof(comm));
		if (is_passer_by(comm))
			continue;
		snprintf(who, size, "process %d (%s)", pid, comm);
		found = true;
	}
	mnt_unref_table(mounts.table);
	closedir(dir);
	return found;
}

/* The file system of one of our own descriptors, as mountinfo has it. */
static bool find_own_fs(int fd, dev_t *dev)
{
	struct mounts mounts = {};
	struct libmnt_fs *fs;
	struct fdinfo info;
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	if (!read_fdinfo("self", number, &info))
		return false;
	load_mounts(&mounts, "self");
	fs = find_mount(&mounts, info.mount_id);
	if (fs)
		*dev = mnt_fs_get_devno(fs);
	mnt_unref_table(mounts.table);
	return fs;
}

static bool find_process_with(int fd, bool must_lock, char *who, size_t size)
{
	struct wanted want = { .must_lock = must_lock };

	if (fstat(fd, &want.file) < 0)
		return false;
	if (S_ISREG(want.file.st_mode) && !find_own_fs(fd, &want.fs))
		return false;
	return find_process(&want, who, size);
}

/**
 * open_file_locker() - which other process holds an OFD lock on a file
 * @fd: a descriptor of the file or block device
 * @who: set to a phrase like "process 812 (qemu-system-x86)"
 * @size: of @who
 *
 * Return: false when no process that is visible here does.
 */
bool open_file_locker(int fd, char *who, size_t size)
{
	return find_process_with(fd, true, who, size);
}

/**
 * open_file_opener() - which other process has a file open
 * @fd: a descriptor of the file or block device
 * @who: set to a phrase like "process 812 (nbdkit)"
 * @size: of @who
 *
 * Return: false when no process that is visible here has.
 */
bool open_file_opener(int fd, char *who, size_t size)
{
	return find_process_with(fd, false, who, size);
}

/**
 * open_file_user() - which other process has a block device open
 * @dev: the device
 * @except: a process that does not count, or 0
 * @who: set to a phrase like "process 812 (dd)"
 * @size: of @who
 *
 * Return: false when no process that is visible here has.
 */
bool open_file_user(dev_t dev, pid_t except, char *who, size_t size)
{
	struct wanted want = {
		.file.st_mode = S_IFBLK,
		.file.st_rdev = dev,
		.except = except,
	};

	return find_process(&want, who, size);
}
