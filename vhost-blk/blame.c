// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is wrong with a chain that vhost core has refused, for the host's log.
 *
 * vhost core does not say which buffer it could not translate. The chain is read
 * once more, for that alone: the driver may have changed it meanwhile.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/uaccess.h>
#include <linux/vhost_iotlb.h>
#include "backend.h"
#include "blame.h"
#include "device.h"

/**
 * struct table - descriptors of a chain
 * @desc: in the ring, or indirect
 * @nr: how many
 */
struct table {
	struct vring_desc __user *desc;
	unsigned int nr;
};

/* Where the owner has these bytes of the guest's memory; NULL: not all are there. */
static void __user *find(const struct vhost_blk_vq *q, u64 addr, u32 bytes)
{
	const struct vhost_iotlb_map *map;

	if (!bytes || addr + bytes - 1 < addr)
		return NULL;
	map = vhost_iotlb_itree_first(q->vq.umem, addr, addr);
	if (!map || !vhost_iotlb_itree_first(q->vq.umem, addr + bytes - 1,
					     addr + bytes - 1))
		return NULL;
	return u64_to_user_ptr(map->addr + addr - map->start);
}

/*
 * Look through a table from descriptor @i on. Returns true when there is no more to
 * see; false: @next is an indirect table that goes with it.
 */
static bool look_through(struct vhost_blk_vq *q, const struct table *table,
			 unsigned int i, struct table *next)
{
	struct vhost_virtqueue *vq = &q->vq;
	struct vring_desc desc;
	unsigned int nr;

	for (nr = 0; nr < table->nr && i < table->nr; nr++) {
		void __user *there;
		u16 flags;
		u64 addr;
		u32 bytes;

		if (copy_from_user(&desc, table->desc + i, sizeof(desc)))
			return true;
		addr = vhost64_to_cpu(vq, desc.addr);
		bytes = vhost32_to_cpu(vq, desc.len);
		flags = vhost16_to_cpu(vq, desc.flags);
		there = find(q, addr, bytes);
		if (bytes && !there) {
			pr_warn_ratelimited("%pg: queue %u: descriptor %u, %u bytes at %#llx: not in the memory that the front-end shares\n",
					    q->vdev->backend->bdev, q->index, i,
					    bytes, addr);
			return true;
		}
		if (flags & VRING_DESC_F_INDIRECT) {
			next->desc = there;
			next->nr = bytes / sizeof(desc);
			return !there;
		}
		if (!(flags & VRING_DESC_F_NEXT))
			return true;
		i = vhost16_to_cpu(vq, desc.next);
	}
	return true;
}

/**
 * vhost_blk_blame_chain - log the buffer that is not in the guest's memory
 * @q: queue, of which vhost core has refused the next chain with EFAULT
 *
 * Context: vq.mutex held; with the owner's mm.
 */
void vhost_blk_blame_chain(struct vhost_blk_vq *q)
{
	struct vhost_virtqueue *vq = &q->vq;
	struct table ring = { .desc = vq->desc, .nr = vq->num };
	struct table indirect;
	__virtio16 head;

	lockdep_assert_held(&vq->mutex);
	if (get_user(head, &vq->avail->ring[vq->last_avail_idx & (vq->num - 1)]))
		return;
	if (!look_through(q, &ring, vhost16_to_cpu(vq, head), &indirect))
		look_through(q, &indirect, 0, &ring);
}
