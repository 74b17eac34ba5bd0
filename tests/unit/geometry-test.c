// SPDX-License-Identifier: GPL-2.0-only
/*
 * Geometry: the indices, against divisions as the specification writes them, and
 * what an L2 entry means.
 */
#include <stdlib.h>

#include "unit.h"
#include "dm-qcow2/format/geometry.h"

static struct qcow2_geometry geometry(u32 cluster_bits, u32 refcount_order, u32 version)
{
	struct qcow2_header h = {
		.size = 1ULL << 40,
		.version = version,
		.cluster_bits = cluster_bits,
		.refcount_order = refcount_order,
	};
	struct qcow2_geometry g;

	qcow2_geometry_init(&g, &h);
	return g;
}

static void a_page_is_a_cluster_but_at_most_4_kib(void **state)
{
	(void)state;
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits, 4, 3);

		assert_int_equal(qcow2_page_bytes(&g), bits < 12 ? 1U << bits : 4096);
		assert_int_equal(qcow2_page_bytes(&g) << qcow2_table_page_bits(&g),
				 qcow2_cluster_bytes(&g));
		assert_int_equal(1U << g.entry_bits, qcow2_page_bytes(&g) / 8);
		assert_int_equal(1ULL << g.l2_bits, qcow2_cluster_bytes(&g) / 8);
	}
}

static void a_refcount_block_holds_a_cluster_of_refcounts(void **state)
{
	(void)state;
	for (u32 bits = 9; bits <= 21; bits++)
		for (u32 order = 0; order <= 6; order++) {
			struct qcow2_geometry g = geometry(bits, order, 3);

			assert_int_equal(1ULL << g.refblock_bits,
					 qcow2_cluster_bytes(&g) * 8 / (1U << order));
			assert_int_equal(1ULL << g.refpage_bits,
					 qcow2_page_bytes(&g) * 8 / (1U << order));
		}
}

static void expect_indices(const struct qcow2_geometry *g, u64 off)
{
	u64 cluster_bytes = qcow2_cluster_bytes(g);
	u64 entries_per_page = qcow2_page_bytes(g) / 8;
	u64 l2_index = off / cluster_bytes % (cluster_bytes / 8);
	u64 l1_index = off / cluster_bytes / (cluster_bytes / 8);
	u64 page = qcow2_l2_page(g, off);

	assert_int_equal(qcow2_in_cluster(g, off), off % cluster_bytes);
	assert_int_equal(page >> qcow2_table_page_bits(g), l1_index);
	assert_int_equal((page & ((1ULL << qcow2_table_page_bits(g)) - 1)) * entries_per_page +
			 qcow2_l2_slot(g, off), l2_index);
}

static void indices_are_what_the_specification_divides(void **state)
{
	(void)state;
	srandom(1);
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits, 4, 3);

		expect_indices(&g, 0);
		expect_indices(&g, (1ULL << 61) - 1);
		for (int i = 0; i < 10000; i++)
			expect_indices(&g, (((u64)random() << 31) ^ random()) >> random() % 50);
	}
}

static void expect_type(const struct qcow2_geometry *g, u64 entry, enum qcow2_entry_type type)
{
	assert_int_equal(qcow2_entry_type(g, entry), type);
}

static void an_entry_of_zero_is_unallocated(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 3);

	(void)state;
	expect_type(&g, 0, QCOW2_ENTRY_UNALLOCATED);
}

static void a_cluster_with_copied_may_be_written_in_place(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 3);

	(void)state;
	expect_type(&g, 0x50000 | QCOW2_OFLAG_COPIED, QCOW2_ENTRY_DATA);
	expect_type(&g, 0x50000, QCOW2_ENTRY_SHARED);
}

