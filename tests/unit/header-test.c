// SPDX-License-Identifier: GPL-2.0-only
/*
 * The header: what qcow2_header_parse(), _verify() and _supported() accept, and
 * by which sentence they refuse the rest.
 *
 * Each test starts from a header that is right and spoils one thing. Every
 * header is handed over in memory of just its length, for ASan to watch.
 */
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "dm-qcow2/format/header.h"

#define KIB 1024ULL
#define MIB (KIB * KIB)
#define FILE_BYTES (4 * MIB)

/* What qemu-img would write for 64 MiB: clusters of 64 KiB, refcounts of 16 bits. */
static struct qcow2_disk_header right_header(u32 version)
{
	struct qcow2_disk_header d = {
		.magic = cpu_to_be32(QCOW2_MAGIC),
		.version = cpu_to_be32(version),
		.cluster_bits = cpu_to_be32(16),
		.size = cpu_to_be64(64 * MIB),
		.l1_size = cpu_to_be32(1),
		.l1_table_offset = cpu_to_be64(192 * KIB),
		.refcount_table_offset = cpu_to_be64(64 * KIB),
		.refcount_table_clusters = cpu_to_be32(1),
	};

	if (version == 3) {
		d.refcount_order = cpu_to_be32(4);
		d.header_length = cpu_to_be32(QCOW2_V3_HEADER_BYTES);
	}
	return d;
}

static int parse_bytes(const void *bytes, size_t len, struct qcow2_header *h,
		       const char **why)
{
	void *exact = malloc(len ? len : 1);
	int err;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	*why = NULL;
	err = qcow2_header_parse(exact, len, h, why);
	free(exact);
	return err;
}

static int parse(const struct qcow2_disk_header *d, struct qcow2_header *h,
		 const char **why)
{
	return parse_bytes(d, sizeof(*d), h, why);
}

static void expect_refused(const struct qcow2_disk_header *d, int err, const char *sentence)
{
	struct qcow2_header h;
	const char *why;

	assert_int_equal(parse(d, &h, &why), err);
	assert_string_equal(why, sentence);
}

static struct qcow2_header parsed(const struct qcow2_disk_header *d)
{
	struct qcow2_header h;
	const char *why;

	assert_int_equal(parse(d, &h, &why), 0);
	return h;
}

static void expect_unverified(const struct qcow2_disk_header *d, const char *sentence)
{
	struct qcow2_header h = parsed(d);
	const char *why = NULL;

	assert_int_equal(qcow2_header_verify(&h, FILE_BYTES, &why), -EUCLEAN);
	assert_string_equal(why, sentence);
}

static void expect_verified(const struct qcow2_disk_header *d)
{
	struct qcow2_header h = parsed(d);
	const char *why = NULL;

	assert_int_equal(qcow2_header_verify(&h, FILE_BYTES, &why), 0);
}

static void expect_unsupported(const struct qcow2_disk_header *d, bool writable, int err,
			       const char *sentence)
{
	struct qcow2_header h = parsed(d);
	const char *why = NULL;

	assert_int_equal(qcow2_header_supported(&h, writable, &why), err);
	assert_string_equal(why, sentence);
}

static void expect_supported(const struct qcow2_disk_header *d, bool writable)
{
	struct qcow2_header h = parsed(d);
	const char *why = NULL;

	assert_int_equal(qcow2_header_supported(&h, writable, &why), 0);
}

