// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that sleep: L2 tables, and copies of clusters before a write.
 */
#include <linux/hash.h>
#include <linux/slab.h>

#include "format/compressed-entry.h"
#include "image/compressed.h"

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

/* Memory that is needed when nothing may fail any more: for all that one entry may drop. */
struct drops {
	struct qcow2_dropped *d[QCOW2_MAX_COMPRESSED_CLUSTERS];
};

static void free_drops(struct drops *drops)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(drops->d); i++)
		kfree(drops->d[i]);
}

static bool alloc_drops(struct drops *drops)
{
	bool is_whole = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(drops->d); i++) {
		drops->d[i] = kmalloc(sizeof(*drops->d[i]), GFP_NOIO);
		is_whole &= !!drops->d[i];
	}
	if (!is_whole)
		free_drops(drops);
	return is_whole;
}

/**
 * struct source - the contents of a cluster that is replaced
 * @img: the image
 * @host_off: where they are
 * @inflated: of a compressed cluster; else NULL
 */
struct source {
	struct qcow2_image *img;
	u64 host_off;
	struct qcow2_inflated *inflated;
};

static int read_source(const struct source *src, u64 done, const struct qcow2_iovec *to)
{
	struct qcow2_iovec vec = *to;

	if (src->inflated) {
		memcpy(to->buf, qcow2_inflated_data(src->inflated) + done, to->bytes);
		return 0;
	}
	vec.host_off = src->host_off + done;
	return qcow2_file_rw(&src->img->file, REQ_OP_READ, &vec, 1);
}

static int copy_data(const struct source *src, u64 to)
{
	struct qcow2_image *img = src->img;
	u64 cluster_bytes = qcow2_cluster_bytes(&img->geo);
	struct qcow2_iovec vec = { .bytes = min_t(u64, COPY_BYTES, cluster_bytes) };
	int err = 0;

	vec.buf = kmalloc(vec.bytes, GFP_NOIO);
	if (!vec.buf)
		return -ENOMEM;
	for (u64 done = 0; done < cluster_bytes && !err; done += vec.bytes) {
		vec.host_off = to + done;
		err = read_source(src, done, &vec) ?:
		      qcow2_file_rw(&img->file, REQ_OP_WRITE, &vec, 1);
	}
	kfree(vec.buf);
	return err;
}

/* What it reads as zero need not be copied: a fresh cluster does. */
static int copy_cluster(struct qcow2_image *img, u64 entry, u64 to)
{
	struct source src = {
		.img = img,
		.host_off = qcow2_entry_offset(entry),
	};
	int err;

	switch (qcow2_entry_type(&img->geo, entry)) {
	case QCOW2_ENTRY_SHARED:
		return copy_data(&src, to);
	case QCOW2_ENTRY_COMPRESSED:
		src.inflated = qcow2_compressed_get(img, entry);
		if (IS_ERR(src.inflated))
			return PTR_ERR(src.inflated);
		err = copy_data(&src, to);
		qcow2_compressed_put(img, src.inflated);
		return err;
	default:
		return 0;
	}
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

/* What counts the old cluster in its refcount: a compressed one may touch several. */
static u32 old_clusters(const struct qcow2_image *img, u64 entry, u64 *first)
{
	if (entry & QCOW2_OFLAG_COMPRESSED) {
		*first = qcow2_compressed_first_cluster(&img->geo, entry);
		return qcow2_compressed_clusters(&img->geo, entry);
	}
	*first = qcow2_entry_offset(entry) >> img->geo.cluster_bits;
	return 1;
}

static void drop_clusters(struct qcow2_image *img, struct drops *drops, u64 first, u32 count,
			  u64 commit)
{
	for (u32 i = 0; i < count; i++) {
		qcow2_drop(img, drops->d[i], (first + i) << img->geo.cluster_bits, commit);
		drops->d[i] = NULL;
	}
}

/* What is dropped is the old cluster, or the new one if it cannot be written. */
static int replace_cluster(struct qcow2_image *img, struct qcow2_mpage *p, u32 slot, u64 entry,
			   struct drops *drops)
{
	u64 start, first;
	u32 count;
	int err;

	if (!qcow2_space_take(img, 1, &start))
		return QCOW2_COW_NO_CLUSTER;
	err = copy_cluster(img, entry, start << img->geo.cluster_bits);
	if (err) {
		drop_clusters(img, drops, start, 1, 0);
		return err;
	}
	count = old_clusters(img, entry, &first);
	publish_copy(img, p, slot, start << img->geo.cluster_bits,
		     !qcow2_entry_reads_zero(qcow2_entry_type(&img->geo, entry)));
	drop_clusters(img, drops, first, count, qcow2_commit_next(img));
	return QCOW2_COW_DONE;
}

static bool wants_copy(enum qcow2_entry_type type)
{
	return type == QCOW2_ENTRY_SHARED || type == QCOW2_ENTRY_ZERO_ALLOCATED ||
	       type == QCOW2_ENTRY_COMPRESSED;
}

int qcow2_copy_cluster(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off)
{
	struct mutex *mutex = &img->copies->mutex[hash_64(guest_off >> img->geo.cluster_bits,
							  ilog2(QCOW2_COPY_MUTEXES))];
	u32 slot = qcow2_l2_slot(&img->geo, guest_off);
	int result = QCOW2_COW_DONE;
	struct drops drops;
	u64 entry;

	if (!alloc_drops(&drops))
		return -ENOMEM;
	mutex_lock(mutex);
	entry = qcow2_mpage_entry(p, slot);
	if (wants_copy(qcow2_entry_type(&img->geo, entry)))
		result = replace_cluster(img, p, slot, entry, &drops);
	mutex_unlock(mutex);
	free_drops(&drops);
	return result;
}

void qcow2_copies_init(struct qcow2_copies *c, struct qcow2_image *img)
{
	for (int i = 0; i < QCOW2_COPY_MUTEXES; i++)
		mutex_init(&c->mutex[i]);
	img->copies = c;
}
