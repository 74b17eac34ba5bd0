// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for nbdkit: a frozen disk, read-only, and where it has data.
 *
 *	nbdkit -r nbdkit-vblk-plugin.so device=/dev/mapper/NAME-frozen
 *
 * vblk-export runs it so. Data is read through the page cache, and dropped from there: it is read
 * once, as a rule. Where data is, the kernel says when a client asks (base:allocation).
 */
#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nbdkit-plugin.h>

#include "backup/extents.h"
#include "disk/dm.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

#define SECTOR_BYTES	512

/* In one answer. Clients ask again for the rest, and others get their turn. */
#define MAX_EXTENTS	65536

/* From the command line. */
static char *device;
static int ready_fd = -1;

/* The frozen disk: it is not removed as long as we have it. */
static int view_fd = -1;
static dev_t view_dev;
static uint64_t view_bytes;

/* libdevmapper is for one thread at a time. */
static pthread_mutex_t dm_lock = PTHREAD_MUTEX_INITIALIZER;

static int vblk_config(const char *key, const char *value)
{
	if (!strcmp(key, "device")) {
		free(device);
		device = strdup(value);
		return device ? 0 : -1;
	}
	if (!strcmp(key, "ready-fd"))
		return nbdkit_parse_int(key, value, &ready_fd);
	nbdkit_error("no such parameter: %s", key);
	return -1;
}

static int vblk_config_complete(void)
{
	if (device)
		return 0;
	nbdkit_error("needs device=/dev/mapper/NAME-frozen");
	return -1;
}

/**
 * struct connection - one of a client's
 * @fd: the frozen disk: each connection reads ahead by itself
 * @d: its name now, as a device may be renamed
 * @walk: over its extents; clients ask for one behind the other
 * @last: the extent that it came to
 */
struct connection {
	int fd;
	struct dmdev d;
	struct extents walk;
	struct extent last;
};

/* Under dm_lock. Return: 1, 0 at the end of the disk, -errno. */
static int find_extent(struct connection *c, uint64_t offset)
{
	if (offset - c->last.offset < c->last.bytes)
		return 1;
	offset -= offset % SECTOR_BYTES;
	if (offset != c->walk.offset || !c->walk.size) {
		extents_end(&c->walk);
		c->walk = (struct extents) {
			.view = c->d.name, .size = view_bytes, .unit = SECTOR_BYTES,
			.offset = offset, .known.offset = offset,
		};
	}
	return extents_next(&c->walk, &c->last);
}

/* Is it a view, and does its instant last? */
static int check_view(void)
{
	struct connection c = {};
	int err;

	err = dmdev_find_number(view_dev, &c.d);
	if (!err)
		err = find_extent(&c, 0);
	extents_end(&c.walk);
	if (err >= 0)
		return 0;
	nbdkit_error("%s: not a frozen disk: %s", device, strerror(-err));
	return -1;
}

static int vblk_get_ready(void)
{
	struct stat st;

	dmdev_be_quiet();
	view_fd = open(device, O_RDONLY | O_CLOEXEC);
	if (view_fd < 0 || fstat(view_fd, &st) < 0) {
		nbdkit_error("%s: cannot open it: %s", device, strerror(errno));
		return -1;
	}
	view_dev = st.st_rdev;
	if (!S_ISBLK(st.st_mode) || ioctl(view_fd, BLKGETSIZE64, &view_bytes) < 0) {
		nbdkit_error("%s: not a block device", device);
		return -1;
	}
	return check_view();
}

/* Whoever started us waits for it. */
static int vblk_after_fork(void)
{
	if (ready_fd >= 0 && (write(ready_fd, "", 1) != 1 || close(ready_fd) < 0)) {
		nbdkit_error("cannot say that it is ready: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static void vblk_unload(void)
{
	if (view_fd >= 0)
		close(view_fd);
	free(device);
}

static void *vblk_open(int read_only)
{
	struct connection *c = calloc(1, sizeof(*c));
	char path[32];

	(void)read_only;
	if (!c)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", view_fd);
	c->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c->fd >= 0)
		return c;
	nbdkit_error("%s: cannot open it: %s", device, strerror(errno));
	free(c);
	return NULL;
}

static void vblk_close(void *handle)
{
	struct connection *c = handle;

	extents_end(&c->walk);
	close(c->fd);
	free(c);
}

static int64_t vblk_get_size(void *handle)
{
	(void)handle;
	return view_bytes;
}

/* All connections read the same. */
static int vblk_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

static int vblk_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct connection *c = handle;
	uint32_t done;
	ssize_t n;

	(void)flags;
	for (done = 0; done < count; done += n) {
		n = pread(c->fd, (char *)buf + done, count - done, offset + done);
		if (n > 0)
			continue;
		/* The kernel reads nothing that is not of the instant: it fails instead. */
		nbdkit_error("cannot read at %ju: %s", (uintmax_t)offset + done,
			     n ? strerror(errno) : "its end");
		nbdkit_set_error(EIO);
		return -1;
	}
	posix_fadvise(c->fd, offset, count, POSIX_FADV_DONTNEED);
	return 0;
}

/* Under dm_lock */
static int add_extents(struct connection *c, uint64_t offset, uint64_t end, bool is_one,
		       struct nbdkit_extents *extents)
{
	unsigned int n = is_one ? 1 : MAX_EXTENTS;
	int more;

	for (; offset < end && n; n--) {
		more = find_extent(c, offset);
		if (more <= 0)
			return more;
		if (nbdkit_add_extent(extents, c->last.offset, c->last.bytes, c->last.is_zero ?
				      NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) < 0)
			return -errno;
		offset = c->last.offset + c->last.bytes;
	}
	return 0;
}

static int vblk_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
			struct nbdkit_extents *extents)
{
	struct connection *c = handle;
	int err;

	pthread_mutex_lock(&dm_lock);
	err = dmdev_find_number(view_dev, &c->d);
	if (!err)
		err = add_extents(c, offset, offset + count, flags & NBDKIT_FLAG_REQ_ONE, extents);
	pthread_mutex_unlock(&dm_lock);
	if (!err)
		return 0;
	nbdkit_error("cannot tell where it has data: %s", strerror(-err));
	nbdkit_set_error(EIO);
	return -1;
}

static struct nbdkit_plugin plugin = {
	.name = "vblk",
	.longname = "vblk: a frozen disk",
	.description = "Serves what vblk-freeze has made of a disk",
	.config_help = "device=<PATH>   (required) /dev/mapper/NAME-frozen",
	.config = vblk_config,
	.config_complete = vblk_config_complete,
	.get_ready = vblk_get_ready,
	.after_fork = vblk_after_fork,
	.unload = vblk_unload,
	.open = vblk_open,
	.close = vblk_close,
	.get_size = vblk_get_size,
	.can_multi_conn = vblk_can_multi_conn,
	.pread = vblk_pread,
	.extents = vblk_extents,
};

/* What the macro defines. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
