// SPDX-License-Identifier: GPL-2.0-only
/* File-system recovery on a throw-away snapshot of the replayed disk. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "view.h"

/* Run one dm ioctl on the snapshot, without udev: nobody but us may look at it. */
static void dm_run(const struct view *v, struct dm_task *task, struct dm_info *info)
{
	if (!task || !dm_task_set_name(task, v->name) || !dm_task_run(task) || (info && !dm_task_get_info(task, info)))
		errx(1, "%s: device-mapper task", v->name);
	dm_task_destroy(task);
}

static void dm_do(const struct view *v, int type)
{
	dm_run(v, dm_task_create(type), NULL);
}

static uint64_t sectors_of(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint64_t bytes;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		err(1, "%s", path);
	close(fd);
	return bytes / 512;
}

/* Let the device have this table and no other. */
static void dm_switch(const struct view *v, const char *target, const char *params)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_RELOAD);

	if (!task || !dm_task_add_target(task, 0, sectors_of(v->target), target, params))
		errx(1, "%s: no table", v->name);
	dm_run(v, task, NULL);
	dm_do(v, DM_DEVICE_RESUME);
}

void view_open(struct view *v)
{
	struct dm_info info;

	if (!v->fs)
		return;
	dm_udev_set_sync_support(0);
	dm_run(v, dm_task_create(DM_DEVICE_CREATE), &info);
	snprintf(v->node, sizeof(v->node), "/dev/shm/%s", v->name);
	unlink(v->node);
	if (mknod(v->node, S_IFBLK | 0600, makedev(info.major, info.minor)))
		err(1, "%s", v->node);
}

/* udev may be looking at the device still. */
void view_close(struct view *v)
{
	struct dm_task *task;

	if (!v->fs)
		return;
	unlink(v->node);
	task = dm_task_create(DM_DEVICE_REMOVE);
	if (task && !dm_task_retry_remove(task))
		errx(1, "%s: no retry", v->name);
	dm_run(v, task, NULL);
}

/* udev looks at the device when it appears: what it read of the state before must not be the file system's. */
static void forget_pages(const struct view *v)
{
	int fd = open(v->node, O_RDONLY);

	if (fd < 0 || ioctl(fd, BLKFLSBUF))
		err(1, "%s", v->node);
	close(fd);
}

const char *view_show(struct view *v)
{
	const char *options = v->fs && !strcmp(v->fs, "xfs") ? "nouuid" : "";
	char params[256];

	if (!v->fs)
		return NULL;
	snprintf(params, sizeof(params), "%s %s N 8", v->target, v->cow);
	dm_switch(v, "snapshot", params);
	forget_pages(v);
	return mount(v->node, v->mount, v->fs, 0, options) ? strerror(errno) : NULL;
}

/* A snapshot that is loaded over another one on the same device takes over what was written to it: let it go first. */
void view_hide(struct view *v)
{
	if (!v->fs)
		return;
	if (umount2(v->mount, 0) && errno != EINVAL)
		err(1, "%s: unmount", v->mount);
	dm_switch(v, "error", "");
}
