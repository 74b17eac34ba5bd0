/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_VHOST_RING_H
#define VBLK_VHOST_RING_H

#include "front-end.h"

int vhost_rings_set_features(struct vhost_user *vu);
int vhost_rings_set_cache(struct vhost_user *vu);
int vhost_ring_translate(const struct vhost_mem *m, const struct ring *r,
			 struct vhost_vring_addr *out);
bool vhost_ring_should_run(const struct vhost_user *vu, const struct ring *r);
int vhost_ring_stop(struct vhost_user *vu, struct ring *r);
int vhost_ring_update(struct vhost_user *vu, struct ring *r);
void vhost_rings_close(struct vhost_user *vu);
void vhost_rings_reset(struct vhost_user *vu);
bool vhost_rings_run(const struct vhost_user *vu);

#endif
