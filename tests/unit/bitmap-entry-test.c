// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of the bitmap directory: which qcow2_bitmap_entry_parse() accepts, and by which sentence it refuses the others; and
 * those of bitmap tables.
 */
#include "unit.h"

#include "dm-qcow2/format/bitmap-entry.h"

#define CLUSTER		65536ULL

/* A disk whose bitmaps, of 64 KiB a bit, need two clusters: one for each 32 GiB. */
static const struct qcow2_header header = {
	.version = 3,
	.cluster_bits = 16,
	.size = (32ULL << 30) + 512,
};

/* An entry as QEMU makes it, with room for more. */
struct area {
	struct qcow2_disk_bitmap d;
	char rest[1200];
};

static struct area good_entry(void)
{
	return (struct area) {
		.d = {
			.table_offset = cpu_to_be64(5 * CLUSTER),
			.table_entries = cpu_to_be32(2),
			.flags = cpu_to_be32(QCOW2_BITMAP_AUTO),
			.type = QCOW2_BITMAP_DIRTY_TRACKING,
			.granularity_bits = 16,
			.name_bytes = cpu_to_be16(7),
		},
		.rest = "nightly",
	};
}

/* In memory that ends where the directory does. */
static int parse(const struct area *a, size_t len, struct qcow2_bitmap_entry *e, const char **why)
{
	void *exact = malloc(len);
	int err;

	assert_non_null(exact);
	memcpy(exact, a, len);
	*why = NULL;
	err = qcow2_bitmap_entry_parse(&header, exact, len, e, why);
	if (!err)
		e->name = e->name_bytes ? (const char *)a + (e->name - (const char *)exact) : NULL;
	free(exact);
	return err;
}

static void expect_refused(const struct area *a, size_t len, int err, const char *sentence)
{
	struct qcow2_bitmap_entry e;
	const char *why;

	assert_int_equal(parse(a, len, &e, &why), err);
	assert_string_equal(why, sentence);
}

static void an_entry_of_qemus_is_read(void **state)
{
	struct area a = good_entry();
	struct qcow2_bitmap_entry e;
	const char *why;

	(void)state;
	assert_int_equal(parse(&a, 32, &e, &why), 0);
	assert_int_equal(e.bytes, 32);
	assert_int_equal(e.table_offset, 5 * CLUSTER);
	assert_int_equal(e.table_entries, 2);
	assert_int_equal(e.granularity_bits, 16);
	assert_int_equal(e.name_bytes, 7);
	assert_memory_equal(e.name, "nightly", 7);
	assert_true(qcow2_bitmap_records(&e));
	a.d.flags = 0;
	assert_int_equal(parse(&a, 32, &e, &why), 0);
	assert_false(qcow2_bitmap_records(&e));
}

static void an_entry_ends_inside_the_directory(void **state)
{
	struct area a = good_entry();

	(void)state;
	for (size_t len = 0; len < 32; len++)
		expect_refused(&a, len, -EUCLEAN, "bitmap directory ends inside an entry");
	a.d.extra_bytes = cpu_to_be32(UINT32_MAX);
	expect_refused(&a, sizeof(a), -EUCLEAN, "bitmap directory ends inside an entry");
	a.d.flags = cpu_to_be32(QCOW2_BITMAP_IN_USE);
	expect_refused(&a, sizeof(a), -EUCLEAN, "bitmap directory ends inside an entry");
}

static void of_one_in_use_only_the_length_counts(void **state)
{
	struct area a = good_entry();
	struct qcow2_bitmap_entry e;
	const char *why;

	(void)state;
	a.d.flags = cpu_to_be32(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | 1U << 31);
	a.d.type = 9;
	a.d.granularity_bits = 200;
	a.d.table_offset = cpu_to_be64(7);
	a.d.extra_bytes = cpu_to_be32(8);
	assert_int_equal(parse(&a, 40, &e, &why), 0);
	assert_int_equal(e.bytes, 40);
	assert_false(qcow2_bitmap_records(&e));
}

