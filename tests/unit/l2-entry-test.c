// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended L2 entries: the indices, against divisions as the specification writes them, and what
 * the two words mean, against its sentences, bit by bit.
 */
#include <stdlib.h>

#include "unit.h"
#include "dm-qcow2/format/l2-entry.h"

#define HOST_OFF	0x5000000ULL

static struct qcow2_geometry geometry(u32 cluster_bits, bool is_extended)
{
	struct qcow2_header h = {
		.size = 1ULL << 40,
		.version = 3,
		.cluster_bits = cluster_bits,
		.refcount_order = 4,
		.incompatible = is_extended ? QCOW2_INCOMPAT_EXTENDED_L2 : 0,
	};
	struct qcow2_geometry g;

	qcow2_geometry_init(&g, &h);
	return g;
}

static u64 random_u64(void)
{
	return (u64)random() << 42 ^ (u64)random() << 21 ^ random();
}

static void expect_indices(const struct qcow2_geometry *g, u64 off)
{
	u64 cluster_bytes = qcow2_cluster_bytes(g);
	u64 per_table = cluster_bytes / (2 * sizeof(u64));
	u64 per_page = qcow2_page_bytes(g) / (2 * sizeof(u64));
	u64 page = qcow2_l2_page(g, off);

	assert_int_equal(page >> qcow2_table_page_bits(g), off / cluster_bytes / per_table);
	assert_int_equal((page & ((1ULL << qcow2_table_page_bits(g)) - 1)) * per_page +
			 qcow2_l2_slot(g, off), off / cluster_bytes % per_table);
	assert_int_equal(qcow2_subcluster(g, off), off % cluster_bytes / (cluster_bytes / 32));
}

static void indices_are_what_the_specification_divides(void **state)
{
	(void)state;
	srandom(1);
	for (u32 bits = 14; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits, true);

		assert_int_equal(1ULL << g.l2_bits, qcow2_cluster_bytes(&g) / 16);
		assert_int_equal(qcow2_unit_bytes(&g), qcow2_cluster_bytes(&g) / 32);
		expect_indices(&g, 0);
		expect_indices(&g, (1ULL << 60) - 1);
		for (int i = 0; i < 10000; i++)
			expect_indices(&g, random_u64() >> (3 + random() % 50));
	}
}

static void tables_of_tables_have_entries_of_eight_bytes(void **state)
{
	(void)state;
	for (u32 bits = 14; bits <= 21; bits++) {
		struct qcow2_geometry g = geometry(bits, true);

		assert_int_equal(1U << g.entry_bits, qcow2_page_bytes(&g) / 8);
	}
}

static void a_standard_entry_has_no_subclusters(void **state)
{
	struct qcow2_geometry g = geometry(16, false);

	(void)state;
	assert_false(qcow2_has_subclusters(&g));
	assert_int_equal(qcow2_unit_bytes(&g), qcow2_cluster_bytes(&g));
	for (int i = 0; i < 10000; i++) {
		struct qcow2_l2_entry e = { .word = random_u64() };
		u64 off = random_u64() >> 4;

		assert_int_equal(qcow2_l2_type(&g, e, off), qcow2_entry_type(&g, e.word));
		assert_int_equal(qcow2_l2_same_bytes(&g, e, off), 65536 - off % 65536);
	}
}

static enum qcow2_entry_type type_of(u64 word, u64 bitmap, u32 n)
{
	struct qcow2_geometry g = geometry(17, true);

	return qcow2_subcluster_type(&g, (struct qcow2_l2_entry) { word, bitmap }, n);
}

static void bit_n_is_allocated_and_bit_32_more_reads_as_zero(void **state)
{
	u64 data = HOST_OFF | QCOW2_OFLAG_COPIED;

	(void)state;
	for (u32 bit = 0; bit < 32; bit++)
		for (u32 n = 0; n < 32; n++) {
			u64 allocated = 1ULL << bit, zero = 1ULL << (bit + 32);

			assert_int_equal(type_of(data, allocated, n),
					 n == bit ? QCOW2_ENTRY_DATA : QCOW2_ENTRY_RESERVED);
			assert_int_equal(type_of(HOST_OFF, allocated, n),
					 n == bit ? QCOW2_ENTRY_SHARED : QCOW2_ENTRY_RESERVED);
			assert_int_equal(type_of(data, zero, n),
					 n == bit ? QCOW2_ENTRY_ZERO_ALLOCATED :
						    QCOW2_ENTRY_RESERVED);
			assert_int_equal(type_of(0, zero, n),
					 n == bit ? QCOW2_ENTRY_ZERO : QCOW2_ENTRY_UNALLOCATED);
		}
}

