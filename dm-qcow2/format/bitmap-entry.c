// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmap directory: parsed and checked.
 *
 * Builds in user space, too.
 */
#include "bitmap-entry.h"

static int refuse(int err, const char *sentence, const char **why)
{
	*why = sentence;
	return err;
}

static int parse(const void *buf, size_t len, struct qcow2_bitmap_entry *e, const char **why)
{
	struct qcow2_disk_bitmap d;
	u64 bytes;

	if (len < sizeof(d))
		return refuse(-EUCLEAN, "bitmap directory ends inside an entry", why);
	memcpy(&d, buf, sizeof(d));
	*e = (struct qcow2_bitmap_entry) {
		.table_offset = be64_to_cpu(d.table_offset),
		.table_entries = be32_to_cpu(d.table_entries),
		.flags = be32_to_cpu(d.flags),
		.extra_bytes = be32_to_cpu(d.extra_bytes),
		.name_bytes = be16_to_cpu(d.name_bytes),
		.granularity_bits = d.granularity_bits,
		.type = d.type,
	};
	bytes = round_up(sizeof(d) + (u64)e->extra_bytes + e->name_bytes, 8);
	if (bytes > len)
		return refuse(-EUCLEAN, "bitmap directory ends inside an entry", why);
	e->bytes = bytes;
	e->name = (const char *)buf + sizeof(d) + e->extra_bytes;
	return 0;
}

static bool has_name(const struct qcow2_bitmap_entry *e)
{
	return e->name_bytes && e->name_bytes <= QCOW2_MAX_BITMAP_NAME_BYTES &&
	       !memchr(e->name, '\0', e->name_bytes);
}

/* As large as the disk needs it, to the cluster: QEMU takes no other. */
static bool has_right_size(const struct qcow2_header *h, const struct qcow2_bitmap_entry *e)
{
	u64 bits = qcow2_bitmap_bits(h->size, e->granularity_bits);
	u64 per_cluster = BIT_ULL(h->cluster_bits) * 8;

	return e->table_entries == bits / per_cluster + !!(bits % per_cluster);
}

static int check_recorded(const struct qcow2_header *h, const struct qcow2_bitmap_entry *e,
			  const char **why)
{
	if (e->extra_bytes)
		return refuse(-EOPNOTSUPP, "a bitmap has unknown extra data", why);
	if (!has_right_size(h, e))
		return refuse(-EUCLEAN, "a bitmap is not as large as the disk", why);
	return 0;
}

int qcow2_bitmap_entry_parse(const struct qcow2_header *h, const void *buf, size_t len,
			     struct qcow2_bitmap_entry *e, const char **why)
{
	int err = parse(buf, len, e, why);

	if (err || e->flags & QCOW2_BITMAP_IN_USE)
		return err;
	if (e->flags & ~QCOW2_BITMAP_AUTO ||
	    e->type != QCOW2_BITMAP_DIRTY_TRACKING)
		return refuse(-EOPNOTSUPP, "a bitmap is of an unknown kind", why);
	if (!has_name(e))
		return refuse(-EUCLEAN, "a bitmap has no valid name", why);
	if (e->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
	    e->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS)
		return refuse(-EUCLEAN, "granularity of a bitmap is out of range", why);
	if (!IS_ALIGNED(e->table_offset, BIT_ULL(h->cluster_bits)) || !e->table_offset ||
	    !e->table_entries || e->table_entries > QCOW2_MAX_BITMAP_TABLE_ENTRIES)
		return refuse(-EUCLEAN, "a bitmap table is out of range", why);
	return qcow2_bitmap_records(e) ? check_recorded(h, e, why) : 0;
}

int qcow2_bitmap_dir_check(const struct qcow2_header *h, const void *dir,
			   unsigned int *nr_recording, const char **why)
{
	struct qcow2_bitmap_entry e;
	u64 at = 0, bytes = 0;
	int err;

	*nr_recording = 0;
	for (u32 i = 0; i < h->nb_bitmaps; i++, at += e.bytes) {
		err = qcow2_bitmap_entry_parse(h, (const u8 *)dir + at, h->bitmap_dir_bytes - at,
					       &e, why);
		if (err)
			return err;
		if (!qcow2_bitmap_records(&e))
			continue;
		bytes += qcow2_bitmap_bits(h->size, e.granularity_bits) / 8;
		if (bytes > QCOW2_MAX_RECORDING_BYTES || ++*nr_recording > QCOW2_MAX_RECORDING)
			return refuse(-EOPNOTSUPP, "too many bitmaps record, or too finely", why);
	}
	if (at != h->bitmap_dir_bytes)
		return refuse(-EUCLEAN, "bitmap directory has something behind its end", why);
	return 0;
}

bool qcow2_bitmap_table_check(u32 cluster_bits, u64 entry, u64 image_end)
{
	u64 cluster_bytes = BIT_ULL(cluster_bits);

	if (entry == QCOW2_BITMAP_ALL_ZEROES || entry == QCOW2_BITMAP_ALL_ONES)
		return true;
	return !(entry & ~QCOW2_OFFSET_MASK) && IS_ALIGNED(entry, cluster_bytes) &&
	       entry >= cluster_bytes && entry <= image_end - cluster_bytes;
}