static void a_version_3_header_is_decoded(void **state)
{
	struct qcow2_disk_header d = right_header(3);
	struct qcow2_header h;

	(void)state;
	d.compatible_features = cpu_to_be64(QCOW2_COMPAT_LAZY_REFCOUNTS);
	d.nb_snapshots = cpu_to_be32(7);
	d.snapshots_offset = cpu_to_be64(MIB);
	h = parsed(&d);
	assert_int_equal(h.version, 3);
	assert_int_equal(h.size, 64 * MIB);
	assert_int_equal(h.cluster_bits, 16);
	assert_int_equal(h.refcount_order, 4);
	assert_int_equal(h.l1_size, 1);
	assert_int_equal(h.l1_offset, 192 * KIB);
	assert_int_equal(h.reftable_offset, 64 * KIB);
	assert_int_equal(h.reftable_clusters, 1);
	assert_int_equal(h.nb_snapshots, 7);
	assert_int_equal(h.snapshots_offset, MIB);
	assert_int_equal(h.compatible, QCOW2_COMPAT_LAZY_REFCOUNTS);
	assert_int_equal(h.length, QCOW2_V3_HEADER_BYTES);
	assert_int_equal(h.backing_offset, 0);
	assert_int_equal(h.compression, QCOW2_COMPRESSION_ZLIB);
}

static void a_version_2_header_has_refcounts_of_16_bits_and_no_features(void **state)
{
	struct qcow2_disk_header d = right_header(2);
	struct qcow2_header h;

	(void)state;
	/* In version 2 other things lie behind byte 72. */
	memset((char *)&d + QCOW2_V2_HEADER_BYTES, 0xff, sizeof(d) - QCOW2_V2_HEADER_BYTES);
	h = parsed(&d);
	assert_int_equal(h.refcount_order, 4);
	assert_int_equal(h.length, QCOW2_V2_HEADER_BYTES);
	assert_int_equal(h.incompatible | h.compatible | h.autoclear, 0);
	assert_int_equal(h.compression, QCOW2_COMPRESSION_ZLIB);
}

static void every_prefix_of_a_header_is_handled(void **state)
{
	struct qcow2_disk_header d;
	struct qcow2_header h;
	const char *why;

	(void)state;
	for (u32 version = 2; version <= 3; version++) {
		size_t needed = version == 2 ? QCOW2_V2_HEADER_BYTES : QCOW2_V3_HEADER_BYTES;

		d = right_header(version);
		for (size_t len = 0; len <= sizeof(d); len++) {
			int err = parse_bytes(&d, len, &h, &why);

			assert_int_equal(err, len < 4 ? -EINVAL : len < needed ? -EUCLEAN : 0);
			if (err)
				assert_string_equal(why, len < 4 ? "not a qcow2 image" :
							 "header is truncated");
		}
	}
}

static void a_header_that_says_it_is_longer_is_as_long(void **state)
{
	struct qcow2_disk_header d = right_header(3);
	struct qcow2_header h;
	const char *why;

	(void)state;
	d.header_length = cpu_to_be32(QCOW2_HEADER_BYTES);
	for (size_t len = QCOW2_V3_HEADER_BYTES; len < QCOW2_HEADER_BYTES; len++) {
		assert_int_equal(parse_bytes(&d, len, &h, &why), -EUCLEAN);
		assert_string_equal(why, "header is truncated");
	}
	assert_int_equal(parse_bytes(&d, QCOW2_HEADER_BYTES, &h, &why), 0);
}

static void what_is_no_qcow2_image_is_told_from_a_damaged_one(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.magic = cpu_to_be32(QCOW2_MAGIC ^ 1);
	expect_refused(&d, -EINVAL, "not a qcow2 image");
}

static void versions_other_than_2_and_3_are_refused(void **state)
{
	static const u32 versions[] = { 0, 1, 4, 0x02000000, 0xffffffff };
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		d.version = cpu_to_be32(versions[i]);
		expect_refused(&d, -EOPNOTSUPP, "unknown qcow2 version");
	}
}

static void clusters_are_of_512_bytes_to_2_mib(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (u32 bits = 0; bits < 70; bits++) {
		d.cluster_bits = cpu_to_be32(bits);
		if (bits >= 9 && bits <= 21)
			assert_int_equal(parsed(&d).cluster_bits, bits);
		else
			expect_refused(&d, -EUCLEAN, "cluster size is out of range");
	}
}

