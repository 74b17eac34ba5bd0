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

#include "grow.h"
#include "lower.h"
#include "shell.h"

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

/* @top_fd: of the highest, for writing, or -1. */
static char *qcow2_table(const struct live_chain *c, size_t first, int top_fd)
{
	struct live_chain lower = *c;

	lower.features = FEATURES;
	return live_table(&lower, top_fd >= 0 ? first + 1 : first, top_fd);
}

/* One that is only read may be longer than its shell: it has grown, and no more has come of it. */
static int open_shell(const struct dmdev *below, uint64_t *bytes, const struct live_image *above,
		      bool read_only, int *shell)
{
	uint64_t mapped;
	int err = shell_take(below, &mapped, shell);

	if (!err && (mapped == *bytes || (read_only && mapped < *bytes))) {
		*bytes = mapped;
		return 0;
	}
	if (!err)
		close(*shell);
	else if (err != -ESTALE)
		return err;
	return above ? shell_make(below, above, *bytes, shell) : -ESTALE;
}

static int load_raw(const struct dmdev *below, int fd, uint64_t bytes,
		    const struct live_image *above, bool read_only)
{
	char *params;
	int shell, err;

	err = open_shell(below, &bytes, above, read_only, &shell);
	if (err)
		return err;
	err = asprintf(&params, "data:%d %d" FEATURES, fd, shell) < 0 ? -ENOMEM : 0;
	if (!err) {
		err = dmdev_load(below->name, bytes >> 9, params, read_only);
		free(params);
	}
	close(shell);
	return err;
}

static int load(const struct dmdev *below, const struct live_chain *c, size_t first, int top_fd,
		const struct live_image *above)
{
	const struct live_image *top = &c->list[first];
	uint64_t bytes;
	char *params;
	int err;

	err = grow_read_size(top, &bytes);
	if (err)
		return err;
	if (top->format == IMAGE_RAW)
		return load_raw(below, top_fd >= 0 ? top_fd : top->fd, bytes, above, top_fd < 0);
	params = qcow2_table(c, first, top_fd);
	err = params ? dmdev_load(below->name, bytes >> 9, params, top_fd < 0) : -ENOMEM;
	free(params);
	return err;
}

/**
 * lower_create() - make it, read-only
 * @disk: the disk
 * @c: its images
 * @first: the highest of those that it is on; there are some above, in files
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
	err = load(below, c, first, -1, &c->list[first - 1]);
	if (!err)
		err = dmdev_resume(below->name, true);
	if (!err)
		err = dmdev_find_uuid(below->uuid, below);
	if (!err)
		return 0;
	shell_undo(below, &c->list[first - 1]);
	dmdev_remove(below->name);
	return err;
}

/**
 * lower_open() - open its images, as the disk has them when it goes: live_open(), but a raw one without its shell
 *
 * Return: an exit code; what is wrong has been reported.
 */
int lower_open(const struct dmdev *below, struct live_chain *lower)
{
	char *shell = shell_path(below);
	int ret = shell ? live_open_data(below, lower) : live_open(below, lower);

	free(shell);
	return ret;
}

/**
 * lower_reload() - have it take writes, or no more; then all that was written is durable
 * @lower: its images
 * @above: the image above them; NULL: no other shell is made
 *
 * Return: 0 or -errno.
 */
int lower_reload(struct dmdev *below, const struct live_chain *lower,
		 const struct live_image *above, bool read_only)
{
	int fd = -1, err = 0;

	if (!read_only)
		err = live_open_top(lower, 0, &fd);
	if (!err)
		err = load(below, lower, 0, fd, above);
	if (!err)
		err = dmdev_switch(below->name, true);
	if (fd >= 0)
		close(fd);
	return err ? err : dmdev_find_uuid(below->uuid, below);
}

/** lower_resume() - have it go on with the table that it has; 0 or -errno */
int lower_resume(const struct dmdev *below)
{
	dmdev_clear(below->name);
	return dmdev_resume(below->name, true);
}

/** lower_wake() - resume it, if it is there, and somebody has suspended it */
void lower_wake(const struct dmdev *disk)
{
	struct live_chain lower = {};
	struct dmdev below;

	if (lower_find(disk, &below) || !below.is_suspended)
		return;
	/* Its image may have changed since: it is looked at again. */
	if (lower_resume(&below) && !lower_open(&below, &lower))
		lower_reload(&below, &lower, NULL, true);
	live_close(&lower);
}

static int remove_device(const struct dmdev *below)
{
	struct live_image shell;
	bool has_shell = shell_look(below, &shell);
	int err;

	err = dmdev_remove(below->name);
	if (!err && has_shell)
		shell_remove(&shell);
	return err;
}

/** lower_forget() - remove what somebody has left who was killed before there was a device; @above: the lowest image above */
void lower_forget(const struct dmdev *disk, const struct live_image *above)
{
	struct dmdev below;

	if (!name_below(disk, &below))
		shell_undo(&below, above);
}

/** lower_remove() - remove it, if there is one; 0 or -errno */
int lower_remove(const struct dmdev *disk)
{
	struct dmdev below;
	int err = lower_find(disk, &below);

	if (err == -ENXIO || err == -ENAMETOOLONG)
		return 0;
	return err ? err : remove_device(&below);
}
