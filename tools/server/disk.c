// SPDX-License-Identifier: GPL-2.0-only
/* What a guest sees of a disk: feature bits and configuration space. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vhost_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd/err.h"
#include "disk.h"
#include "disk/holder.h"
#include "space.h"
#include "vhost-user/kernel.h"
#include "vhost-user/memory.h"
#include "vhost-user/messages.h"

#define BIT(n)		(1ULL << (n))
#define SECTOR_SHIFT	9

/* Properties of the ring, offered when the kernel has them. */
#define RING_FEATURES	(BIT(VIRTIO_F_ANY_LAYOUT) |		\
			 BIT(VIRTIO_RING_F_INDIRECT_DESC) |	\
			 BIT(VIRTIO_RING_F_EVENT_IDX) |		\
			 BIT(VIRTIO_F_VERSION_1))

/* Properties that only the configuration space tells. */
#define DISK_FEATURES	(BIT(VIRTIO_BLK_F_SEG_MAX) |		\
			 BIT(VIRTIO_BLK_F_BLK_SIZE) |		\
			 BIT(VIRTIO_BLK_F_TOPOLOGY) |		\
			 BIT(VIRTIO_BLK_F_FLUSH))

#define VHOST_MODULE_SLOTS	"/sys/module/vhost/parameters/max_mem_regions"
#define DEFAULT_SLOTS		64

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	FILE *f = fopen(path, "re");
	uintmax_t n;

	if (!f)
		return otherwise;
	if (fscanf(f, "%ju", &n) != 1)
		n = otherwise;
	fclose(f);
	return n;
}

static uint64_t queue_limit(dev_t dev, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/%s",
		 major(dev), minor(dev), name);
	return read_number(path, 0);
}

static uint32_t to_sectors(uint64_t bytes, uint32_t limit)
{
	uint64_t sectors = bytes >> SECTOR_SHIFT;

	return sectors < limit ? sectors : limit;
}

static void describe_discard(struct disk *disk, dev_t dev)
{
	struct virtio_blk_config *c = &disk->config;
	uint64_t max = queue_limit(dev, "discard_max_bytes");
	uint64_t unit = queue_limit(dev, "discard_granularity");

	if (!max || !(disk->kernel_features & BIT(VIRTIO_BLK_F_DISCARD)))
		return;
	c->max_discard_sectors = htole32(to_sectors(max, UINT32_MAX));
	c->max_discard_seg = htole32(VHOST_BLK_MAX_RANGES);
	c->discard_sector_alignment = htole32(to_sectors(unit, UINT32_MAX));
	disk->features |= BIT(VIRTIO_BLK_F_DISCARD);
}

static void describe_write_zeroes(struct disk *disk, dev_t dev)
{
	struct virtio_blk_config *c = &disk->config;
	uint64_t max = queue_limit(dev, "write_zeroes_max_bytes");

	if (!max || !(disk->kernel_features & BIT(VIRTIO_BLK_F_WRITE_ZEROES)))
		return;
	c->max_write_zeroes_sectors = htole32(to_sectors(max, UINT32_MAX));
	c->max_write_zeroes_seg = htole32(VHOST_BLK_MAX_RANGES);
	c->write_zeroes_may_unmap = 1;
	disk->features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
}

static int describe_size(struct disk *disk)
{
	struct virtio_blk_config *c = &disk->config;
	unsigned int physical, min_io, opt_io;
	uint64_t bytes;
	int logical;

	if (ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0 ||
	    ioctl(disk->fd, BLKSSZGET, &logical) < 0 ||
	    ioctl(disk->fd, BLKPBSZGET, &physical) < 0 ||
	    ioctl(disk->fd, BLKIOMIN, &min_io) < 0 ||
	    ioctl(disk->fd, BLKIOOPT, &opt_io) < 0)
		return -errno;

	c->capacity = htole64(bytes >> SECTOR_SHIFT);
	c->blk_size = htole32(logical);
	while (logical << c->physical_block_exp < (int)physical)
		c->physical_block_exp++;
	c->min_io_size = htole16(min_io / logical);
	c->opt_io_size = htole32(opt_io / logical);
	return 0;
}