static void refcounts_are_of_1_to_64_bits(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (u32 order = 0; order < 70; order++) {
		d.refcount_order = cpu_to_be32(order);
		if (order <= 6)
			assert_int_equal(parsed(&d).refcount_order, order);
		else
			expect_refused(&d, -EUCLEAN, "refcount width is out of range");
	}
}

static void the_header_length_is_a_multiple_of_8_within_a_cluster(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.cluster_bits = cpu_to_be32(9);
	for (u32 length = 0; length < 600; length++) {
		d.header_length = cpu_to_be32(length);
		if (length >= 104 && length <= 512 && length % 8 == 0)
			assert_int_equal(parsed(&d).length, length);
		else
			expect_refused(&d, -EUCLEAN, "header length is out of range");
	}
}

static void an_unknown_encryption_method_is_damage(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.crypt_method = cpu_to_be32(3);
	expect_refused(&d, -EUCLEAN, "encryption method is unknown");
}

static void more_snapshots_than_qemu_allows_are_damage(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.nb_snapshots = cpu_to_be32(QCOW2_MAX_SNAPSHOTS);
	parsed(&d);
	d.nb_snapshots = cpu_to_be32(QCOW2_MAX_SNAPSHOTS + 1);
	expect_refused(&d, -EUCLEAN, "too many internal snapshots");
}

static void a_snapshot_table_is_aligned_even_where_there_is_none(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (u32 count = 0; count < 2; count++) {
		d.nb_snapshots = cpu_to_be32(count);
		d.snapshots_offset = cpu_to_be64(64 * KIB);
		parsed(&d);
		d.snapshots_offset = cpu_to_be64(64 * KIB + 512);
		expect_refused(&d, -EUCLEAN, "snapshot table is out of range");
		d.snapshots_offset = cpu_to_be64(1ULL << 63);
		expect_refused(&d, -EUCLEAN, "snapshot table is out of range");
	}
}

static void the_compression_type_fits_its_feature_bit(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.header_length = cpu_to_be32(QCOW2_HEADER_BYTES);
	for (unsigned int type = 0; type < 256; type++) {
		d.compression_type = type;
		for (unsigned int bit = 0; bit < 2; bit++) {
			d.incompatible_features =
				cpu_to_be64(bit ? QCOW2_INCOMPAT_COMPRESSION : 0);
			if (type > QCOW2_COMPRESSION_ZSTD)
				expect_refused(&d, -EOPNOTSUPP, "unknown compression type");
			else if (type != bit)
				expect_refused(&d, -EUCLEAN,
					       "compression type contradicts its feature bit");
			else
				assert_int_equal(parsed(&d).compression, type);
		}
	}
}

/* Where the header is not long enough for it, there is no compression type. */
static void a_short_header_has_no_compression_type(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.compression_type = 0xff;
	assert_int_equal(parsed(&d).compression, QCOW2_COMPRESSION_ZLIB);
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_COMPRESSION);
	expect_refused(&d, -EUCLEAN, "compression type contradicts its feature bit");
}

static void a_backing_file_name_is_in_the_first_cluster(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.backing_file_size = cpu_to_be32(UINT32_MAX);
	parsed(&d);	/* undefined without an offset */
	d.backing_file_offset = cpu_to_be64(64 * KIB - 16);
	d.backing_file_size = cpu_to_be32(16);
	assert_int_equal(parsed(&d).backing_bytes, 16);
	d.backing_file_size = cpu_to_be32(17);
	expect_refused(&d, -EUCLEAN, "backing file name is out of range");
	d.backing_file_offset = cpu_to_be64(64 * KIB + 1);
	d.backing_file_size = cpu_to_be32(0);
	expect_refused(&d, -EUCLEAN, "backing file name is out of range");
	d.backing_file_offset = cpu_to_be64(512);
	d.backing_file_size = cpu_to_be32(1024);
	expect_refused(&d, -EUCLEAN, "backing file name is out of range");
	d.backing_file_size = cpu_to_be32(1023);
	parsed(&d);
}

