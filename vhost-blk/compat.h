/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What not all kernels do alike.
 */
#ifndef VHOST_BLK_COMPAT_H
#define VHOST_BLK_COMPAT_H

#include "vhost.h"

/*
 * VIRTIO_F_IN_ORDER is not among our features: no counts of descriptors or of
 * heads are kept for it.
 */
static inline int vhost_blk_add_used_n(struct vhost_virtqueue *vq, unsigned int nr)
{
#ifdef VHOST_HAS_NHEADS
	return vhost_add_used_n(vq, vq->heads, NULL, nr);
#else
	return vhost_add_used_n(vq, vq->heads, nr);
#endif
}

static inline void vhost_blk_discard(struct vhost_virtqueue *vq, int nr)
{
#ifdef VHOST_DISCARDS_NDESC
	vhost_discard_vq_desc(vq, nr, 0);
#else
	vhost_discard_vq_desc(vq, nr);
#endif
}

#endif /* VHOST_BLK_COMPAT_H */
