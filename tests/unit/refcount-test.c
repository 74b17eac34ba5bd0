// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refcounts of every width, against bytes written out by hand from the
 * specification. A block is memory of just its length, for ASan to watch.
 */
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "dm-qcow2/format/refcount-entry.h"

#define BLOCK_BYTES 512

static u32 slots(unsigned int order)
{
	return BLOCK_BYTES * 8 >> order;
}

static void the_largest_refcount_fills_its_width(void **state)
{
	static const u64 largest[] = { 1, 3, 15, 255, 65535, 4294967295, UINT64_MAX };

	(void)state;
	for (unsigned int order = 0; order <= 6; order++)
		assert_int_equal(qcow2_refcount_max(order), largest[order]);
}

static void wide_refcounts_are_big_endian(void **state)
{
	static const u8 block[] __attribute__((aligned(8))) = {
		0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
		0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
	};

	(void)state;
	assert_int_equal(qcow2_refcount_get(block, 3, 9), 0xdc);
	assert_int_equal(qcow2_refcount_get(block, 4, 4), 0xfedc);
	assert_int_equal(qcow2_refcount_get(block, 5, 1), 0x89abcdef);
	assert_int_equal(qcow2_refcount_get(block, 6, 1), 0xfedcba9876543210);
}

static void narrow_refcounts_start_at_the_least_significant_bit(void **state)
{
	/* 0xe4 = 11 10 01 00b */
	static const u8 block[] = { 0x00, 0xe4 };

	(void)state;
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(qcow2_refcount_get(block, 0, 8 + i), 0xe4 >> i & 1);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(qcow2_refcount_get(block, 1, 4 + i), i);
	assert_int_equal(qcow2_refcount_get(block, 2, 2), 0x4);
	assert_int_equal(qcow2_refcount_get(block, 2, 3), 0xe);
}

static u64 random_refcount(unsigned int order)
{
	u64 value = ((u64)random() << 42) ^ ((u64)random() << 21) ^ random();

	return value & qcow2_refcount_max(order);
}

static void what_is_set_is_what_is_read(void **state)
{
	(void)state;
	srandom(1);
	for (unsigned int order = 0; order <= 6; order++) {
		u64 *want = calloc(slots(order), sizeof(*want));
		void *block = malloc(BLOCK_BYTES);

		memset(block, 0xa5, BLOCK_BYTES);
		for (u32 i = 0; i < slots(order); i++) {
			want[i] = random_refcount(order);
			qcow2_refcount_set(block, order, i, want[i]);
		}
		for (u32 i = 0; i < slots(order); i++)
			assert_int_equal(qcow2_refcount_get(block, order, i), want[i]);
		free(block);
		free(want);
	}
}

static void a_neighbour_is_not_disturbed(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= 6; order++) {
		u8 *block = malloc(BLOCK_BYTES), *want = malloc(BLOCK_BYTES);

		for (int fill = 0; fill <= 0xff; fill += 0xff) {
			u64 other = fill ? 0 : qcow2_refcount_max(order);

			memset(want, fill, BLOCK_BYTES);
			memset(block, fill, BLOCK_BYTES);
			for (u32 i = 0; i < slots(order); i++) {
				qcow2_refcount_set(block, order, i, other);
				assert_memory_not_equal(block, want, BLOCK_BYTES);
				qcow2_refcount_set(block, order, i,
						   qcow2_refcount_max(order) - other);
				assert_memory_equal(block, want, BLOCK_BYTES);
			}
		}
		free(block);
		free(want);
	}
}

static void one_free_cluster_among_many_is_noticed(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= 6; order++) {
		u64 used[] = { 1, qcow2_refcount_max(order), 1ULL << ((1U << order) - 1) };
		void *block = malloc(BLOCK_BYTES);

		for (unsigned int k = 0; k < 3; k++) {
			for (u32 i = 0; i < slots(order); i++)
				qcow2_refcount_set(block, order, i, used[k]);
			assert_false(qcow2_refcount_has_zero(block, order, BLOCK_BYTES));
			for (u32 i = 0; i < slots(order); i++) {
				qcow2_refcount_set(block, order, i, 0);
				assert_true(qcow2_refcount_has_zero(block, order, BLOCK_BYTES));
				qcow2_refcount_set(block, order, i, used[k]);
			}
		}
		free(block);
	}
}

static void all_free_is_noticed(void **state)
{
	u64 block[BLOCK_BYTES / 8] = { 0 };

	(void)state;
	for (unsigned int order = 0; order <= 6; order++)
		assert_true(qcow2_refcount_has_zero(block, order, BLOCK_BYTES));
}

static void those_in_use_are_counted(void **state)
{
	(void)state;
	srandom(2);
	for (unsigned int order = 0; order <= 6; order++) {
		void *block = calloc(1, BLOCK_BYTES);
		u32 used = 0;

		assert_int_equal(qcow2_refcount_count_used(block, order, slots(order)), 0);
		for (u32 i = 0; i < slots(order); i++) {
			if (random() % 3)
				continue;
			qcow2_refcount_set(block, order, i, 1ULL << (random() % (1U << order)));
			used++;
			assert_int_equal(qcow2_refcount_count_used(block, order, i + 1), used);
			assert_int_equal(qcow2_refcount_count_used(block, order, i), used - 1);
		}
		assert_int_equal(qcow2_refcount_count_used(block, order, slots(order)), used);
		free(block);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_refcount_fills_its_width),
		cmocka_unit_test(wide_refcounts_are_big_endian),
		cmocka_unit_test(narrow_refcounts_start_at_the_least_significant_bit),
		cmocka_unit_test(what_is_set_is_what_is_read),
		cmocka_unit_test(a_neighbour_is_not_disturbed),
		cmocka_unit_test(one_free_cluster_among_many_is_noticed),
		cmocka_unit_test(all_free_is_noticed),
		cmocka_unit_test(those_in_use_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
