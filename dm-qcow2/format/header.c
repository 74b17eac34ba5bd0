// SPDX-License-Identifier: GPL-2.0-only
/*
 * The header of a qcow2 image: parsed, checked, and judged for support.
 *
 * Builds in user space, too.
 */
#include "geometry.h"
#include "header.h"

static int refuse(int err, const char *sentence, const char **why)
{
	*why = sentence;
	return err;
}

static void decode_v2(const struct qcow2_disk_header *d, struct qcow2_header *h)
{
	h->version = be32_to_cpu(d->version);
	h->cluster_bits = be32_to_cpu(d->cluster_bits);
	h->size = be64_to_cpu(d->size);
	h->crypt_method = be32_to_cpu(d->crypt_method);
	h->l1_size = be32_to_cpu(d->l1_size);
	h->l1_offset = be64_to_cpu(d->l1_table_offset);
	h->reftable_offset = be64_to_cpu(d->refcount_table_offset);
	h->reftable_clusters = be32_to_cpu(d->refcount_table_clusters);
	h->nb_snapshots = be32_to_cpu(d->nb_snapshots);
	h->snapshots_offset = be64_to_cpu(d->snapshots_offset);
	h->backing_offset = be64_to_cpu(d->backing_file_offset);
	h->backing_bytes = be32_to_cpu(d->backing_file_size);
	h->refcount_order = 4;
	h->length = QCOW2_V2_HEADER_BYTES;
}

static void decode_v3(const struct qcow2_disk_header *d, struct qcow2_header *h)
{
	h->incompatible = be64_to_cpu(d->incompatible_features);
	h->compatible = be64_to_cpu(d->compatible_features);
	h->autoclear = be64_to_cpu(d->autoclear_features);
	h->refcount_order = be32_to_cpu(d->refcount_order);
	h->length = be32_to_cpu(d->header_length);
	if (h->length > offsetof(struct qcow2_disk_header, compression_type))
		h->compression = d->compression_type;
}

static int check_backing(const struct qcow2_header *h, const char **why)
{
	u64 cluster_bytes = BIT_ULL(h->cluster_bits);

	if (!h->backing_offset)
		return 0;
	if (h->backing_offset > cluster_bytes ||
	    h->backing_bytes > cluster_bytes - h->backing_offset ||
	    h->backing_bytes > QCOW2_MAX_BACKING_NAME_BYTES)
		return refuse(-EUCLEAN, "backing file name is out of range", why);
	return 0;
}

static int check_compression(const struct qcow2_header *h, const char **why)
{
	bool has_bit = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

	if (h->compression > QCOW2_COMPRESSION_ZSTD)
		return refuse(-EOPNOTSUPP, "unknown compression type", why);
	if (has_bit != (h->compression != QCOW2_COMPRESSION_ZLIB))
		return refuse(-EUCLEAN, "compression type contradicts its feature bit", why);
	return 0;
}

static int check_snapshots(const struct qcow2_header *h, const char **why)
{
	u64 bytes = (u64)h->nb_snapshots * QCOW2_SNAPSHOT_ENTRY_BYTES;

	if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS)
		return refuse(-EUCLEAN, "too many internal snapshots", why);
	if (!IS_ALIGNED(h->snapshots_offset, BIT_ULL(h->cluster_bits)) ||
	    h->snapshots_offset > S64_MAX - bytes)
		return refuse(-EUCLEAN, "snapshot table is out of range", why);
	return 0;
}

static int check_fields(const struct qcow2_header *h, const char **why)
{
	if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
	    h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return refuse(-EUCLEAN, "cluster size is out of range", why);
	if (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 &&
	    h->cluster_bits < QCOW2_MIN_EXTENDED_BITS)
		return refuse(-EUCLEAN, "clusters are too small for extended L2 entries", why);
	if (h->refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
		return refuse(-EUCLEAN, "refcount width is out of range", why);
	if (h->version == 3 &&
	    (h->length < QCOW2_V3_HEADER_BYTES || !IS_ALIGNED(h->length, 8) ||
	     h->length > BIT_ULL(h->cluster_bits)))
		return refuse(-EUCLEAN, "header length is out of range", why);
	if (h->crypt_method > 2)
		return refuse(-EUCLEAN, "encryption method is unknown", why);
	if (h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA_FILE &&
	    !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE))
		return refuse(-EUCLEAN, "raw data file bit without a data file", why);
	return check_backing(h, why) ?: check_compression(h, why) ?:
	       check_snapshots(h, why);
}

int qcow2_header_parse(const void *buf, size_t len, struct qcow2_header *h,
		       const char **why)
{
	struct qcow2_disk_header d = {};

	memset(h, 0, sizeof(*h));
	memcpy(&d, buf, min(len, sizeof(d)));
	if (len < sizeof(d.magic) || be32_to_cpu(d.magic) != QCOW2_MAGIC)
		return refuse(-EINVAL, "not a qcow2 image", why);
	if (len < QCOW2_V2_HEADER_BYTES)
		return refuse(-EUCLEAN, "header is truncated", why);

	decode_v2(&d, h);
	if (h->version != 2 && h->version != 3)
		return refuse(-EOPNOTSUPP, "unknown qcow2 version", why);
	if (h->version == 3) {
		if (len < QCOW2_V3_HEADER_BYTES)
			return refuse(-EUCLEAN, "header is truncated", why);
		decode_v3(&d, h);
		if (len < min(h->length, QCOW2_HEADER_BYTES))
			return refuse(-EUCLEAN, "header is truncated", why);
	}
	return check_fields(h, why);
}

