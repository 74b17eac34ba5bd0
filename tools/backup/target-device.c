// SPDX-License-Identifier: GPL-2.0-only
/*
 * A backup on a block device: one that nobody uses, and nothing is on, or by force whatever is on it; but never a disk
 * that is attached, what is on one, or below one.
 */
#include <blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd/err.h"
#include "disk/below.h"
#include "disk/dm.h"
#include "disk/holder.h"
#include "disk/live.h"
#include "disk/lock.h"
#include "disk/loop.h"
#include "disk/open-file.h"
#include "target.h"

/* Nothing is on a device whose first bytes are zero, if blkid knows of nothing either. */
#define LOOKED_AT_BYTES	(1UL << 20)

/* Without these it is no image, no file system, and has no partitions. At its end a copy of a partition table may be. */
#define WIPED_BYTES	(1UL << 20)

static int check_image(const struct target *t, const struct stat *st)
{
	struct dmdev nobody = {}, d;
	int found = live_find_other(&nobody, st, &d);

	if (found > 0)
		return err_report(VBLK_BUSY, t->name, "it is an image of the disk %s", d.name);
	return found ? err_errno(-found, t->name, "cannot tell whose image it is") : VBLK_OK;
}

/* @is_below: not what was named itself */
static int check_node(const struct target *t, const struct stat *st, bool is_below)
{
	struct dmdev d;

	if (S_ISBLK(st->st_mode) && dmdev_find_number(st->st_rdev, &d) == 0 && dmdev_is_ours(&d))
		return err_report(VBLK_BUSY, t->name, "it is %sthe disk %s", is_below ? "on " : "",
				  d.name);
	return check_image(t, st);
}

/**
 * target_check_own() - whether a file or device is one that a disk needs
 *
 * Not even by force may it be written over. Return: an exit code; what it is has been reported.
 */
int target_check_own(const struct target *t, const struct stat *st)
{
	struct below b;
	int err = below_find(st, &b), ret = VBLK_OK;

	for (size_t i = 0; i < b.n && !ret; i++)
		ret = check_node(t, &b.list[i].st, i > 0);
	below_free(&b);
	return ret || !err ? ret : err_errno(-err, t->name, "cannot tell what is below it");
}

static int check_part_unused(const struct target *t, const char *sys)
{
	char path[PATH_MAX], kname[LOOP_NAME_SIZE], who[512];
	dev_t dev;

	snprintf(path, sizeof(path), "%s/dev", sys);
	if (!below_read_number(path, &dev) || !holder_of_device(dev, 0, who, sizeof(who)))
		return VBLK_OK;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	below_read_kname(path, kname, sizeof(kname));
	return err_report(VBLK_BUSY, t->name, "/dev/%s is in use: %s", kname, who);
}

static int check_partitions_unused(const struct target *t, const char *sys)
{
	char part[64 + 1 + NAME_MAX + 1];
	int ret = VBLK_OK;
	struct dirent *de;
	DIR *dir;

	dir = opendir(sys);
	while (dir && !ret && (de = readdir(dir))) {
		snprintf(part, sizeof(part), "%s/%s", sys, de->d_name);
		if (de->d_name[0] != '.' && below_is_partition(part))
			ret = check_part_unused(t, part);
	}
	if (dir)
		closedir(dir);
	return ret;
}

/*
 * QEMU and other servers claim nothing. Who has a disk has its partitions, too, whether or not this kernel has found any, and
 * the other way round.
 */
static int check_unused(const struct target *t, dev_t dev)
{
	char sys[64], whole[72], who[512];

	if (holder_of_device(dev, 0, who, sizeof(who)))
		return err_report(VBLK_BUSY, t->name, "in use: %s", who);
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (!below_is_partition(sys))
		return check_partitions_unused(t, sys);
	snprintf(whole, sizeof(whole), "%s/..", sys);
	return check_part_unused(t, whole);
}