static void a_raw_data_file_is_a_data_file(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.autoclear_features = cpu_to_be64(QCOW2_AUTOCLEAR_RAW_DATA_FILE);
	expect_refused(&d, -EUCLEAN, "raw data file bit without a data file");
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_DATA_FILE);
	parsed(&d);
	expect_supported(&d, true);
}

/* Who reads the data file alone would see zeroes where the image shows the backing file. */
static void a_raw_data_file_has_nothing_below(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_DATA_FILE);
	d.backing_file_offset = cpu_to_be64(512);
	d.backing_file_size = cpu_to_be32(4);
	expect_supported(&d, true);
	d.autoclear_features = cpu_to_be64(QCOW2_AUTOCLEAR_RAW_DATA_FILE);
	expect_unsupported(&d, true, -EOPNOTSUPP,
			   "raw data file beside a backing file is not supported");
	expect_unsupported(&d, false, -EOPNOTSUPP,
			   "raw data file beside a backing file is not supported");
}

static void tables_inside_the_image_are_accepted(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	expect_verified(&d);
	d.l1_table_offset = cpu_to_be64(FILE_BYTES - 64 * KIB);
	expect_verified(&d);
}

static void an_l1_table_covers_the_whole_virtual_size(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	/* One entry maps 512 MiB: 8192 clusters of 64 KiB. */
	d.size = cpu_to_be64(512 * MIB);
	expect_verified(&d);
	d.size = cpu_to_be64(512 * MIB + 512);
	expect_unverified(&d, "L1 table is too small for the image");
	d.size = cpu_to_be64(UINT64_MAX);
	expect_unverified(&d, "L1 table is too small for the image");
	d.l1_size = cpu_to_be32(0);
	d.size = cpu_to_be64(512);
	expect_unverified(&d, "L1 table is too small for the image");
}

static void an_l1_table_of_more_than_32_mib_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.l1_size = cpu_to_be32(QCOW2_MAX_L1_BYTES / 8 + 1);
	expect_unverified(&d, "L1 table is too large");
	d.l1_size = cpu_to_be32(UINT32_MAX);
	expect_unverified(&d, "L1 table is too large");
}

/* Not aligned, in the header, at or across the end, beyond what an entry can say. */
static const u64 bad_offsets[] = {
	0, 512, 64 * KIB + 1, 192 * KIB - 8, FILE_BYTES, FILE_BYTES + 64 * KIB,
	1ULL << 56, 1ULL << 63, UINT64_MAX, UINT64_MAX - 64 * KIB + 1,
};

static void an_l1_table_outside_of_the_image_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (size_t i = 0; i < sizeof(bad_offsets) / sizeof(*bad_offsets); i++) {
		d.l1_table_offset = cpu_to_be64(bad_offsets[i]);
		expect_unverified(&d, "L1 table is not inside the image");
	}
	d = right_header(3);
	d.l1_size = cpu_to_be32(QCOW2_MAX_L1_BYTES / 8);
	expect_unverified(&d, "L1 table is not inside the image");
}

/* A fresh image of QEMU's ends behind its only L1 entry. A device of that length has no such end. */
static void an_image_ends_with_a_cluster_in_a_file_and_with_a_page_on_a_device(void **state)
{
	struct qcow2_disk_header d = right_header(3);
	struct qcow2_header h = parsed(&d);
	const u64 l1_end = 192 * KIB + 8;
	const char *why;

	(void)state;
	assert_int_equal(qcow2_header_verify(&h, qcow2_image_end(16, l1_end, true), &why), 0);
	assert_int_equal(qcow2_header_verify(&h, qcow2_image_end(16, 192 * KIB, true), &why),
			 -EUCLEAN);
	for (u64 end = 192 * KIB; end < 196 * KIB; end += 512) {
		assert_int_equal(qcow2_header_verify(&h, qcow2_image_end(16, end, false), &why),
				 -EUCLEAN);
		assert_string_equal(why, "L1 table is not inside the image");
	}
	assert_int_equal(qcow2_header_verify(&h, qcow2_image_end(16, 196 * KIB, false), &why), 0);
}

