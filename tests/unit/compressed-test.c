// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors of compressed clusters, against values worked out by hand from the
 * specification.
 */
#include <stdlib.h>

#include "unit.h"
#include "dm-qcow2/format/compressed-entry.h"

#define COMPRESSED 0x4000000000000000

static struct qcow2_geometry geometry(u32 cluster_bits)
{
	struct qcow2_header h = {
		.size = 1ULL << 40,
		.version = 3,
		.cluster_bits = cluster_bits,
		.refcount_order = 4,
		.compression = QCOW2_COMPRESSION_ZSTD,
	};
	struct qcow2_geometry g;

	qcow2_geometry_init(&g, &h);
	return g;
}

static void expect(u32 cluster_bits, u64 entry, u64 host_off, u32 bytes, u64 first, u32 clusters)
{
	struct qcow2_geometry g = geometry(cluster_bits);

	assert_int_equal(qcow2_compressed_offset(&g, entry), host_off);
	assert_int_equal(qcow2_compressed_bytes(&g, entry), bytes);
	assert_int_equal(qcow2_compressed_first_cluster(&g, entry), first);
	assert_int_equal(qcow2_compressed_clusters(&g, entry), clusters);
}

static void the_geometry_says_how_clusters_are_compressed(void **state)
{
	(void)state;
	assert_int_equal(geometry(16).compression, QCOW2_COMPRESSION_ZSTD);
}

/* x = 62 - (cluster_bits - 8) */
static void the_number_of_sectors_stands_above_the_offset(void **state)
{
	static const unsigned int x[] = { 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49 };

	(void)state;
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits);
		u64 entry = COMPRESSED | 1ULL << x[bits - 9];

		assert_int_equal(qcow2_compressed_offset_bits(&g), x[bits - 9]);
		assert_int_equal(qcow2_compressed_sectors(&g, COMPRESSED), 1);
		assert_int_equal(qcow2_compressed_sectors(&g, entry), 2);
		assert_int_equal(qcow2_compressed_offset(&g, entry), 0);
		assert_int_equal(qcow2_compressed_offset(&g, entry - 1), (1ULL << x[bits - 9]) - 1);
	}
}

/* By hand: bits 62 to x, then the offset. */
static void a_descriptor_is_what_the_specification_says(void **state)
{
	(void)state;
	/* 512 B: x = 61; sector 0x29 whole, then it and the next */
	expect(9, 0x4000000000005200, 0x5200, 512, 0x29, 1);
	expect(9, 0x6000000000005200, 0x5200, 1024, 0x29, 2);
	/* the last byte of a sector, alone and with the sector behind it */
	expect(9, 0x40000000000053ff, 0x53ff, 1, 0x29, 1);
	expect(9, 0x60000000000053ff, 0x53ff, 513, 0x29, 2);
	/* 4 KiB: x = 58; 3 more sectors end where the cluster does, 4 in the next one */
	expect(12, 0x4c00000000005801, 0x5801, 2047, 5, 1);
	expect(12, 0x5000000000005801, 0x5801, 2559, 5, 2);
	/* 64 KiB: x = 54; 127 more sectors are the whole cluster */
	expect(16, 0x5fc0000000050000, 0x50000, 65536, 5, 1);
	expect(16, 0x5fc0000000050001, 0x50001, 65535, 5, 1);
	expect(16, 0x5fc0000000050200, 0x50200, 65536, 5, 2);
	expect(16, 0x40000000000501ff, 0x501ff, 1, 5, 1);
	/* 2 MiB: x = 49 */
	expect(21, 0x4002000000a00010, 0xa00010, 1008, 5, 1);
	expect(21, 0x4002000000bffe10, 0xbffe10, 1008, 5, 2);
}

static void two_clusters_of_sectors_touch_three_at_most(void **state)
{
	(void)state;
	for (u32 bits = 9; bits <= 21; bits++) {
		u64 entry = 0x7fffffffffffffff & ~((1ULL << (70 - bits)) - 1);
		u64 cluster = 1ULL << bits;

		expect(bits, entry | cluster, cluster, 2 * cluster, 1, 2);
		expect(bits, entry | (cluster + 1), cluster + 1, 2 * cluster - 1, 1, 2);
		if (bits > 9)
			expect(bits, entry | (cluster + 512), cluster + 512, 2 * cluster, 1, 3);
		else
			expect(bits, entry | (cluster + 512), cluster + 512, 2 * cluster, 2, 2);
		expect(bits, entry | (2 * cluster - 1), 2 * cluster - 1, 2 * cluster - 511, 1,
		       bits > 9 ? 3 : 2);
	}
}

static void whatever_an_entry_says_it_stays_within_bounds(void **state)
{
	(void)state;
	srandom(1);
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits);

		for (int i = 0; i < 10000; i++) {
			u64 entry = ((u64)random() << 40) ^ ((u64)random() << 20) ^ random();

			assert_in_range(qcow2_compressed_bytes(&g, entry), 1, 2ULL << bits);
			assert_in_range(qcow2_compressed_clusters(&g, entry), 1,
					QCOW2_MAX_COMPRESSED_CLUSTERS);
		}
		assert_in_range(qcow2_compressed_clusters(&g, UINT64_MAX), 1,
				QCOW2_MAX_COMPRESSED_CLUSTERS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_geometry_says_how_clusters_are_compressed),
		cmocka_unit_test(the_number_of_sectors_stands_above_the_offset),
		cmocka_unit_test(a_descriptor_is_what_the_specification_says),
		cmocka_unit_test(two_clusters_of_sectors_touch_three_at_most),
		cmocka_unit_test(whatever_an_entry_says_it_stays_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
