// SPDX-License-Identifier: GPL-2.0-only
/*
 * NAME-below: a device on the lower images of a disk.
 *
 * The kernel lets nobody write to an image that a table has below its top. Here it is a top, of a device of its own, which the
 * disk has as a raw image below.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lower.h"
#include "grow.h"

/* Not one of a disk. */
#define BELOW_PREFIX	"VBLKBELOW-"
#define SUFFIX		"-below"

/* What is written to it fails where the host is full: a guest's writes wait, elsewhere. */
#define FEATURES	" features 1 no_space=error"

static int name_below(const struct dmdev *disk, struct dmdev *below)
{
	int room = sizeof(below->name) - sizeof(SUFFIX);
	int n = snprintf(below->uuid, sizeof(below->uuid), BELOW_PREFIX "%s",
			 disk->uuid + strlen(DMDEV_PREFIX));

	/* Of a name that leaves no room for the suffix, the beginning: it is found by its UUID. */
	snprintf(below->name, sizeof(below->name), "%.*s" SUFFIX, room, disk->name);
	return n < (int)sizeof(below->uuid) ? 0 : -ENAMETOOLONG;
}

/**
 * lower_find() - find that device
 * @disk: the disk
 * @below: filled in
 *
 * Return: 0, -ENXIO when there is none, another -errno.
 */
int lower_find(const struct dmdev *disk, struct dmdev *below)
{
	int err = name_below(disk, below);

	return err ? err : dmdev_find_uuid(below->uuid, below);
}

/** lower_check_name() - whether it can be made: 0, -EBUSY when another device is called so, another -errno */
int lower_check_name(const struct dmdev *disk)
{
	struct dmdev below, other;
	int err = name_below(disk, &below);

	if (err)
		return err;
	err = dmdev_find_name(below.name, &other);
	return err == -ENXIO ? 0 : err ? err : -EBUSY;
}

static int load(const struct dmdev *below, const struct live_chain *c, size_t first, int top_fd,
		bool read_only)
{
	struct live_chain lower = *c;
	uint64_t bytes;
	char *params;
	int err;

	lower.features = FEATURES;
	err = grow_read_size(&c->list[first], &bytes);
	if (err)
		return err;
	params = live_table(&lower, top_fd >= 0 ? first + 1 : first, top_fd);
	err = params ? dmdev_load(below->name, bytes >> 9, params, read_only) : -ENOMEM;
	free(params);
	return err;
}

/**
 * lower_create() - make it, read-only
 * @disk: the disk
 * @c: its images
 * @first: the highest of those that it is on
 * @below: filled in
 *
 * Return: 0, -EBUSY when the name is taken, another -errno; there is none then.
 */
int lower_create(const struct dmdev *disk, const struct live_chain *c, size_t first,
		 struct dmdev *below)
{
	int err = name_below(disk, below);

	if (!err)
		err = dmdev_create(below->name, below->uuid);
	if (err)
		return err;
	err = load(below, c, first, -1, true);
	if (!err)
		err = dmdev_resume(below->name, true);
	if (!err)
		err = dmdev_find_uuid(below->uuid, below);
	if (err)
		dmdev_remove(below->name);
	return err;
}

/**
 * lower_reload() - have it take writes, or no more; then all that was written is durable
 * @lower: its images
 *
 * Return: 0 or -errno.
 */
int lower_reload(struct dmdev *below, const struct live_chain *lower, bool read_only)
{
	int fd = -1, err = 0;

	if (!read_only)
		err = live_open_top(lower, 0, &fd);
	if (!err)
		err = load(below, lower, 0, fd, read_only);
	if (!err)
		err = dmdev_switch(below->name, true);
	if (fd >= 0)
		close(fd);
	return err ? err : dmdev_find_uuid(below->uuid, below);
}

/** lower_wake() - resume it, if it is there, and somebody has suspended it */
void lower_wake(const struct dmdev *disk)
{
	struct live_chain lower = {};
	struct dmdev below;

	if (lower_find(disk, &below) || !below.is_suspended)
		return;
	dmdev_clear(below.name);
	/* Its image may have changed since: it is looked at again. */
	if (dmdev_resume(below.name, true) && !live_open(&below, &lower))
		lower_reload(&below, &lower, true);
	live_close(&lower);
}

/** lower_remove() - remove it, if there is one; 0 or -errno */
int lower_remove(const struct dmdev *disk)
{
	struct dmdev below;
	int err = lower_find(disk, &below);

	if (err == -ENXIO || err == -ENAMETOOLONG)
		return 0;
	return err ? err : dmdev_remove(below.name);
}