static void a_refcount_table_outside_of_the_image_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (size_t i = 0; i < sizeof(bad_offsets) / sizeof(*bad_offsets); i++) {
		d.refcount_table_offset = cpu_to_be64(bad_offsets[i]);
		expect_unverified(&d, "refcount table is not inside the image");
	}
}

static void a_snapshot_table_outside_of_the_image_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.snapshots_offset = cpu_to_be64(FILE_BYTES);
	expect_verified(&d);
	d.nb_snapshots = cpu_to_be32(1);
	expect_unverified(&d, "snapshot table is not inside the image");
	d.snapshots_offset = cpu_to_be64(1ULL << 62);
	expect_unverified(&d, "snapshot table is not inside the image");
	d.snapshots_offset = cpu_to_be64(FILE_BYTES - 64 * KIB);
	d.nb_snapshots = cpu_to_be32(64 * KIB / 40);
	expect_verified(&d);
	d.nb_snapshots = cpu_to_be32(64 * KIB / 40 + 1);
	expect_unverified(&d, "snapshot table is not inside the image");
}

static void a_refcount_table_has_from_one_cluster_to_8_mib(void **state)
{
	static const u32 clusters[] = { 0, 129, 0x10000, 0x80000000, UINT32_MAX };
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (size_t i = 0; i < sizeof(clusters) / sizeof(*clusters); i++) {
		d.refcount_table_clusters = cpu_to_be32(clusters[i]);
		expect_unverified(&d, "refcount table size is out of range");
	}
}

static void tables_that_overlap_are_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.l1_table_offset = d.refcount_table_offset;
	expect_unverified(&d, "L1 and refcount tables overlap");
	d.l1_table_offset = cpu_to_be64(192 * KIB);
	d.refcount_table_clusters = cpu_to_be32(3);
	expect_unverified(&d, "L1 and refcount tables overlap");
	d.refcount_table_clusters = cpu_to_be32(2);
	expect_verified(&d);
}

static void a_plain_image_is_supported(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	expect_supported(&d, true);
	expect_supported(&d, false);
	d = right_header(2);
	expect_supported(&d, true);
}

static void each_unsupported_feature_is_named(void **state)
{
	static const struct {
		u64 bit;
		const char *sentence;
	} features[] = {
		{ QCOW2_INCOMPAT_DATA_FILE | QCOW2_INCOMPAT_EXTENDED_L2,
		  "extended L2 entries with a data file are not supported" },
	};
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++) {
		d.incompatible_features = cpu_to_be64(features[i].bit);
		expect_unsupported(&d, true, -EOPNOTSUPP, features[i].sentence);
		expect_unsupported(&d, false, -EOPNOTSUPP, features[i].sentence);
	}
}

static void extended_entries_are_supported(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_EXTENDED_L2);
	expect_supported(&d, false);
	expect_supported(&d, true);
}

/* A subcluster is a sector at least. */
static void extended_entries_need_clusters_of_16_kib(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_EXTENDED_L2);
	for (u32 bits = QCOW2_MIN_CLUSTER_BITS; bits <= QCOW2_MAX_CLUSTER_BITS; bits++) {
		d.cluster_bits = cpu_to_be32(bits);
		if (bits < 14)
			expect_refused(&d, -EUCLEAN, "clusters are too small for extended L2 entries");
		else
			parsed(&d);
	}
}

