// SPDX-License-Identifier: GPL-2.0-only
/*
 * Growing the refcount table.
 *
 * The new table lies behind everything the old one could count, where all is
 * free unless the image is damaged, together with the refcount blocks that count it:
 *
 *	| block | ... | block | new table ................ |
 *	^ first cluster that the old table has no entry for
 *
 *	no table lies in the place	-- else the image is corrupt
 *	no data of a damaged image goes there any more
 *	zero the place			-- not referenced, not counted: free
 *	write the blocks and the table
 *	barrier REFTABLE
 *	header: offset and size		-- one sector: old or new
 *	barrier HEADER
 *	drop the clusters of the old table
 */
#include <linux/slab.h>

#include "format/refcount-entry.h"

#include "refcount.h"
#include "space.h"

/**
 * struct growth - the place of a new refcount table
 * @first: first cluster of the place
 * @nr_blocks: refcount blocks at its start
 * @nr_table: clusters of the table behind them
 * @first_block: refcount-table index of the first block
 */
struct growth {
	u64 first;
	u64 nr_blocks;
	u64 nr_table;
	u64 first_block;
};

static int plan_growth(struct qcow2_image *img, struct growth *gr)
{
	u64 max_table = QCOW2_MAX_REFTABLE_BYTES >> img->geo.cluster_bits;

	gr->first_block = qcow2_reftable_entries(img);
	gr->first = gr->first_block << img->geo.refblock_bits;
	gr->nr_table = min(2ULL * img->reftable_clusters, max_table);
	if (gr->nr_table <= img->reftable_clusters)
		return -ENOSPC;
	/* Each block counts itself and so many clusters of the table less one. */
	gr->nr_blocks = DIV_ROUND_UP_ULL(gr->nr_table, BIT_ULL(img->geo.refblock_bits) - 1);
	/* Next to the limit the new table may be too short for the blocks that count it. */
	if (gr->first_block + gr->nr_blocks >
	    gr->nr_table << (img->geo.cluster_bits - QCOW2_ENTRY_BITS))
		return -ENOSPC;
	return 0;
}

static u64 place_clusters(const struct growth *gr)
{
	return gr->nr_blocks + gr->nr_table;
}

static u64 place_offset(const struct qcow2_image *img, const struct growth *gr)
{
	return gr->first << img->geo.cluster_bits;
}

static u64 place_bytes(const struct qcow2_image *img, const struct growth *gr)
{
	return place_clusters(gr) << img->geo.cluster_bits;
}

/* What a byte of the place holds, one metadata page at a time. */
static void fill_block_page(struct qcow2_image *img, const struct growth *gr, u64 page, void *buf)
{
	u64 first = page << img->geo.refpage_bits;
	u64 end = min(first + BIT_ULL(img->geo.refpage_bits), place_clusters(gr));

	memset(buf, 0, qcow2_page_bytes(&img->geo));
	for (u64 i = first; i < end; i++)
		qcow2_refcount_set(buf, img->geo.refcount_order, i - first, 1);
}

static int fill_table_page(struct qcow2_image *img, const struct growth *gr, u64 page, void *buf)
{
	u64 per_page = BIT_ULL(img->geo.entry_bits);
	struct qcow2_mpage *old;
	__be64 *entries = buf;
	u64 block;

	memset(buf, 0, qcow2_page_bytes(&img->geo));
	if (page * per_page < gr->first_block) {
		old = qcow2_mpage_get(img, QCOW2_META_REFTABLE, page);
		if (IS_ERR(old))
			return PTR_ERR(old);
		memcpy(buf, old->data, qcow2_page_bytes(&img->geo));
		qcow2_mpage_put(old);
		return 0;
	}
	for (u64 i = 0; i < per_page; i++) {
		block = page * per_page + i - gr->first_block;
		if (block < gr->nr_blocks)
			entries[i] = cpu_to_be64((gr->first + block) << img->geo.cluster_bits);
	}
	return 0;
}

static int fill_page(struct qcow2_image *img, const struct growth *gr, u64 page, void *buf)
{
	u64 block_pages = gr->nr_blocks << qcow2_table_page_bits(&img->geo);

	if (page >= block_pages)
		return fill_table_page(img, gr, page - block_pages, buf);
	fill_block_page(img, gr, page, buf);
	return 0;
}

