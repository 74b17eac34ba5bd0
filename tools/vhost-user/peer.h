/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_PEER_H
#define VBLK_VHOST_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "memory.h"

pid_t vhost_peer_pid(int conn);
bool vhost_peer_has_private(pid_t pid, const struct vhost_mem_region *regions,
			    unsigned int n);

#endif
