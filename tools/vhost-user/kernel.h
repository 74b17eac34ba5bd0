/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_KERNEL_H
#define VBLK_VHOST_KERNEL_H

#include <linux/vhost_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

struct disk;

/**
 * struct vhost_kernel - one open /dev/vhost-blk
 * @disk: what it serves; says how many workers there are, and how long they poll
 * @fd: -1 when closed
 * @made: workers made so far, a bit each
 * @worker_ids: their ids
 * @has_worker: queues that were given one of them, a bit each
 * @lacks_workers: it was said that there can be no more
 */
struct vhost_kernel {
	const struct disk *disk;
	int fd;
	uint64_t made;
	unsigned int worker_ids[VHOST_BLK_MAX_QUEUES];
	uint64_t has_worker;
	bool lacks_workers;
};

/**
 * struct vhost_kernel_ring - what the kernel needs to run a queue
 * @size: descriptors
 * @addr: index, flags, and this process's addresses
 * @kick: eventfd, or -1
 * @call: eventfd, or -1
 * @err: eventfd, or -1
 */
struct vhost_kernel_ring {
	unsigned int size;
	struct vhost_vring_addr addr;
	int kick;
	int call;
	int err;
};

int vhost_kernel_features(uint64_t *features);
int vhost_kernel_open(struct vhost_kernel *k, const struct disk *disk,
		      int stop_fd);
void vhost_kernel_close(struct vhost_kernel *k);
int vhost_kernel_set_features(struct vhost_kernel *k, uint64_t features);
int vhost_kernel_set_write_cache(struct vhost_kernel *k, bool is_on);
int vhost_kernel_get_stats(struct vhost_kernel *k, struct vhost_blk_vring_stats *stats);
int vhost_kernel_set_memory(struct vhost_kernel *k, const struct vhost_mem *m);
int vhost_kernel_start_ring(struct vhost_kernel *k,
			    const struct vhost_kernel_ring *ring);
int vhost_kernel_stop_ring(struct vhost_kernel *k, unsigned int index);
int vhost_kernel_set_addr(struct vhost_kernel *k,
			  const struct vhost_vring_addr *addr);
int vhost_kernel_set_err(struct vhost_kernel *k, unsigned int index, int fd);
int vhost_kernel_get_base(struct vhost_kernel *k, unsigned int index,
			  unsigned int *base);

#endif
