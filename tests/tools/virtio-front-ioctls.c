// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of /dev/vhost-blk in the wrong order and with the wrong arguments.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_blk.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "virtio-front.h"

static void expect(int fd, unsigned long request, void *argument, int error,
		   const char *what)
{
	int found = ioctl(fd, request, argument) < 0 ? errno : 0;

	if (found != error)
		errx(1, "%s: %s, expected %s", what, strerror(found), strerror(error));
}

static int open_vhost(void)
{
	int fd = open("/dev/vhost-blk", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "/dev/vhost-blk");
	return fd;
}

static void expect_backend(int vhost, int device, int error, const char *what)
{
	struct vhost_vring_file file = { .fd = device };

	expect(vhost, VHOST_BLK_SET_BACKEND, &file, error, what);
}

static void expect_run(int vhost, unsigned int index, unsigned int num, int error,
		       const char *what)
{
	struct vhost_vring_state state = { index, num };

	expect(vhost, VHOST_BLK_SET_VRING_RUN, &state, error, what);
}

static int open_as(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void refuse_strangers(const char *device)
{
	int vhost = open_vhost();
	struct vhost_vring_state state = { 0, 0 };
	uint64_t features = 0;

	expect(vhost, VHOST_GET_FEATURES, &features, 0, "features without owner");
	if (~features & (1ULL << VHOST_F_LOG_ALL | 1ULL << VIRTIO_F_VERSION_1 |
			 1ULL << VIRTIO_BLK_F_FLUSH) ||
	    features & 1ULL << VIRTIO_F_NOTIFY_ON_EMPTY)
		errx(1, "features %#llx", (unsigned long long)features);
	expect(vhost, VHOST_SET_FEATURES, &features, EPERM, "features set by no owner");
	expect_run(vhost, 0, 1, EPERM, "run by no owner");
	expect_backend(vhost, open_as(device, O_RDWR), EPERM, "backend set by no owner");
	expect(vhost, VHOST_SET_OWNER, NULL, 0, "owner");
	expect(vhost, VHOST_SET_OWNER, NULL, EBUSY, "second owner");
	expect(vhost, _IO(VHOST_VIRTIO, 0x8f), &state, ENOTTY, "unknown ioctl");
	close(vhost);
}

static void refuse_backends(int vhost, const char *device)
{
	expect_backend(vhost, 9999, EBADF, "closed descriptor");
	expect_backend(vhost, -2, EBADF, "negative descriptor");
	expect_backend(vhost, open_as(device, O_PATH), EBADF, "O_PATH descriptor");
	expect_backend(vhost, open_as(device, O_WRONLY), EBADF, "write-only descriptor");
	expect_backend(vhost, open_as("/proc/self/exe", O_RDONLY), ENOTBLK, "regular file");
	expect_backend(vhost, open_as("/dev/null", O_RDWR), ENOTBLK, "character device");
	expect_backend(vhost, eventfd(0, 0), ENOTBLK, "eventfd");
	expect_backend(vhost, -1, 0, "detach of nothing");
}

static void refuse_arguments(int vhost)
{
	uint64_t features = 1ULL << 33;
	uint32_t mode = 2;
	struct vhost_blk_vring_stats stats = { .index = VHOST_BLK_MAX_QUEUES };

	expect(vhost, VHOST_SET_FEATURES, &features, EOPNOTSUPP, "IOMMU feature");
	features = 1ULL << VIRTIO_F_NOTIFY_ON_EMPTY;
	expect(vhost, VHOST_SET_FEATURES, &features, EOPNOTSUPP, "interrupts nobody wants");
	features = 1ULL << VHOST_F_LOG_ALL;
	expect(vhost, VHOST_SET_FEATURES, &features, 0, "log without rings");
	expect_run(vhost, VHOST_BLK_MAX_QUEUES, 1, ENOBUFS, "queue 64");
	expect_run(vhost, 0, 2, EINVAL, "run 2");
	expect_run(vhost, 0, 1, ENXIO, "run without backend");
	expect_run(vhost, 0, 0, 0, "stop of what never ran");
	expect(vhost, VHOST_BLK_SET_WRITE_CACHE, &mode, EINVAL, "write cache 2");
	expect(vhost, VHOST_BLK_GET_VRING_STATS, &stats, ENOBUFS, "statistics of queue 64");
	expect(vhost, VHOST_BLK_SET_SERIAL, NULL, EFAULT, "serial at NULL");
	expect(vhost, VHOST_BLK_SET_BACKEND, NULL, EFAULT, "backend at NULL");
}

static void claim_once(int vhost, const char *device)
{
	int other = open_vhost(), fd = open_as(device, O_RDWR);

	expect(other, VHOST_SET_OWNER, NULL, 0, "other owner");
	expect_backend(vhost, fd, 0, "backend");
	expect_backend(vhost, fd, EBUSY, "second backend");
	expect_backend(other, fd, EBUSY, "device of another");
	expect_run(vhost, 0, 1, EFAULT, "run of a queue that is not set up");
	expect_backend(vhost, -1, 0, "detach");
	expect_backend(other, fd, 0, "device that became free");
	close(other);
	expect_backend(vhost, fd, 0, "device free after a close");
	expect(vhost, VHOST_RESET_OWNER, NULL, 0, "reset");
	expect(vhost, VHOST_SET_OWNER, NULL, 0, "owner after a reset");
	expect_backend(vhost, fd, 0, "device free after a reset");
}

int front_ioctls(struct front *front)
{
	const char *device = front->options.device;
	int vhost;

	if (!device)
		errx(2, "this needs --device");
	refuse_strangers(device);
	vhost = open_vhost();
	expect(vhost, VHOST_SET_OWNER, NULL, 0, "owner");
	refuse_backends(vhost, device);
	refuse_arguments(vhost);
	claim_once(vhost, device);
	puts("all ioctls answer as documented");
	return 0;
}
