// SPDX-License-Identifier: GPL-2.0-only
/*
 * The header of a qcow2 image: parsed, checked, and judged for support.
 *
 * Builds in user space, too.
 */
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
	h->has_backing = d->backing_file_offset != 0;
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
}

static int check_fields(const struct qcow2_header *h, const char **why)
{
	if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
	    h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return refuse(-EUCLEAN, "cluster size is out of range", why);
	if (h->refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
		return refuse(-EUCLEAN, "refcount width is out of range", why);
	if (h->version == 3 &&
	    (h->length < QCOW2_V3_HEADER_BYTES || !IS_ALIGNED(h->length, 8) ||
	     h->length > BIT_ULL(h->cluster_bits)))
		return refuse(-EUCLEAN, "header length is out of range", why);
	if (h->crypt_method > 2)
		return refuse(-EUCLEAN, "encryption method is unknown", why);
	if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS)
		return refuse(-EUCLEAN, "too many internal snapshots", why);
	return 0;
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
	}
	return check_fields(h, why);
}

/* A table is cluster-aligned, behind the header, and ends inside the image. */
static bool table_is_inside(const struct qcow2_header *h, u64 offset, u64 bytes,
			    u64 file_bytes)
{
	u64 cluster_bytes = BIT_ULL(h->cluster_bits);
	u64 end;

	return IS_ALIGNED(offset, cluster_bytes) && offset >= cluster_bytes &&
	       offset < QCOW2_MAX_HOST_OFFSET &&
	       !check_add_overflow(offset, bytes, &end) && end <= file_bytes;
}

static u64 l1_entries_needed(const struct qcow2_header *h)
{
	unsigned int l2_span_bits = 2 * h->cluster_bits - QCOW2_ENTRY_BITS;

	return (h->size >> l2_span_bits) +
	       ((h->size & (BIT_ULL(l2_span_bits) - 1)) != 0);
}

int qcow2_header_verify(const struct qcow2_header *h, u64 file_bytes,
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
	if (l1_bytes && !table_is_inside(h, h->l1_offset, l1_bytes, file_bytes))
		return refuse(-EUCLEAN, "L1 table is not inside the image", why);
	if (!reftable_bytes || reftable_bytes > QCOW2_MAX_REFTABLE_BYTES)
		return refuse(-EUCLEAN, "refcount table size is out of range", why);
	if (!table_is_inside(h, h->reftable_offset, reftable_bytes, file_bytes))
		return refuse(-EUCLEAN, "refcount table is not inside the image", why);

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
	if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return refuse(-EOPNOTSUPP, "external data file is not supported", why);
	if (h->incompatible & QCOW2_INCOMPAT_COMPRESSION)
		return refuse(-EOPNOTSUPP, "zstd compression is not supported", why);
	if (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2)
		return refuse(-EOPNOTSUPP, "extended L2 entries are not supported", why);
	if (writable && h->incompatible & QCOW2_INCOMPAT_CORRUPT)
		return refuse(-EUCLEAN, "image is marked corrupt", why);
	if (writable && h->incompatible & QCOW2_INCOMPAT_DIRTY)
		return refuse(-EUCLEAN, "image is marked dirty", why);
	return 0;
}

int qcow2_header_supported(const struct qcow2_header *h, bool writable,
			   const char **why)
{
	if (h->has_backing)
		return refuse(-EOPNOTSUPP, "backing file is not supported", why);
	if (h->crypt_method)
		return refuse(-EOPNOTSUPP, "encryption is not supported", why);
	if (writable && h->nb_snapshots)
		return refuse(-EOPNOTSUPP,
			      "writing with internal snapshots is not supported", why);
	if (writable && h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)
		return refuse(-EOPNOTSUPP,
			      "writing with persistent bitmaps is not supported", why);
	if (h->size == 0)
		return refuse(-EOPNOTSUPP, "virtual size is zero", why);
	if (!IS_ALIGNED(h->size, 512))
		return refuse(-EOPNOTSUPP,
			      "virtual size is not a multiple of 512 bytes", why);
	return incompatible_supported(h, writable, why);
}