static int claim(struct target *t, int path)
{
	struct stat st;
	char self[32];
	int ret, err;

	if (fstat(path, &st) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	t->fd = open(self, O_RDWR | O_EXCL | O_CLOEXEC);
	err = t->fd < 0 ? errno : 0;
	ret = err && err != EBUSY ? VBLK_OK : check_unused(t, st.st_rdev);
	return ret || !err ? ret : err_errno(err, t->name, "cannot open it");
}

/* QEMU does not claim a device, but locks it. So will the one that we start. */
static int check_lock(const struct target *t)
{
	char self[32], who[512];
	int fd, err, ret = VBLK_OK;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd);
	fd = open(self, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, t->name, "cannot open it");
	err = lock_image(fd, false);
	if (err == -EAGAIN && open_file_locker(fd, who, sizeof(who)))
		ret = err_report(VBLK_BUSY, t->name, "in use: %s", who);
	else if (err)
		ret = err_errno(-err, t->name, "cannot lock it");
	close(fd);
	return ret;
}

static int check_size(const struct target *t)
{
	uint64_t bytes;

	if (ioctl(t->fd, BLKGETSIZE64, &bytes) < 0)
		return err_errno(errno, t->name, "cannot tell its size");
	if (bytes < t->bytes && !strcmp(t->format, "raw"))
		return err_report(VBLK_USAGE, t->name, "too small: it has %ju bytes, the disk %ju",
				  (uintmax_t)bytes, (uintmax_t)t->bytes);
	return VBLK_OK;
}

static bool has_data(int fd)
{
	char *buf = malloc(LOOKED_AT_BYTES);
	ssize_t n = buf ? pread(fd, buf, LOOKED_AT_BYTES, 0) : -1;
	bool is_found = n <= 0 || buf[0] || memcmp(buf, buf + 1, n - 1) != 0;

	free(buf);
	return is_found;
}

static bool has_signature(int fd)
{
	blkid_probe probe = blkid_new_probe();
	bool is_found = true;

	if (probe && !blkid_probe_set_device(probe, fd, 0, 0)) {
		blkid_probe_enable_partitions(probe, 1);
		is_found = blkid_do_safeprobe(probe) != 1;
	}
	blkid_free_probe(probe);
	return is_found;
}

/* Somebody's file system or image must not be written over by a slip. */
static int check_empty(const struct target *t)
{
	if (t->force || !(has_data(t->fd) || has_signature(t->fd)))
		return VBLK_OK;
	err_report(VBLK_BUSY, t->name, "it is not empty");
	err_hint("--force writes over what is on it");
	return VBLK_BUSY;
}

/**
 * target_device_open() - claim a device
 * @path: it, opened with O_PATH
 *
 * Return: an exit code; what is wrong has been reported.
 */
int target_device_open(struct target *t, int path)
{
	struct stat st;
	int ret;

	if (fstat(path, &st) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	ret = target_check_own(t, &st);
	if (!ret)
		ret = claim(t, path);
	if (!ret)
		ret = check_lock(t);
	if (!ret)
		ret = check_size(t);
	return ret ? ret : check_empty(t);
}

static bool wipe(const struct target *t, const char *zeroes, uint64_t offset, uint64_t end)
{
	ssize_t n;

	for (; offset < end; offset += n) {
		n = pwrite(t->fd, zeroes, end - offset < WIPED_BYTES ? end - offset : WIPED_BYTES, offset);
		if (n <= 0)
			return false;
	}
	return true;
}

/* Where it has been written to: what is behind the disk stays. */
static bool wipe_ends(const struct target *t)
{
	bool is_raw = !strcmp(t->format, "raw"), is_done;
	uint64_t end = is_raw ? t->bytes : (uint64_t)lseek(t->fd, 0, SEEK_END);
	char *zeroes = calloc(1, WIPED_BYTES);

	is_done = zeroes && wipe(t, zeroes, 0, end < WIPED_BYTES ? end : WIPED_BYTES);
	if (is_done && is_raw && end > WIPED_BYTES)
		is_done = wipe(t, zeroes, end - WIPED_BYTES, end);
	free(zeroes);
	return is_done && fsync(t->fd) == 0;
}

/**
 * target_device_wipe() - half a backup must not look like a whole one
 * @is_ours: nobody writes to it any more
 */
void target_device_wipe(const struct target *t, bool is_ours)
{
	if (!is_ours || !wipe_ends(t))
		err_warn(t->name, "half a copy is left on it");
}