static void each_field_is_checked(void **state)
{
	struct area a;

	(void)state;
	a = good_entry();
	/* QEMU does not know either that extra data may be left as it is. */
	a.d.flags = cpu_to_be32(QCOW2_BITMAP_AUTO | 1U << 2);
	expect_refused(&a, 32, -EOPNOTSUPP, "a bitmap is of an unknown kind");
	a = good_entry();
	a.d.type = 2;
	expect_refused(&a, 32, -EOPNOTSUPP, "a bitmap is of an unknown kind");
	a = good_entry();
	a.d.name_bytes = 0;
	expect_refused(&a, 32, -EUCLEAN, "a bitmap has no valid name");
	a = good_entry();
	a.rest[3] = '\0';
	expect_refused(&a, 32, -EUCLEAN, "a bitmap has no valid name");
	a = good_entry();
	memset(a.rest, 'a', sizeof(a.rest));
	a.d.name_bytes = cpu_to_be16(1024);
	expect_refused(&a, sizeof(a), -EUCLEAN, "a bitmap has no valid name");
	for (u32 bits = 0; bits < 256; bits++) {
		a = good_entry();
		a.d.flags = 0;
		a.d.granularity_bits = bits;
		if (bits < 9 || bits > 31)
			expect_refused(&a, 32, -EUCLEAN, "granularity of a bitmap is out of range");
	}
	a = good_entry();
	a.d.table_offset = cpu_to_be64(5 * CLUSTER + 512);
	expect_refused(&a, 32, -EUCLEAN, "a bitmap table is out of range");
	a = good_entry();
	a.d.table_offset = 0;
	expect_refused(&a, 32, -EUCLEAN, "a bitmap table is out of range");
	a = good_entry();
	a.d.table_entries = cpu_to_be32(0x8000001);
	expect_refused(&a, 32, -EUCLEAN, "a bitmap table is out of range");
}

static void one_that_records_is_as_large_as_the_disk(void **state)
{
	struct qcow2_bitmap_entry e;
	struct area a = good_entry();
	const char *why;

	(void)state;
	a.d.table_entries = cpu_to_be32(1);
	expect_refused(&a, 32, -EUCLEAN, "a bitmap is not as large as the disk");
	a.d.table_entries = cpu_to_be32(3);
	expect_refused(&a, 32, -EUCLEAN, "a bitmap is not as large as the disk");
	/* Nobody writes to one that is disabled. */
	a.d.flags = 0;
	assert_int_equal(parse(&a, 32, &e, &why), 0);
	a = good_entry();
	memcpy(a.rest, "datanightly", 11);
	a.d.extra_bytes = cpu_to_be32(4);
	expect_refused(&a, 40, -EOPNOTSUPP, "a bitmap has unknown extra data");
	a.d.flags = 0;
	assert_int_equal(parse(&a, 40, &e, &why), 0);
}

static void an_entry_of_a_table_points_into_the_image(void **state)
{
	u64 end = 10 * CLUSTER;

	(void)state;
	assert_true(qcow2_bitmap_table_check(16, 0, end));
	assert_true(qcow2_bitmap_table_check(16, 1, end));
	assert_true(qcow2_bitmap_table_check(16, CLUSTER, end));
	assert_true(qcow2_bitmap_table_check(16, 9 * CLUSTER, end));
	assert_false(qcow2_bitmap_table_check(16, 10 * CLUSTER, end));
	assert_false(qcow2_bitmap_table_check(16, 2, end));
	assert_false(qcow2_bitmap_table_check(16, CLUSTER + 512, end));
	assert_false(qcow2_bitmap_table_check(16, CLUSTER | 1, end));
	assert_false(qcow2_bitmap_table_check(16, CLUSTER | 1ULL << 63, end));
	assert_false(qcow2_bitmap_table_check(16, 1ULL << 56, UINT64_MAX & ~(CLUSTER - 1)));
}

/* Whatever the bytes are: nothing behind the directory is read, and what is accepted keeps its promises. */
static void random_entries_are_read_safely(void **state)
{
	struct qcow2_bitmap_entry e;
	const char *why;
	struct area a;

	(void)state;
	for (unsigned int n = 0; n < 200000; n++) {
		size_t len = random() % 64;

		a = good_entry();
		for (unsigned int k = random() % 4; k; k--)
			((u8 *)&a)[random() % 40] = random();
		if (parse(&a, len, &e, &why))
			continue;
		assert_in_range(e.bytes, sizeof(a.d), len);
		assert_int_equal(e.bytes % 8, 0);
		assert_true(!qcow2_bitmap_records(&e) || e.table_entries == 2 ||
			    e.granularity_bits != 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_of_qemus_is_read),
		cmocka_unit_test(an_entry_ends_inside_the_directory),
		cmocka_unit_test(of_one_in_use_only_the_length_counts),
		cmocka_unit_test(each_field_is_checked),
		cmocka_unit_test(one_that_records_is_as_large_as_the_disk),
		cmocka_unit_test(an_entry_of_a_table_points_into_the_image),
		cmocka_unit_test(random_entries_are_read_safely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
