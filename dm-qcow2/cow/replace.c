// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replacing a cluster that is kept for a guest cluster of zeroes.
 *
 * It may hold anything, and a fresh one reads as zero: nothing is copied, and nobody waits.
 */
#include <linux/slab.h>

#include "cow.h"
#include "drops.h"

/* Return: whether the entry was what it was thought to be. */
static bool exchange(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 old,
		     u64 host_off)
{
	bool is_old;

	spin_lock(&p->lock);
	is_old = qcow2_mpage_entry(p, slot) == old;
	if (is_old)
		qcow2_mpage_set_entry(img, p, slot, host_off | QCOW2_OFLAG_COPIED);
	spin_unlock(&p->lock);
	return is_old;
}

int qcow2_replace_zero(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off)
{
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	u64 start, entry = qcow2_mpage_entry(p, slot);
	struct qcow2_drops drops;
	int result = QCOW2_COW_AGAIN;

	if (qcow2_entry_type(&img->geo, entry) != QCOW2_ENTRY_ZERO_ALLOCATED)
		return QCOW2_COW_AGAIN;
	if (!qcow2_drops_alloc(&drops, img, entry, GFP_NOIO))
		return -ENOMEM;
	if (!qcow2_space_take(img, 1, &start))
		result = QCOW2_COW_NO_CLUSTER;
	else if (exchange(img, p, slot, entry, start << img->geo.cluster_bits))
		qcow2_drops_use(&drops, img, entry);
	else
		qcow2_space_give_back(img, kmalloc(sizeof(struct qcow2_extent),
						   GFP_NOIO | __GFP_NOFAIL), start);
	qcow2_drops_free(&drops);
	return result;
}
