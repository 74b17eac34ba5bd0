// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that sleep: L2 tables, and copies of clusters before a write.
 */
#include <linux/hash.h>
#include <linux/slab.h>

#include "cow.h"

static void set_entry(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 entry)
{
	lockdep_assert_held(&p->lock);
	qcow2_mpage_mark_dirty(img, p);
	WRITE_ONCE(qcow2_mpage_entries(p)[slot], cpu_to_be64(entry));
}

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
	set_entry(img, l1, slot, start | QCOW2_OFLAG_COPIED);
	spin_unlock(&l1->lock);
	err = qcow2_table_attach(img, QCOW2_META_L2, table, start);
	if (!err)
		return QCOW2_COW_DONE;
	/* Nobody has followed the entry, as the table's mutex is held; it may be on disk. */
	spin_lock(&l1->lock);
	set_entry(img, l1, slot, 0);
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
	int result = QCOW2_COW_DONE;

	mutex_lock(mutex);
	if (!p->host_off)
		result = link_table(img, table);
	mutex_unlock(mutex);
	return result;
}

#define COPY_BYTES	(32U << 10)

static int copy_data(struct qcow2_image *img, u64 from, u64 to)
{
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	struct qcow2_iovec vec = { .bytes = min_t(u64, COPY_BYTES, cluster_bytes) };
	int err = 0;

	vec.buf = kmalloc(vec.bytes, GFP_NOIO);
	if (!vec.buf)
		return -ENOMEM;
	for (u64 done = 0; done < cluster_bytes && !err; done += vec.bytes) {
		vec.host_off = from + done;
		err = qcow2_file_rw(&img->file, REQ_OP_READ, &vec, 1);
		if (err)
			break;
		vec.host_off = to + done;
		err = qcow2_file_rw(&img->file, REQ_OP_WRITE, &vec, 1);
	}
	kfree(vec.buf);
	return err;
}

/* The copy is written; make the entry point at it, and the old cluster go. */
static void publish_copy(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 host_off,
			 bool has_data)
{
	spin_lock(&p->lock);
	if (has_data)
		p->data_seq = atomic64_inc_return(&img->commit->data_seq);
	set_entry(img, p, slot, host_off | QCOW2_OFLAG_COPIED);
	spin_unlock(&p->lock);
}

/* What is dropped is the old cluster, or the new one if it cannot be written. */
static int replace_cluster(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 entry,
			   struct qcow2_dropped **dropped)
{
	bool has_data = qcow2_entry_type(&img->geo, entry) == QCOW2_ENTRY_SHARED;
	u64 start;
	int err = 0;

	if (!qcow2_space_take(img, 1, &start))
		return QCOW2_COW_NO_CLUSTER;
	start <<= img->geo.cluster_bits;
	if (has_data)
		err = copy_data(img, qcow2_entry_offset(entry), start);
	if (err) {
		qcow2_drop(img, *dropped, start, 0);
	} else {
		publish_copy(img, p, slot, start, has_data);
		qcow2_drop(img, *dropped, qcow2_entry_offset(entry), qcow2_commit_next(img));
	}
	*dropped = NULL;
	return err ?: QCOW2_COW_DONE;
}

int qcow2_copy_cluster(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off)
{
	struct mutex *mutex = &img->copies->mutex[hash_64(guest_off >> img->geo.cluster_bits,
						       ilog2(QCOW2_COPY_MUTEXES))];
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	struct qcow2_dropped *dropped;
	enum qcow2_entry_type type;
	int result = QCOW2_COW_DONE;
	u64 entry;

	dropped = kmalloc(sizeof(*dropped), GFP_NOIO);
	if (!dropped)
		return -ENOMEM;
	mutex_lock(mutex);
	entry = qcow2_mpage_entry(p, slot);
	type = qcow2_entry_type(&img->geo, entry);
	if (type == QCOW2_ENTRY_SHARED || type == QCOW2_ENTRY_ZERO_ALLOCATED)
		result = replace_cluster(img, p, slot, entry, &dropped);
	mutex_unlock(mutex);
	kfree(dropped);
	return result;
}

void qcow2_copies_init(struct qcow2_copies *c, struct qcow2_image *img)
{
	for (int i = 0; i < QCOW2_COPY_MUTEXES; i++)
		mutex_init(&c->mutex[i]);
	img->copies = c;
}
