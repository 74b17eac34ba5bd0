// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving guest clusters an L2 table.
 */
#include <linux/slab.h>

#include "cow.h"

/*
 * The table reads as zero, durably, so its pages and the L1 entry may reach the
 * disk in any order.
 */
static int link_in(struct qcow2_image *img, struct qcow2_mpage *l1, u64 table,
		   struct qcow2_dropped **dropped)
{
	u32 slot = qcow2_slot(&img->geo, table);
	u64 start;
	int err;

	if (!qcow2_space_take(img, 1, &start))
		return QCOW2_COW_NO_CLUSTER;
	start <<= img->geo.cluster_bits;
	spin_lock(&l1->lock);
	qcow2_mpage_set_entry(img, l1, slot, start | QCOW2_OFLAG_COPIED);
	spin_unlock(&l1->lock);
	err = qcow2_table_attach(img, QCOW2_META_L2, table, start);
	if (!err)
		return QCOW2_COW_AGAIN;
	/* Nobody has followed the entry, as the table's mutex is held; it may be on disk. */
	spin_lock(&l1->lock);
	qcow2_mpage_set_entry(img, l1, slot, 0);
	spin_unlock(&l1->lock);
	qcow2_drop(img, *dropped, start, qcow2_commit_next(img));
	*dropped = NULL;
	return err;
}

static int link_table(struct qcow2_image *img, u64 table)
{
	struct qcow2_dropped *dropped;
	struct qcow2_mpage *l1;
	int result;

	dropped = kmalloc(sizeof(*dropped), GFP_NOIO);
	if (!dropped)
		return -ENOMEM;
	l1 = qcow2_mpage_get(img, QCOW2_META_L1, table >> img->geo.entry_bits);
	if (IS_ERR(l1)) {
		kfree(dropped);
		return PTR_ERR(l1);
	}
	result = qcow2_mpage_own_data(img, l1);
	if (!result)
		result = link_in(img, l1, table, &dropped);
	qcow2_mpage_put(l1);
	kfree(dropped);
	return result;
}

int qcow2_table_allocate(struct qcow2_image *img, struct qcow2_mpage *p)
{
	u64 table = p->index >> qcow2_table_page_bits(&img->geo);
	struct mutex *mutex = qcow2_table_mutex(img, QCOW2_META_L2, table);
	int result = QCOW2_COW_AGAIN;

	mutex_lock(mutex);
	if (!p->host_off)
		result = link_table(img, table);
	mutex_unlock(mutex);
	return result;
}