/* Half as many entries a table: the same table maps half of what it would. */
static void extended_entries_need_an_l1_table_of_twice_the_size(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.size = cpu_to_be64(4ULL << 30);
	d.l1_size = cpu_to_be32(8);
	expect_verified(&d);
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_EXTENDED_L2);
	expect_unverified(&d, "L1 table is too small for the image");
	d.l1_size = cpu_to_be32(16);
	expect_verified(&d);
}

/* Nothing but a compressed cluster needs it. */
static void another_compression_does_not_hinder(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.header_length = cpu_to_be32(QCOW2_HEADER_BYTES);
	d.compression_type = QCOW2_COMPRESSION_ZSTD;
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_COMPRESSION);
	expect_supported(&d, true);
	expect_supported(&d, false);
}

static void every_unknown_incompatible_bit_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (unsigned int bit = 5; bit < 64; bit++) {
		d.incompatible_features = cpu_to_be64(BIT_ULL(bit));
		expect_unsupported(&d, false, -EOPNOTSUPP, "unknown incompatible feature bit");
	}
}

static void a_corrupt_or_dirty_image_may_be_read_only(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_CORRUPT);
	expect_supported(&d, false);
	expect_unsupported(&d, true, -EUCLEAN, "image is marked corrupt");
	d.incompatible_features = cpu_to_be64(QCOW2_INCOMPAT_DIRTY);
	expect_supported(&d, false);
	expect_unsupported(&d, true, -EUCLEAN, "image is marked dirty");
}

static void encryption_is_refused(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	for (u32 method = 1; method <= 2; method++) {
		d.crypt_method = cpu_to_be32(method);
		expect_unsupported(&d, false, -EOPNOTSUPP, "encryption is not supported");
	}
}

static void snapshots_hinder_a_writer_and_bitmaps_nobody(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.nb_snapshots = cpu_to_be32(1);
	expect_supported(&d, false);
	expect_unsupported(&d, true, -EOPNOTSUPP,
			   "writing with internal snapshots is not supported");
	d = right_header(3);
	d.autoclear_features = cpu_to_be64(QCOW2_AUTOCLEAR_BITMAPS);
	expect_supported(&d, false);
	expect_supported(&d, true);
}

static void a_disk_is_of_whole_sectors(void **state)
{
	struct qcow2_disk_header d = right_header(3);

	(void)state;
	d.size = cpu_to_be64(0);
	expect_unsupported(&d, false, -EOPNOTSUPP, "virtual size is zero");
	d.size = cpu_to_be64(MIB + 1);
	expect_unsupported(&d, false, -EOPNOTSUPP,
			   "virtual size is not a multiple of 512 bytes");
	d.size = cpu_to_be64(MIB + 512);
	expect_supported(&d, false);
}

static void autoclear_bits_but_those_of_bitmaps_and_raw_data_are_to_be_cleared(void **state)
{
	struct qcow2_disk_header d = right_header(3);
	struct qcow2_header h;

	(void)state;
	d.autoclear_features = cpu_to_be64(0x8000000000000005);
	h = parsed(&d);
	assert_int_equal(qcow2_header_autoclear(&h), 0x8000000000000004);
}

/* What an accepted header promises to those who compute with it. */
static void expect_promises(const struct qcow2_header *h)
{
	assert_in_range(h->cluster_bits, 9, 21);
	assert_in_range(h->refcount_order, 0, 6);
	assert_true(h->l1_offset + 8ULL * h->l1_size <= FILE_BYTES);
	assert_true(h->reftable_offset + ((u64)h->reftable_clusters << h->cluster_bits) <=
		    FILE_BYTES);
	assert_true(h->size <= (u64)h->l1_size <<
			       (2 * h->cluster_bits - 3 -
				!!(h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2)));
	assert_in_range(h->compression, QCOW2_COMPRESSION_ZLIB, QCOW2_COMPRESSION_ZSTD);
}

