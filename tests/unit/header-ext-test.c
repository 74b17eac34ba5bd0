// SPDX-License-Identifier: GPL-2.0-only
/*
 * Header extensions: which qcow2_header_ext_check() accepts, and by which sentence it refuses
 * the rest. Each list is looked at as a whole and in pieces of every length, which must make
 * no difference. Every piece is handed over in memory of just its length, for ASan to watch.
 */
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "dm-qcow2/format/header-ext.h"

#define AREA_BYTES	512

/* The start of an image with clusters of 512 bytes, made up extension by extension. */
struct image {
	struct qcow2_header h;
	u8 area[AREA_BYTES];
	u32 at;
};

static struct image new_image(void)
{
	struct image img = {
		.h = { .version = 3, .cluster_bits = 9, .length = QCOW2_HEADER_BYTES },
		.at = QCOW2_HEADER_BYTES,
	};

	return img;
}

/* An extension that says that it is @bytes long, and has @len of data. */
static void add_as(struct image *img, u32 type, u32 bytes, const void *data, u32 len)
{
	struct qcow2_disk_ext ext = { cpu_to_be32(type), cpu_to_be32(bytes) };

	memcpy(img->area + img->at, &ext, sizeof(ext));
	if (len)
		memcpy(img->area + img->at + sizeof(ext), data, len);
	img->at += sizeof(ext) + round_up(len, 8);
}

static void add(struct image *img, u32 type, u32 bytes)
{
	static const u8 data[AREA_BYTES];

	add_as(img, type, bytes, data, bytes);
}

static void add_bitmaps(struct image *img, u32 count, u32 reserved, u64 bytes, u64 offset)
{
	struct qcow2_disk_ext_bitmaps b = {
		cpu_to_be32(count), cpu_to_be32(reserved), cpu_to_be64(bytes), cpu_to_be64(offset),
	};

	add_as(img, QCOW2_EXT_BITMAPS, sizeof(b), &b, sizeof(b));
}

static int check_piece(struct image *img, u64 base, size_t len, u64 *next, const char **why)
{
	void *exact = malloc(len);
	int err;

	assert_non_null(exact);
	memcpy(exact, img->area + base, len);
	*why = NULL;
	err = qcow2_header_ext_check(&img->h, base, exact, len, next, why);
	free(exact);
	return err;
}

/* As the module does: pieces start at a multiple of @align, and are longer than a window. */
static int check_in_pieces(struct image *img, u32 align, u32 piece, const char **why)
{
	u64 end = qcow2_header_ext_end(&img->h);
	u64 base, before, next = img->h.length;
	int err = 0;

	while (next < end && !err) {
		base = round_down(next, align);
		before = next;
		err = check_piece(img, base, min((u64)piece, AREA_BYTES - base), &next, why);
		assert_true(err || next > before);
	}
	return err;
}

static void expect(struct image *img, int err, const char *sentence)
{
	const char *why = NULL;

	for (u32 align = 8; align <= AREA_BYTES; align *= 2) {
		for (u32 more = 0; more < 64; more++) {
			assert_int_equal(check_in_pieces(img, align, align +
							 QCOW2_HEADER_EXT_WINDOW + more, &why), err);
			if (err)
				assert_string_equal(why, sentence);
		}
	}
}

static void expect_accepted(struct image *img)
{
	expect(img, 0, NULL);
}

static void expect_refused(struct image *img, const char *sentence)
{
	expect(img, -EUCLEAN, sentence);
}

static void an_image_without_extensions_is_right(void **state)
{
	struct image img = new_image();

	(void)state;
	expect_accepted(&img);
	img.h.length = AREA_BYTES;
	expect_accepted(&img);
	img.h.version = 2;
	img.h.length = QCOW2_V2_HEADER_BYTES;
	expect_accepted(&img);
}

static void extensions_of_unknown_types_and_any_length_are_right(void **state)
{
	(void)state;
	for (u32 bytes = 0; bytes <= 300; bytes++) {
		struct image img = new_image();

		add(&img, 0x12345678, bytes);
		add(&img, 0x6803f857, 48);
		add(&img, 0x44415441, 7);
		expect_accepted(&img);
	}
}

/* The last one may end where the cluster does, with or without an end marker. */
static void a_list_ends_with_the_cluster(void **state)
{
	struct image img = new_image();

	(void)state;
	add(&img, 0x12345678, AREA_BYTES - QCOW2_HEADER_BYTES - 8);
	expect_accepted(&img);
	img = new_image();
	add(&img, 0x12345678, AREA_BYTES - QCOW2_HEADER_BYTES - 16);
	expect_accepted(&img);
}

static void an_extension_that_reaches_out_of_the_cluster_is_too_large(void **state)
{
	static const u32 lengths[] = {
		AREA_BYTES - QCOW2_HEADER_BYTES - 7, AREA_BYTES, 0x7fffffff, 0x80000000,
		0xfffffff8, UINT32_MAX,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct image img = new_image();

		add_as(&img, 0x12345678, lengths[i], NULL, 0);
		expect_refused(&img, "header extension is too large");
		/* An end with a length, too: QEMU looks at the length first. */
		img = new_image();
		add_as(&img, QCOW2_EXT_END, lengths[i], NULL, 0);
		expect_refused(&img, "header extension is too large");
	}
}

static void what_is_behind_the_end_is_not_looked_at(void **state)
{
	struct image img = new_image();

	(void)state;
	add(&img, QCOW2_EXT_END, 0);
	add_as(&img, 0x12345678, UINT32_MAX, NULL, 0);
	expect_accepted(&img);
}