static void the_zero_flag_of_standard_entries_means_nothing(void **state)
{
	(void)state;
	assert_int_equal(type_of(QCOW2_OFLAG_ZERO, 0, 0), QCOW2_ENTRY_UNALLOCATED);
	assert_int_equal(type_of(HOST_OFF | QCOW2_OFLAG_COPIED | QCOW2_OFLAG_ZERO, 1, 0),
			 QCOW2_ENTRY_DATA);
}

/* Of all of the cluster, whichever subcluster it is about. */
static void expect_bad(u64 word, u64 bitmap)
{
	for (u32 n = 0; n < 32; n++)
		assert_int_equal(type_of(word, bitmap, n), QCOW2_ENTRY_BAD);
}

static void words_that_contradict_each_other_are_damage(void **state)
{
	(void)state;
	for (u32 bit = 0; bit < 32; bit++) {
		expect_bad(HOST_OFF | QCOW2_OFLAG_COPIED, 1ULL << bit | 1ULL << (bit + 32));
		expect_bad(0, 1ULL << bit);
		expect_bad(QCOW2_OFLAG_COMPRESSED, 1ULL << bit);
		expect_bad(QCOW2_OFLAG_COMPRESSED, 1ULL << (bit + 32));
	}
	expect_bad(HOST_OFF | 0x200, 0);
}

static void a_compressed_cluster_has_no_subclusters(void **state)
{
	struct qcow2_geometry g = geometry(17, true);
	struct qcow2_l2_entry e = { .word = QCOW2_OFLAG_COMPRESSED | 0x1234 };

	(void)state;
	for (u32 n = 0; n < 32; n++)
		assert_int_equal(type_of(e.word, 0, n), QCOW2_ENTRY_COMPRESSED);
	assert_int_equal(qcow2_l2_same_bytes(&g, e, 5 * 131072 + 4096), 131072 - 4096);
}

/* What a loop over all subclusters finds. */
static void runs_are_of_subclusters_that_are_alike(void **state)
{
	struct qcow2_geometry g = geometry(17, true);

	(void)state;
	srandom(2);
	for (int i = 0; i < 100000; i++) {
		u32 allocated = random_u64() & random_u64(), zero = random_u64() & ~allocated;
		struct qcow2_l2_entry e = {
			HOST_OFF, qcow2_l2_bitmap(allocated, zero)
		};
		u32 first = random() % 32, end = first;
		u64 off = first * 4096 + random() % 4096;

		assert_int_equal(qcow2_l2_allocated(e), allocated);
		assert_int_equal(qcow2_l2_zero(e), zero);
		while (end < 32 && qcow2_subcluster_type(&g, e, end) ==
				   qcow2_subcluster_type(&g, e, first))
			end++;
		assert_int_equal(qcow2_l2_run(e, first), end - first);
		assert_int_equal(qcow2_l2_same_bytes(&g, e, off), end * 4096 - off);
	}
}

static void masks_have_a_bit_for_each_subcluster(void **state)
{
	(void)state;
	for (u32 first = 0; first < 32; first++)
		for (u32 end = first + 1; end <= 32; end++) {
			u32 mask = qcow2_subcluster_mask(first, end - first);

			for (u32 n = 0; n < 32; n++)
				assert_int_equal(mask >> n & 1, n >= first && n < end);
			assert_int_equal(qcow2_subcluster_run(mask, first, true), end - first);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(indices_are_what_the_specification_divides),
		cmocka_unit_test(tables_of_tables_have_entries_of_eight_bytes),
		cmocka_unit_test(a_standard_entry_has_no_subclusters),
		cmocka_unit_test(bit_n_is_allocated_and_bit_32_more_reads_as_zero),
		cmocka_unit_test(the_zero_flag_of_standard_entries_means_nothing),
		cmocka_unit_test(words_that_contradict_each_other_are_damage),
		cmocka_unit_test(a_compressed_cluster_has_no_subclusters),
		cmocka_unit_test(runs_are_of_subclusters_that_are_alike),
		cmocka_unit_test(masks_have_a_bit_for_each_subcluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
