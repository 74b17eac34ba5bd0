// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a file or block device is made of: a partition of its disk, a loop device of its file, what the device mapper or MD
 * makes of others.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "below.h"
#include "image.h"
#include "loop.h"

/* Devices on devices. */
#define MAX_DEPTH	16

static int add(struct below *b, const struct stat *st, bool is_same, unsigned int depth);

/** below_read_number() - the number of a device, from its file "dev" */
bool below_read_number(const char *path, dev_t *dev)
{
	unsigned int major_no, minor_no;
	FILE *f = fopen(path, "re");
	bool ok = f && fscanf(f, "%u:%u", &major_no, &minor_no) == 2;

	if (f)
		fclose(f);
	if (ok)
		*dev = makedev(major_no, minor_no);
	return ok;
}

/** below_is_partition() - whether the device in that directory is one */
bool below_is_partition(const char *sys)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/partition", sys);
	return access(path, F_OK) == 0;
}

/** below_read_kname() - the name that sysfs has for a device */
void below_read_kname(const char *sys, char *kname, size_t size)
{
	char target[PATH_MAX];
	ssize_t len = readlink(sys, target, sizeof(target) - 1);
	const char *base;

	target[len > 0 ? len : 0] = '\0';
	base = strrchr(target, '/');
	snprintf(kname, size, "%.31s", base ? base + 1 : target);
}

static int add_number(struct below *b, const char *path, unsigned int depth)
{
	struct stat st = { .st_mode = S_IFBLK };

	return below_read_number(path, &st.st_rdev) ? add(b, &st, false, depth) : 0;
}

static int add_loop(struct below *b, const char *sys, bool is_same, unsigned int depth)
{
	char kname[LOOP_NAME_SIZE];
	struct stat st;
	int err;

	below_read_kname(sys, kname, sizeof(kname));
	err = loop_file(kname, &st);
	if (err)
		return err == -ENXIO ? 0 : err;
	return add(b, &st, is_same, depth);
}

static int add_slaves(struct below *b, const char *sys, unsigned int depth)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *dir;
	int err = 0;

	snprintf(path, sizeof(path), "%s/slaves", sys);
	dir = opendir(path);
	while (dir && !err && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/slaves/%s/dev", sys, de->d_name);
		err = add_number(b, path, depth);
	}
	if (dir)
		closedir(dir);
	return err;
}

static int add_below(struct below *b, dev_t dev, bool is_same, unsigned int depth)
{
	char sys[64], path[80];
	int err;

	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (below_is_partition(sys)) {
		snprintf(path, sizeof(path), "%s/../dev", sys);
		return add_number(b, path, depth);
	}
	err = add_loop(b, sys, is_same, depth);
	return err ? err : add_slaves(b, sys, depth);
}

static int add(struct below *b, const struct stat *st, bool is_same, unsigned int depth)
{
	struct below_node *list = reallocarray(b->list, b->n + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	b->list = list;
	list[b->n++] = (struct below_node){ .st = *st, .is_same = is_same };
	if (!S_ISBLK(st->st_mode) || depth == MAX_DEPTH)
		return 0;
	return add_below(b, st->st_rdev, is_same, depth + 1);
}

/**
 * below_find() - find all that is below a file or device
 * @b: filled in, with what could be found; below_free() is due in either case
 *
 * Return: 0 or -errno.
 */
int below_find(const struct stat *st, struct below *b)
{
	*b = (struct below){};
	return add(b, st, true, 0);
}

static bool has_any(const struct below *b, const struct stat *st)
{
	for (size_t i = 0; i < b->n; i++)
		if (image_is_same(&b->list[i].st, st))
			return true;
	return false;
}

static bool is_in(const struct below *a, const struct below *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->list[i].is_same && has_any(b, &a->list[i].st))
			return true;
	return false;
}

/** below_meet() - whether one is the other, or below it; two partitions of a disk are neither */
bool below_meet(const struct below *a, const struct below *b)
{
	return is_in(a, b) || is_in(b, a);
}

void below_free(struct below *b)
{
	free(b->list);
	*b = (struct below){};
}
