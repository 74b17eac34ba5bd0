// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words of a qcow2 table line, parsed. Builds in user space, too.
 */
#include "table.h"

static int refuse(int err, const char *sentence, const char **why)
{
	*why = sentence;
	return err;
}

/* Decimal digits only: no sign, no space, no other base. */
static int parse_u64(const char *word, u64 max, u64 *value)
{
	u64 n = 0;

	if (!*word)
		return -EINVAL;
	for (; *word; word++) {
		u64 digit = *word - '0';

		if (*word < '0' || *word > '9' || digit > max || n > (max - digit) / 10)
			return -EINVAL;
		n = n * 10 + digit;
	}
	*value = n;
	return 0;
}

static int parse_number(const char *word, u32 max, u32 *value)
{
	u64 n;
	int err = parse_u64(word, max, &n);

	if (!err)
		*value = n;
	return err;
}

/* A path or a descriptor. */
static int parse_file(const char *word, const char **path, int *fd)
{
	u32 number;

	*path = NULL;
	*fd = -1;
	if (word[0] == '/') {
		*path = word;
		return 0;
	}
	if (parse_number(word, 0x7fffffff, &number))
		return -EINVAL;
	*fd = number;
	return 0;
}

static int parse_word(const char *word, struct qcow2_table_layer *l, const char **why)
{
	if (parse_file(word, &l->path, &l->fd))
		return refuse(-EINVAL, "layer is neither a descriptor nor an absolute path",
			      why);
	if (l->has_data && l->is_raw)
		return refuse(-EINVAL, "a raw layer has no data file", why);
	return 0;
}

static int parse_data(const char *word, struct qcow2_table_layer *l, const char **why)
{
	if (l->has_data)
		return refuse(-EINVAL, "layer has two data files", why);
	if (parse_file(word, &l->data_path, &l->data_fd))
		return refuse(-EINVAL, "data file is neither a descriptor nor an absolute path",
			      why);
	l->has_data = true;
	return 0;
}

/* What stands before the word of a layer. */
static int parse_attribute(const char *word, struct qcow2_table_layer *l, const char **why)
{
	if (!strcmp(word, "format:qcow2"))
		l->is_raw = false;
	else if (!strcmp(word, "format:raw"))
		l->is_raw = true;
	else if (!strncmp(word, "format:", 7))
		return refuse(-EINVAL, "format of a layer is neither qcow2 nor raw", why);
	else if (!strncmp(word, "data:", 5))
		return parse_data(word + 5, l, why);
	else
		return refuse(-EOPNOTSUPP, "layer attribute is not supported", why);
	return 0;
}

static bool is_attribute(const char *word)
{
	return word[0] != '/' && strchr(word, ':');
}

/* One layer. Return: the number of words that it took, or a negative errno. */
static int parse_layer(unsigned int argc, char **argv, struct qcow2_table_layer *l,
		       const char **why)
{
	unsigned int i;
	int err;

	l->is_raw = false;
	l->has_data = false;
	l->data_path = NULL;
	l->data_fd = -1;
	for (i = 0; i < argc && is_attribute(argv[i]); i++) {
		err = parse_attribute(argv[i], l, why);
		if (err)
			return err;
	}
	if (i == argc || !strcmp(argv[i], "features"))
		return refuse(-EINVAL, "no layer follows an attribute", why);
	err = parse_word(argv[i], l, why);
	return err ? err : (int)i + 1;
}

static int parse_feature(const char *word, struct qcow2_table *t, const char **why)
{
	if (!strncmp(word, "cache_mb=", 9)) {
		if (parse_number(word + 9, QCOW2_MAX_CACHE_MB, &t->cache_mb) || !t->cache_mb)
			return refuse(-EINVAL, "cache_mb is out of range", why);
	} else if (!strcmp(word, "no_space=queue")) {
		t->no_space_error = false;
	} else if (!strcmp(word, "no_space=error")) {
		t->no_space_error = true;
	} else if (!strcmp(word, "layouts=on")) {
		t->no_layouts = false;
	} else if (!strcmp(word, "layouts=off")) {
		t->no_layouts = true;
	} else if (!strncmp(word, "low_space=", 10)) {
		if (parse_u64(word + 10, ~0ULL, &t->low_space))
			return refuse(-EINVAL, "low_space is out of range", why);
	} else if (!strcmp(word, "discard=unmap")) {
		t->discard = QCOW2_DISCARD_UNMAP;
	} else if (!strcmp(word, "discard=keep")) {
		t->discard = QCOW2_DISCARD_KEEP;
	} else if (!strcmp(word, "discard=ignore")) {
		t->discard = QCOW2_DISCARD_IGNORE;
	} else {
		return refuse(-EINVAL, "unknown feature", why);
	}
	return 0;
}

static int parse_features(unsigned int argc, char **argv, struct qcow2_table *t,
			  const char **why)
{
	unsigned int i;
	u32 count;
	int err;

	if (!argc || parse_number(argv[0], argc - 1, &count) || count != argc - 1)
		return refuse(-EINVAL, "number of features does not match", why);
	for (i = 1; i < argc; i++) {
		err = parse_feature(argv[i], t, why);
		if (err)
			return err;
	}
	return 0;
}

/* Return: the number of words, or a negative errno. */
static int parse_layers(unsigned int argc, char **argv, struct qcow2_table *t, const char **why)
{
	unsigned int i;
	int words;

	for (i = 0; i < argc && strcmp(argv[i], "features"); i += words) {
		if (t->nr_layers == QCOW2_MAX_LAYERS)
			return refuse(-EINVAL, "chain has too many layers", why);
		words = parse_layer(argc - i, argv + i, &t->layers[t->nr_layers], why);
		if (words < 0)
			return words;
		t->nr_layers++;
	}
	if (!t->nr_layers)
		return refuse(-EINVAL, "no layer is given", why);
	if (qcow2_table_top(t)->is_raw)
		return refuse(-EINVAL, "top of the chain is not a qcow2 image", why);
	return i;
}

int qcow2_table_parse(unsigned int argc, char **argv, struct qcow2_table_layer *layers,
		      struct qcow2_table *t, const char **why)
{
	int words;

	*t = (struct qcow2_table) {
		.layers = layers,
		.cache_mb = QCOW2_DEFAULT_CACHE_MB,
	};
	words = parse_layers(argc, argv, t, why);
	if (words < 0)
		return words;
	if ((unsigned int)words == argc)
		return 0;
	return parse_features(argc - words - 1, argv + words + 1, t, why);
}
