/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_MEM_H
#define VBLK_VHOST_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "messages.h"

#define VHOST_MEM_MAX_REGIONS	512

/**
 * struct vhost_mem_region - guest memory that this process has mapped
 * @wire: as the front-end described it
 * @map: the mapping, of the file from its start, so that the offset of a
 *       region in a huge-page file needs no alignment of its own
 * @map_bytes: its length
 * @dev: file, and with @ino and @wire the identity of the mapping
 * @ino: see @dev
 */
struct vhost_mem_region {
	struct vhost_user_region wire;
	void *map;
	size_t map_bytes;
	dev_t dev;
	ino_t ino;
};

/**
 * struct vhost_mem - a memory table
 *
 * A table that is to replace another shares the mappings of what both have.
 */
struct vhost_mem {
	unsigned int nr;
	struct vhost_mem_region regions[VHOST_MEM_MAX_REGIONS];
};

int vhost_mem_add(struct vhost_mem *m, const struct vhost_mem *old,
		  const struct vhost_user_region *wire, int fd);
int vhost_mem_remove(struct vhost_mem *m, const struct vhost_user_region *wire);
void vhost_mem_unmap_unshared(struct vhost_mem *m,
			      const struct vhost_mem *other);
uint64_t vhost_mem_host_addr(const struct vhost_mem_region *r);
int vhost_mem_translate(const struct vhost_mem *m, uint64_t user_addr,
			uint64_t bytes, uint64_t *host_addr);

#endif
