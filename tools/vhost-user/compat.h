/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls for vhost workers came with Linux 6.5; the C library's kernel
 * headers may be older than the kernel that the tools run on (Debian 12: 6.1).
 */
#ifndef VBLK_VHOST_COMPAT_H
#define VBLK_VHOST_COMPAT_H

#include <linux/vhost.h>

#ifndef VHOST_NEW_WORKER

struct vhost_worker_state {
	unsigned int worker_id;
};

struct vhost_vring_worker {
	unsigned int index;
	unsigned int worker_id;
};

#define VHOST_NEW_WORKER _IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER _IOW(VHOST_VIRTIO, 0x15, \
				       struct vhost_vring_worker)

#endif

#endif