static void bit_0_makes_a_cluster_read_as_zero(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 3);

	(void)state;
	expect_type(&g, QCOW2_OFLAG_ZERO, QCOW2_ENTRY_ZERO);
	expect_type(&g, 0x50000 | QCOW2_OFLAG_ZERO, QCOW2_ENTRY_ZERO_ALLOCATED);
	expect_type(&g, 0x50000 | QCOW2_OFLAG_ZERO | QCOW2_OFLAG_COPIED,
		    QCOW2_ENTRY_ZERO_ALLOCATED);
}

static void bit_0_is_damage_in_a_version_2_image(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 2);

	(void)state;
	expect_type(&g, QCOW2_OFLAG_ZERO, QCOW2_ENTRY_BAD);
	expect_type(&g, 0x50000 | QCOW2_OFLAG_ZERO, QCOW2_ENTRY_BAD);
}

static void bit_62_is_a_compressed_cluster_whatever_else_is_set(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 3);

	(void)state;
	expect_type(&g, QCOW2_OFLAG_COMPRESSED, QCOW2_ENTRY_COMPRESSED);
	expect_type(&g, UINT64_MAX, QCOW2_ENTRY_COMPRESSED);
}

static void a_host_offset_inside_a_cluster_is_damage(void **state)
{
	(void)state;
	for (u32 bits = 10; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits, 4, 3);

		for (u32 bit = 9; bit < bits; bit++)
			expect_type(&g, QCOW2_OFLAG_COPIED | BIT_ULL(40) | BIT_ULL(bit),
				    QCOW2_ENTRY_BAD);
	}
}

/* Offset 0 is a place there, nothing is shared, and nothing is compressed. */
static void a_cluster_of_a_data_file_is_data_or_not(void **state)
{
	struct qcow2_geometry g = geometry(16, 4, 3);

	(void)state;
	g.has_data_file = true;
	expect_type(&g, 0, QCOW2_ENTRY_UNALLOCATED);
	expect_type(&g, QCOW2_OFLAG_COPIED, QCOW2_ENTRY_DATA);
	expect_type(&g, QCOW2_OFLAG_COPIED | 0x50000, QCOW2_ENTRY_DATA);
	expect_type(&g, 0x50000, QCOW2_ENTRY_DATA);
	expect_type(&g, 0x50200, QCOW2_ENTRY_BAD);
	expect_type(&g, QCOW2_OFLAG_ZERO, QCOW2_ENTRY_ZERO);
	expect_type(&g, QCOW2_OFLAG_COPIED | QCOW2_OFLAG_ZERO, QCOW2_ENTRY_ZERO);
	expect_type(&g, 0x50000 | QCOW2_OFLAG_ZERO, QCOW2_ENTRY_ZERO_ALLOCATED);
	expect_type(&g, QCOW2_OFLAG_COMPRESSED, QCOW2_ENTRY_BAD);
}

static void reserved_bits_are_not_part_of_the_offset(void **state)
{
	(void)state;
	assert_int_equal(qcow2_entry_offset(UINT64_MAX), 0x00fffffffffffe00);
	assert_true(qcow2_entry_offset(UINT64_MAX) < QCOW2_MAX_HOST_OFFSET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_a_cluster_but_at_most_4_kib),
		cmocka_unit_test(a_refcount_block_holds_a_cluster_of_refcounts),
		cmocka_unit_test(indices_are_what_the_specification_divides),
		cmocka_unit_test(an_entry_of_zero_is_unallocated),
		cmocka_unit_test(a_cluster_with_copied_may_be_written_in_place),
		cmocka_unit_test(bit_0_makes_a_cluster_read_as_zero),
		cmocka_unit_test(bit_0_is_damage_in_a_version_2_image),
		cmocka_unit_test(bit_62_is_a_compressed_cluster_whatever_else_is_set),
		cmocka_unit_test(a_host_offset_inside_a_cluster_is_damage),
		cmocka_unit_test(a_cluster_of_a_data_file_is_data_or_not),
		cmocka_unit_test(reserved_bits_are_not_part_of_the_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
