/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_DISK_H
#define VBLK_VHOST_DISK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * struct disk - a block device as a guest is to see it
 * @name: of the device
 * @fd: the device; read-only descriptor for a read-only disk
 * @serial: what the guest sees as the disk's serial number
 * @queues: request queues offered
 * @queue_size: descriptors a queue
 * @workers: kernel threads that the queues share, or 0 for one each
 * @poll_us: how long such a thread looks at a ring before it sleeps
 * @kernel_features: virtio bits that vhost_blk knows
 * @features: virtio bits offered
 * @is_write_through: the host wants writes to be durable when they complete
 * @mem_slots: regions that a memory table may have
 * @config: the configuration space
 * @say_busy: report who keeps a guest from it; NULL to say nothing
 * @say_stalled: report why requests last so long, if that can be told; true if so
 *
 * Nothing that a guest has seen changes when another server takes the disk over.
 */
struct disk {
	char name[128];
	int fd;
	const char *serial;
	unsigned int queues;
	unsigned int queue_size;
	unsigned int workers;
	unsigned int poll_us;
	uint64_t kernel_features;
	uint64_t features;
	bool is_write_through;
	unsigned int mem_slots;
	struct virtio_blk_config config;
	void (*say_busy)(const struct disk *disk);
	bool (*say_stalled)(const struct disk *disk);
};

#endif