/* Its name lies behind them. */
static void a_backing_file_name_ends_the_list(void **state)
{
	struct image img = new_image();

	(void)state;
	img.h.backing_offset = QCOW2_HEADER_BYTES + 24;
	add(&img, 0x12345678, 16);
	memset(img.area + img.at, 'n', 100);
	expect_accepted(&img);
	img.h.backing_offset -= 1;
	expect_refused(&img, "header extension is too large");
	img.h.backing_offset = QCOW2_HEADER_BYTES + 28;
	expect_refused(&img, "header extension is too large");
	img.h.backing_offset = 16;
	expect_accepted(&img);
}

static void a_backing_format_has_up_to_15_bytes(void **state)
{
	(void)state;
	for (u32 bytes = 0; bytes < 32; bytes++) {
		struct image img = new_image();

		add(&img, QCOW2_EXT_BACKING_FORMAT, bytes);
		if (bytes < 16)
			expect_accepted(&img);
		else
			expect_refused(&img, "backing file format name is too long");
	}
}

static void an_encryption_header_belongs_to_luks(void **state)
{
	struct image img = new_image();

	(void)state;
	add(&img, QCOW2_EXT_CRYPTO, 16);
	for (u32 method = 0; method < 2; method++) {
		img.h.crypt_method = method;
		expect_refused(&img, "encryption extension without encryption");
	}
	img.h.crypt_method = QCOW2_CRYPT_LUKS;
	expect_accepted(&img);
}

static struct image image_with_bitmaps(u32 count, u32 reserved, u64 bytes, u64 offset)
{
	struct image img = new_image();

	img.h.autoclear = QCOW2_AUTOCLEAR_BITMAPS;
	add(&img, 0x12345678, 3);
	add_bitmaps(&img, count, reserved, bytes, offset);
	return img;
}

static void each_field_of_the_bitmaps_extension_is_checked(void **state)
{
	struct image img = image_with_bitmaps(1, 0, 32, 1024);

	(void)state;
	expect_accepted(&img);
	img = image_with_bitmaps(65535, 0, 65535 * 1024, 1ULL << 63);
	expect_accepted(&img);
	img = image_with_bitmaps(1, 1, 32, 1024);
	expect_refused(&img, "bitmaps extension has reserved bits set");
	img = image_with_bitmaps(0, 0, 32, 1024);
	expect_refused(&img, "number of bitmaps is out of range");
	img = image_with_bitmaps(65536, 0, 32, 1024);
	expect_refused(&img, "number of bitmaps is out of range");
	img = image_with_bitmaps(1, 0, 65535 * 1024 + 1, 1024);
	expect_refused(&img, "bitmap directory is out of range");
	img = image_with_bitmaps(1, 0, 32, 1023);
	expect_refused(&img, "bitmap directory is out of range");
}

/* A program that knows no bitmaps has changed the image; the fields mean nothing. */
static void bitmaps_without_their_bit_only_have_a_length(void **state)
{
	struct image img = image_with_bitmaps(0, 1, UINT64_MAX, 1);

	(void)state;
	img.h.autoclear = 0;
	expect_accepted(&img);
	for (u32 bytes = 0; bytes < 48; bytes++) {
		img = new_image();
		add(&img, QCOW2_EXT_BITMAPS, bytes);
		if (bytes == 24)
			expect_accepted(&img);
		else
			expect_refused(&img, "bitmaps extension has a wrong length");
	}
}

static void random_lists_are_judged_alike_in_any_pieces(void **state)
{
	static const u32 types[] = {
		QCOW2_EXT_BACKING_FORMAT, QCOW2_EXT_CRYPTO, QCOW2_EXT_BITMAPS, 0x12345678,
	};
	int whole, accepted = 0;
	const char *why;

	(void)state;
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		struct image img = new_image();

		img.h.autoclear = random() % 2;
		img.h.crypt_method = random() % 3;
		if (random() % 4 == 0)
			img.h.backing_offset = random() % (AREA_BYTES + 1);
		for (int n = random() % 6; n > 0 && img.at < 400; n--)
			add(&img, types[random() % 4], random() % 2 ? 24 : random() % 40);
		for (int n = random() % 3; n > 0; n--)
			img.area[random() % AREA_BYTES] = random();
		whole = check_in_pieces(&img, AREA_BYTES, AREA_BYTES, &why);
		assert_true(!whole || (whole == -EUCLEAN && why));
		assert_int_equal(check_in_pieces(&img, 8U << random() % 5, 160, &why), whole);
		accepted += !whole;
	}
	assert_in_range(accepted, 1000, 19000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_image_without_extensions_is_right),
		cmocka_unit_test(extensions_of_unknown_types_and_any_length_are_right),
		cmocka_unit_test(a_list_ends_with_the_cluster),
		cmocka_unit_test(an_extension_that_reaches_out_of_the_cluster_is_too_large),
		cmocka_unit_test(what_is_behind_the_end_is_not_looked_at),
		cmocka_unit_test(a_backing_file_name_ends_the_list),
		cmocka_unit_test(a_backing_format_has_up_to_15_bytes),
		cmocka_unit_test(an_encryption_header_belongs_to_luks),
		cmocka_unit_test(each_field_of_the_bitmaps_extension_is_checked),
		cmocka_unit_test(bitmaps_without_their_bit_only_have_a_length),
		cmocka_unit_test(random_lists_are_judged_alike_in_any_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