static int zero_place(struct qcow2_image *img, const struct growth *gr)
{
	int err = qcow2_file_zero(&img->file, place_offset(img, gr), place_bytes(img, gr));

	if (err == -EFBIG || err == -EDQUOT || err == -ENOSPC)
		return -ENOSPC;
	if (err && err != -ENOMEM)
		qcow2_fail(img, "zeroing free clusters", err);
	return err;
}

static int write_pages(struct qcow2_image *img, unsigned int count)
{
	int err = qcow2_writeback_write(img, &img->space->wb, count);

	if (err)
		qcow2_fail(img, "writing a new refcount table", err);
	return err;
}

static int write_place(struct qcow2_image *img, const struct growth *gr)
{
	u64 nr_pages = place_clusters(gr) << qcow2_table_page_bits(&img->geo);
	unsigned int room = qcow2_writeback_room(&img->space->wb), count = 0;
	struct qcow2_iovec *vec = img->space->wb.vec;
	int err = 0;

	for (u64 page = 0; page < nr_pages && !err; page++) {
		err = fill_page(img, gr, page, vec[count].buf);
		vec[count++].host_off = place_offset(img, gr) + (page << img->geo.page_bits);
		if (!err && (count == room || page == nr_pages - 1)) {
			err = write_pages(img, count);
			count = 0;
		}
	}
	return err ?: qcow2_barrier(img, QCOW2_BARRIER_REFTABLE);
}

static void set_reftable(struct qcow2_disk_header *d, const void *arg)
{
	const struct qcow2_image *img = arg;

	d->refcount_table_offset = cpu_to_be64(img->reftable_offset);
	d->refcount_table_clusters = cpu_to_be32(img->reftable_clusters);
}

/* From here on the place is metadata, and nobody writes data of a damaged image to it. */
static int reserve_place(struct qcow2_image *img, const struct growth *gr)
{
	int err;

	err = qcow2_tables_check(img, gr->first, place_clusters(gr)) ?:
	      qcow2_tables_add(img, gr->first, place_clusters(gr));
	if (!err)
		synchronize_srcu(&img->inflight);
	return err;
}

/* Let the image and its cache use the new table. */
static int switch_table(struct qcow2_image *img, const struct growth *gr)
{
	int err;

	qcow2_set_end(img, max(img->host_bytes, place_offset(img, gr) + place_bytes(img, gr)));
	qcow2_cache_forget(img, QCOW2_META_REFTABLE);
	qcow2_cache_forget(img, QCOW2_META_REFBLOCK);
	WRITE_ONCE(img->reftable_offset, (gr->first + gr->nr_blocks) << img->geo.cluster_bits);
	/* pairs with smp_load_acquire() in in_reftable() */
	smp_store_release(&img->reftable_clusters, gr->nr_table);
	err = qcow2_write_header(img, set_reftable, img);
	/* The cache goes by the new table already. */
	if (err)
		qcow2_fail(img, "moving the refcount table", err);
	return err;
}

static void drop_old_table(struct qcow2_image *img, u64 host_off, u32 clusters)
{
	struct qcow2_dropped *d;

	qcow2_tables_remove(img, host_off >> img->geo.cluster_bits, clusters);
	for (u32 i = 0; i < clusters; i++) {
		/* The header has the new table: there is no way back. */
		d = kmalloc(sizeof(*d), GFP_NOIO | __GFP_NOFAIL);
		qcow2_drop(img, d, host_off + ((u64)i << img->geo.cluster_bits), 0);
	}
}

int qcow2_reftable_grow(struct qcow2_image *img)
{
	u64 old_offset = img->reftable_offset;
	u32 old_clusters = img->reftable_clusters;
	unsigned int bits = img->geo.cluster_bits;
	struct growth gr;
	int err;

	err = plan_growth(img, &gr);
	if (err)
		return err;
	if (!qcow2_is_file(img) && (gr.first + gr.nr_blocks + gr.nr_table) << bits >
	    qcow2_file_bytes(&img->file))
		return -ENOSPC;
	err = reserve_place(img, &gr);
	if (err)
		return err;
	err = zero_place(img, &gr) ?: write_place(img, &gr) ?: switch_table(img, &gr);
	if (err) {
		qcow2_tables_remove(img, gr.first, place_clusters(&gr));
		return err;
	}
	qcow2_left_note_used(img, gr.first, place_clusters(&gr));
	drop_old_table(img, old_offset, old_clusters);
	return 0;
}
