/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_DISK_H
#define VBLK_DISK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "dm.h"
#include "state.h"

/**
 * struct disk - a block device as a guest is to see it
 * @name: of the device
 * @fd: the device; read-only descriptor for a read-only disk
 * @serving: queues, sizes, serial number
 * @kernel_features: virtio bits that vhost_blk knows
 * @features: virtio bits offered
 * @mem_slots: regions that a memory table may have
 * @config: the configuration space
 * @say_busy: report who keeps a guest from it; NULL to say nothing
 *
 * Nothing here changes when another server takes the disk over.
 */
struct disk {
	char name[sizeof(((struct dmdev *)0)->name)];
	int fd;
	const struct serving *serving;
	uint64_t kernel_features;
	uint64_t features;
	unsigned int mem_slots;
	struct virtio_blk_config config;
	void (*say_busy)(const struct disk *disk);
};

int disk_open(struct disk *disk, const struct dmdev *d,
	      const struct serving *serving);
void disk_close(struct disk *disk);

#endif
