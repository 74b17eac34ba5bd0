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
static void dm_do(const struct view *v, int type, const char *params, uint64_t sectors, struct dm_info *info)
{
	struct dm_task *task = dm_task_create(type);

	if (!task || !dm_task_set_name(task, v->name) || (params && !dm_task_add_target(task, 0, sectors, "snapshot", params)) ||
	    !dm_task_run(task) || (info && !dm_task_get_info(task, info)))
		errx(1, "%s: device-mapper task %d", v->name, type);
	dm_task_destroy(task);
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

void view_open(struct view *v)
{
	struct dm_info info;

	if (!v->fs)
		return;
	dm_udev_set_sync_support(0);
	dm_do(v, DM_DEVICE_CREATE, NULL, 0, &info);
	snprintf(v->node, sizeof(v->node), "/dev/shm/%s", v->name);
	unlink(v->node);
	if (mknod(v->node, S_IFBLK | 0600, makedev(info.major, info.minor)))
		err(1, "%s", v->node);
}

void view_close(struct view *v)
{
	if (!v->fs)
		return;
	unlink(v->node);
	dm_do(v, DM_DEVICE_REMOVE, NULL, 0, NULL);
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
	dm_do(v, DM_DEVICE_RELOAD, params, sectors_of(v->target), NULL);
	dm_do(v, DM_DEVICE_RESUME, NULL, 0, NULL);
	forget_pages(v);
	return mount(v->node, v->mount, v->fs, 0, options) ? strerror(errno) : NULL;
}

void view_hide(struct view *v)
{
	if (v->fs && umount2(v->mount, 0) && errno != EINVAL)
		err(1, "%s: unmount", v->mount);
}