/*
 * A table is cluster-aligned, behind the header, and ends inside the image. It is read
 * and written in metadata pages, so the last of them does.
 */
static bool table_is_inside(const struct qcow2_header *h, u64 offset, u64 bytes,
			    u64 image_end)
{
	u64 cluster_bytes = BIT_ULL(h->cluster_bits);
	u64 page_bytes = BIT_ULL(min(h->cluster_bits, QCOW2_MAX_PAGE_BITS));
	u64 end;

	return IS_ALIGNED(offset, cluster_bytes) && offset >= cluster_bytes &&
	       offset < QCOW2_MAX_HOST_OFFSET &&
	       !check_add_overflow(offset, round_up(bytes, page_bytes), &end) &&
	       end <= image_end;
}

/* Looked at by nobody yet, but QEMU opens no image that has lost it. */
static bool snapshots_are_inside(const struct qcow2_header *h, u64 image_end)
{
	u64 bytes = (u64)h->nb_snapshots * QCOW2_SNAPSHOT_ENTRY_BYTES;

	return !bytes || h->snapshots_offset + bytes <= image_end;
}

static u64 l1_entries_needed(const struct qcow2_header *h)
{
	bool is_extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
	unsigned int l2_span_bits = 2 * h->cluster_bits - QCOW2_ENTRY_BITS - is_extended;

	return (h->size >> l2_span_bits) +
	       ((h->size & (BIT_ULL(l2_span_bits) - 1)) != 0);
}

int qcow2_header_verify(const struct qcow2_header *h, u64 image_end,
			const char **why)
{
	u64 cluster_bytes = BIT_ULL(h->cluster_bits);
	u64 l1_bytes = (u64)h->l1_size * QCOW2_ENTRY_BYTES;
	u64 reftable_bytes = h->reftable_clusters * cluster_bytes;
	u64 l1_end, reftable_end;

	if (l1_bytes > QCOW2_MAX_L1_BYTES)
		return refuse(-EUCLEAN, "L1 table is too large", why);
	if (h->l1_size < l1_entries_needed(h))
		return refuse(-EUCLEAN, "L1 table is too small for the image", why);
	if (l1_bytes && !table_is_inside(h, h->l1_offset, l1_bytes, image_end))
		return refuse(-EUCLEAN, "L1 table is not inside the image", why);
	if (!reftable_bytes || reftable_bytes > QCOW2_MAX_REFTABLE_BYTES)
		return refuse(-EUCLEAN, "refcount table size is out of range", why);
	if (!table_is_inside(h, h->reftable_offset, reftable_bytes, image_end))
		return refuse(-EUCLEAN, "refcount table is not inside the image", why);
	if (!snapshots_are_inside(h, image_end))
		return refuse(-EUCLEAN, "snapshot table is not inside the image", why);

	l1_end = h->l1_offset + l1_bytes;
	reftable_end = h->reftable_offset + reftable_bytes;
	if (l1_bytes && h->l1_offset < reftable_end && h->reftable_offset < l1_end)
		return refuse(-EUCLEAN, "L1 and refcount tables overlap", why);
	return 0;
}

static int incompatible_supported(const struct qcow2_header *h, bool writable,
				  const char **why)
{
	if (h->incompatible & ~QCOW2_INCOMPAT_KNOWN)
		return refuse(-EOPNOTSUPP, "unknown incompatible feature bit", why);
	/* Alloc bits would stand beside host offset 0, which is a place there. */
	if (qcow2_header_has_data_file(h) && h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2)
		return refuse(-EOPNOTSUPP, "extended L2 entries with a data file are not supported",
			      why);
	/* Its holes would show the backing file, and zeroes to who reads the data file. */
	if (qcow2_header_has_raw_data(h) && h->backing_offset)
		return refuse(-EOPNOTSUPP, "raw data file beside a backing file is not supported",
			      why);
	if (writable && h->incompatible & QCOW2_INCOMPAT_CORRUPT)
		return refuse(-EUCLEAN, "image is marked corrupt", why);
	if (writable && h->incompatible & QCOW2_INCOMPAT_DIRTY)
		return refuse(-EUCLEAN, "image is marked dirty", why);
	return 0;
}

int qcow2_header_supported(const struct qcow2_header *h, bool writable,
			   const char **why)
{
	if (h->crypt_method)
		return refuse(-EOPNOTSUPP, "encryption is not supported", why);
	if (writable && h->nb_snapshots)
		return refuse(-EOPNOTSUPP,
			      "writing with internal snapshots is not supported", why);
	if (h->size == 0)
		return refuse(-EOPNOTSUPP, "virtual size is zero", why);
	if (!IS_ALIGNED(h->size, 512))
		return refuse(-EOPNOTSUPP,
			      "virtual size is not a multiple of 512 bytes", why);
	return incompatible_supported(h, writable, why);
}