static void describe_queues(struct disk *disk)
{
	struct virtio_blk_config *c = &disk->config;

	/* A request needs a header and a status beside its segments. */
	c->seg_max = htole32(disk->queue_size - 2);
	c->num_queues = htole16(disk->queues);
	if (disk->queues > 1)
		disk->features |= BIT(VIRTIO_BLK_F_MQ);
}

static int describe(struct disk *disk, const struct dmdev *d)
{
	int err;

	err = vhost_kernel_features(&disk->kernel_features);
	if (err)
		return err;
	disk->features = (disk->kernel_features & RING_FEATURES) |
			 DISK_FEATURES | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	if (d->is_read_only)
		disk->features |= BIT(VIRTIO_BLK_F_RO);
	err = describe_size(disk);
	if (err)
		return err;
	describe_queues(disk);
	describe_discard(disk, d->dev);
	describe_write_zeroes(disk, d->dev);

	disk->mem_slots = read_number(VHOST_MODULE_SLOTS, DEFAULT_SLOTS);
	if (disk->mem_slots > VHOST_MEM_MAX_REGIONS)
		disk->mem_slots = VHOST_MEM_MAX_REGIONS;
	return 0;
}

/* The guest waits, and does not know what for. */
static void say_busy(const struct disk *disk)
{
	char who[512] = "the kernel, or a process that is not visible here, has it open";
	struct stat st;

	if (fstat(disk->fd, &st) == 0)
		holder_of_device(st.st_rdev, getpid(), who, sizeof(who));
	err_report(VBLK_BUSY, disk->name, "in use: %s; the guest waits", who);
}

static bool say_stalled(const struct disk *disk)
{
	return space_say_awaited(disk->name);
}

static int open_device(const struct dmdev *d)
{
	int flags = O_CLOEXEC | (d->is_read_only ? O_RDONLY : O_RDWR);
	char path[sizeof(DMDEV_DIR) + sizeof(d->name)];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), DMDEV_DIR "%s", d->name);
	fd = open(path, flags);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != d->dev) {
		close(fd);
		return -ENODEV;
	}
	return fd;
}

/**
 * disk_open() - open a device and describe it
 * @disk: filled in; disk_close() is due on success
 * @d: the device
 * @serving: how it is served; must outlive @disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int disk_open(struct disk *disk, const struct dmdev *d,
	      const struct serving *serving)
{
	int err;

	memset(disk, 0, sizeof(*disk));
	strcpy(disk->name, d->name);
	disk->serial = serving->serial;
	disk->queues = serving->queues;
	disk->queue_size = serving->queue_size;
	disk->workers = serving->workers;
	disk->poll_us = serving->poll_us;
	disk->is_write_through = serving->is_write_through;
	disk->say_busy = say_busy;
	disk->say_stalled = say_stalled;
	disk->fd = open_device(d);
	if (disk->fd < 0)
		return err_errno(-disk->fd, d->name, "cannot open the device");
	err = describe(disk, d);
	if (!err)
		return VBLK_OK;
	disk_close(disk);
	return err_errno(-err, d->name, "cannot describe the disk");
}

/**
 * disk_update_size() - have the configuration say how large the device is now
 * @has_changed: set to whether it said something else before
 *
 * Return: 0 or -errno.
 */
int disk_update_size(struct disk *disk, bool *has_changed)
{
	uint64_t bytes, sectors;

	if (ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0)
		return -errno;
	sectors = htole64(bytes >> SECTOR_SHIFT);
	*has_changed = sectors != disk->config.capacity;
	disk->config.capacity = sectors;
	return 0;
}

/** disk_close() - close the device */
void disk_close(struct disk *disk)
{
	close(disk->fd);
}