static void a_header_with_random_bytes_breaks_no_promise(void **state)
{
	unsigned int accepted = 0;
	struct qcow2_disk_header d;
	struct qcow2_header h;
	const char *why;

	(void)state;
	srandom(1);
	for (int i = 0; i < 300000; i++) {
		d = right_header(2 + random() % 2);
		for (int n = random() % 4; n >= 0; n--)
			((u8 *)&d)[random() % sizeof(d)] = random();
		if (parse(&d, &h, &why)) {
			assert_non_null(why);
			continue;
		}
		if (qcow2_header_supported(&h, random() & 1, &why) ||
		    qcow2_header_verify(&h, FILE_BYTES, &why))
			continue;
		expect_promises(&h);
		accepted++;
	}
	assert_int_not_equal(accepted, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_version_3_header_is_decoded),
		cmocka_unit_test(a_version_2_header_has_refcounts_of_16_bits_and_no_features),
		cmocka_unit_test(every_prefix_of_a_header_is_handled),
		cmocka_unit_test(a_header_that_says_it_is_longer_is_as_long),
		cmocka_unit_test(what_is_no_qcow2_image_is_told_from_a_damaged_one),
		cmocka_unit_test(versions_other_than_2_and_3_are_refused),
		cmocka_unit_test(clusters_are_of_512_bytes_to_2_mib),
		cmocka_unit_test(refcounts_are_of_1_to_64_bits),
		cmocka_unit_test(the_header_length_is_a_multiple_of_8_within_a_cluster),
		cmocka_unit_test(an_unknown_encryption_method_is_damage),
		cmocka_unit_test(more_snapshots_than_qemu_allows_are_damage),
		cmocka_unit_test(a_snapshot_table_is_aligned_even_where_there_is_none),
		cmocka_unit_test(the_compression_type_fits_its_feature_bit),
		cmocka_unit_test(a_short_header_has_no_compression_type),
		cmocka_unit_test(a_backing_file_name_is_in_the_first_cluster),
		cmocka_unit_test(a_raw_data_file_is_a_data_file),
		cmocka_unit_test(a_raw_data_file_has_nothing_below),
		cmocka_unit_test(tables_inside_the_image_are_accepted),
		cmocka_unit_test(an_l1_table_covers_the_whole_virtual_size),
		cmocka_unit_test(an_l1_table_of_more_than_32_mib_is_refused),
		cmocka_unit_test(an_l1_table_outside_of_the_image_is_refused),
		cmocka_unit_test(an_image_ends_with_a_cluster_in_a_file_and_with_a_page_on_a_device),
		cmocka_unit_test(a_refcount_table_outside_of_the_image_is_refused),
		cmocka_unit_test(a_snapshot_table_outside_of_the_image_is_refused),
		cmocka_unit_test(a_refcount_table_has_from_one_cluster_to_8_mib),
		cmocka_unit_test(tables_that_overlap_are_refused),
		cmocka_unit_test(a_plain_image_is_supported),
		cmocka_unit_test(each_unsupported_feature_is_named),
		cmocka_unit_test(extended_entries_are_supported),
		cmocka_unit_test(extended_entries_need_clusters_of_16_kib),
		cmocka_unit_test(extended_entries_need_an_l1_table_of_twice_the_size),
		cmocka_unit_test(another_compression_does_not_hinder),
		cmocka_unit_test(every_unknown_incompatible_bit_is_refused),
		cmocka_unit_test(a_corrupt_or_dirty_image_may_be_read_only),
		cmocka_unit_test(encryption_is_refused),
		cmocka_unit_test(snapshots_hinder_a_writer_and_bitmaps_nobody),
		cmocka_unit_test(a_disk_is_of_whole_sectors),
		cmocka_unit_test(autoclear_bits_but_those_of_bitmaps_and_raw_data_are_to_be_cleared),
		cmocka_unit_test(a_header_with_random_bytes_breaks_no_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
