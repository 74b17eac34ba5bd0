/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Worker ioctls of <linux/vhost.h> that the installed headers may not have yet.
 */
#ifndef VIRTIO_FRONT_COMPAT_H
#define VIRTIO_FRONT_COMPAT_H

#include <linux/vhost.h>

#ifndef VHOST_NEW_WORKER
struct vhost_worker_state {
	unsigned int worker_id;
};

struct vhost_vring_worker {
	unsigned int index;
	unsigned int worker_id;
};

#define VHOST_NEW_WORKER	_IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER _IOW(VHOST_VIRTIO, 0x15, struct vhost_vring_worker)
#endif

#endif
