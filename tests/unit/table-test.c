// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table line: what qcow2_table_parse() accepts, and how it refuses the rest.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "dm-qcow2/format/table.h"

#define MAX_WORDS 600

static struct qcow2_table_layer layers[MAX_WORDS];

/* Parse a line as dm splits it, at single spaces. @line must outlive @t. */
static int parse(char *line, struct qcow2_table *t, const char **why)
{
	char *argv[MAX_WORDS + 1] = {}, *save = NULL;
	unsigned int argc = 0;

	for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(argc < MAX_WORDS);
		argv[argc++] = word;
	}
	*why = NULL;
	return qcow2_table_parse(argc, argv, layers, t, why);
}

static void expect_refused(const char *text, int err, const char *sentence)
{
	struct qcow2_table t;
	const char *why;
	char line[4096];

	strcpy(line, text);
	assert_int_equal(parse(line, &t, &why), err);
	assert_string_equal(why, sentence);
}

static struct qcow2_table accepted(const char *text)
{
	static char line[4096];
	struct qcow2_table t;
	const char *why;

	strcpy(line, text);
	assert_int_equal(parse(line, &t, &why), 0);
	return t;
}

static void a_descriptor_alone_gets_the_defaults(void **state)
{
	struct qcow2_table t = accepted("7");

	(void)state;
	assert_int_equal(t.layers[0].fd, 7);
	assert_null(t.layers[0].path);
	assert_int_equal(t.cache_mb, QCOW2_DEFAULT_CACHE_MB);
	assert_false(t.no_space_error);
	assert_false(t.no_layouts);
	assert_int_equal(t.low_space, 0);
}

static void a_path_is_a_layer(void **state)
{
	struct qcow2_table t = accepted("/images/disk.qcow2");

	(void)state;
	assert_string_equal(t.layers[0].path, "/images/disk.qcow2");
	assert_int_equal(t.layers[0].fd, -1);
}

static void a_path_may_look_like_anything_else(void **state)
{
	(void)state;
	assert_string_equal(accepted("/features").layers[0].path, "/features");
	assert_string_equal(accepted("/raw:1").layers[0].path, "/raw:1");
}

static void descriptors_go_up_to_int_max(void **state)
{
	(void)state;
	assert_int_equal(accepted("0").layers[0].fd, 0);
	assert_int_equal(accepted("2147483647").layers[0].fd, INT_MAX);
	expect_refused("2147483648", -EINVAL, "layer is neither a descriptor nor an absolute path");
	expect_refused("99999999999999999999999999", -EINVAL,
		       "layer is neither a descriptor nor an absolute path");
}

static void what_is_no_layer_is_refused(void **state)
{
	static const char *const words[] = { "-1", "+1", "0x7", "7a", "disk.qcow2", "./disk" };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		expect_refused(words[i], -EINVAL,
			       "layer is neither a descriptor nor an absolute path");
}

static void an_empty_word_is_no_layer(void **state)
{
	char *argv[] = { (char []){ "" } };
	struct qcow2_table t;
	const char *why;

	(void)state;
	assert_int_equal(qcow2_table_parse(1, argv, layers, &t, &why), -EINVAL);
}

static void a_chain_is_listed_from_its_bottom(void **state)
{
	struct qcow2_table t = accepted("format:raw /base 4 format:qcow2 5 features 1 cache_mb=9");

	(void)state;
	assert_int_equal(t.nr_layers, 3);
	assert_string_equal(t.layers[0].path, "/base");
	assert_true(t.layers[0].is_raw);
	assert_int_equal(t.layers[1].fd, 4);
	assert_false(t.layers[1].is_raw);
	assert_int_equal(qcow2_table_top(&t)->fd, 5);
	assert_null(qcow2_table_top(&t)->path);
	assert_int_equal(t.cache_mb, 9);
}

static void attributes_are_of_the_layer_behind_them(void **state)
{
	(void)state;
	expect_refused("format:raw", -EINVAL, "no layer follows an attribute");
	expect_refused("3 format:raw", -EINVAL, "no layer follows an attribute");
	expect_refused("format:raw features 0", -EINVAL, "no layer follows an attribute");
	expect_refused("format:vmdk 3 4", -EINVAL, "format of a layer is neither qcow2 nor raw");
	expect_refused("3 format:raw 4", -EINVAL, "top of the chain is not a qcow2 image");
	assert_false(accepted("format:raw format:qcow2 3").layers[0].is_raw);
}

static void a_data_file_is_of_the_layer_behind_it(void **state)
{
	struct qcow2_table t = accepted("data:/data 3 /mid format:qcow2 data:4 /top");

	(void)state;
	assert_int_equal(t.nr_layers, 3);
	assert_true(t.layers[0].has_data);
	assert_string_equal(t.layers[0].data_path, "/data");
	assert_int_equal(t.layers[0].data_fd, -1);
	assert_false(t.layers[1].has_data);
	assert_true(t.layers[2].has_data);
	assert_null(t.layers[2].data_path);
	assert_int_equal(qcow2_table_data(&t.layers[2]).fd, 4);
	assert_string_equal(accepted("data:/a:b /top").layers[0].data_path, "/a:b");
	expect_refused("data:/data", -EINVAL, "no layer follows an attribute");
	expect_refused("data: /top", -EINVAL,
		       "data file is neither a descriptor nor an absolute path");
	expect_refused("data:file /top", -EINVAL,
		       "data file is neither a descriptor nor an absolute path");
	expect_refused("data:/a data:/b /top", -EINVAL, "layer has two data files");
	expect_refused("data:/a format:raw /base /top", -EINVAL, "a raw layer has no data file");
}

static void a_chain_has_256_layers_at_most(void **state)
{
	char line[4096] = "";

	(void)state;
	for (int i = 0; i < QCOW2_MAX_LAYERS; i++)
		sprintf(line + strlen(line), "%d ", i);
	assert_int_equal(accepted(line).nr_layers, QCOW2_MAX_LAYERS);
	strcat(line, "256");
	expect_refused(line, -EINVAL, "chain has too many layers");
}

static void a_line_without_a_layer_is_refused(void **state)
{
	(void)state;
	expect_refused("", -EINVAL, "no layer is given");
	expect_refused("features 1 cache_mb=1", -EINVAL, "no layer is given");
}

static void what_is_not_there_yet_is_refused_by_name(void **state)
{
	(void)state;
	expect_refused("key:3 4", -EOPNOTSUPP, "layer attribute is not supported");
}

static void features_are_taken_in_any_order(void **state)
{
	struct qcow2_table t = accepted("3 features 4 no_space=error layouts=off discard=keep cache_mb=8");

	(void)state;
	assert_true(t.no_space_error);
	assert_true(t.no_layouts);
	assert_int_equal(t.cache_mb, 8);
	assert_int_equal(t.discard, QCOW2_DISCARD_KEEP);
}

static void the_last_of_two_equal_features_counts(void **state)
{
	(void)state;
	assert_false(accepted("3 features 2 no_space=error no_space=queue").no_space_error);
	assert_false(accepted("3 features 2 layouts=off layouts=on").no_layouts);
}

static void no_features_may_be_said_in_words(void **state)
{
	(void)state;
	assert_int_equal(accepted("3 features 0").layers[0].fd, 3);
}

static void the_number_of_features_must_match(void **state)
{
	static const char *const lines[] = {
		"3 features", "3 features 1", "3 features 0 cache_mb=1", "3 features x cache_mb=1",
		"3 features 2 cache_mb=1", "3 features -1 cache_mb=1", "3 features 4294967297 cache_mb=1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		expect_refused(lines[i], -EINVAL, "number of features does not match");
}

static void an_unknown_feature_is_refused(void **state)
{
	static const char *const words[] = { "cache", "cache_mb", "no_space", "no_space=", "no_space=wait", "layouts", "layouts=",
					     "discard", "discard=", "discard=off" };
	char line[64];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		snprintf(line, sizeof(line), "3 features 1 %s", words[i]);
		expect_refused(line, -EINVAL, "unknown feature");
	}
}

static void a_cache_has_from_1_mib_to_64_gib(void **state)
{
	static const char *const sizes[] = { "", "0", "65537", "-1", "1M", "18446744073709551617" };
	char line[64];

	(void)state;
	assert_int_equal(accepted("3 features 1 cache_mb=1").cache_mb, 1);
	assert_int_equal(accepted("3 features 1 cache_mb=65536").cache_mb, 65536);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		snprintf(line, sizeof(line), "3 features 1 cache_mb=%s", sizes[i]);
		expect_refused(line, -EINVAL, "cache_mb is out of range");
	}
}

static void a_level_is_any_number_of_64_bits(void **state)
{
	static const char *const levels[] = {
		"", "-1", "+1", " 1", "1G", "0x10", "some", "18446744073709551616", "18446744073709551620",
		"99999999999999999999999999999999999999999",
	};
	char line[128];

	(void)state;
	assert_int_equal(accepted("3 features 1 low_space=0").low_space, 0);
	assert_int_equal(accepted("3 features 1 low_space=0001").low_space, 1);
	assert_true(accepted("3 features 1 low_space=18446744073709551615").low_space == UINT64_MAX);
	assert_int_equal(accepted("3 features 2 low_space=5 low_space=6").low_space, 6);
	expect_refused("3 features 1 low_space", -EINVAL, "unknown feature");
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
		char *argv[] = { "3", "features", "1", line };
		struct qcow2_table t;
		const char *why = NULL;

		snprintf(line, sizeof(line), "low_space=%s", levels[i]);
		assert_int_equal(qcow2_table_parse(4, argv, layers, &t, &why), -EINVAL);
		assert_string_equal(why, "low_space is out of range");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_alone_gets_the_defaults),
		cmocka_unit_test(a_path_is_a_layer),
		cmocka_unit_test(a_path_may_look_like_anything_else),
		cmocka_unit_test(descriptors_go_up_to_int_max),
		cmocka_unit_test(what_is_no_layer_is_refused),
		cmocka_unit_test(an_empty_word_is_no_layer),
		cmocka_unit_test(a_chain_is_listed_from_its_bottom),
		cmocka_unit_test(attributes_are_of_the_layer_behind_them),
		cmocka_unit_test(a_data_file_is_of_the_layer_behind_it),
		cmocka_unit_test(a_chain_has_256_layers_at_most),
		cmocka_unit_test(a_line_without_a_layer_is_refused),
		cmocka_unit_test(what_is_not_there_yet_is_refused_by_name),
		cmocka_unit_test(features_are_taken_in_any_order),
		cmocka_unit_test(the_last_of_two_equal_features_counts),
		cmocka_unit_test(no_features_may_be_said_in_words),
		cmocka_unit_test(the_number_of_features_must_match),
		cmocka_unit_test(an_unknown_feature_is_refused),
		cmocka_unit_test(a_cache_has_from_1_mib_to_64_gib),
		cmocka_unit_test(a_level_is_any_number_of_64_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
