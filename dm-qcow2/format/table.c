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
static int parse_number(const char *word, u32 max, u32 *value)
{
	u64 n = 0;

	if (!*word)
		return -EINVAL;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return -EINVAL;
		n = n * 10 + (*word - '0');
		if (n > max)
			return -EINVAL;
	}
	*value = n;
	return 0;
}

static int parse_layer(const char *word, struct qcow2_table *t, const char **why)
{
	u32 fd;

	if (word[0] == '/') {
		t->path = word;
		return 0;
	}
	if (parse_number(word, 0x7fffffff, &fd)) {
		if (strchr(word, ':'))
			return refuse(-EOPNOTSUPP, "layer attribute is not supported", why);
		return refuse(-EINVAL, "layer is neither a descriptor nor an absolute path",
			      why);
	}
	t->fd = fd;
	return 0;
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

int qcow2_table_parse(unsigned int argc, char **argv, struct qcow2_table *t,
		      const char **why)
{
	int err;

	*t = (struct qcow2_table) {
		.fd = -1,
		.cache_mb = QCOW2_DEFAULT_CACHE_MB,
	};
	if (!argc || !strcmp(argv[0], "features"))
		return refuse(-EINVAL, "no layer is given", why);
	err = parse_layer(argv[0], t, why);
	if (err || argc == 1)
		return err;
	if (strcmp(argv[1], "features"))
		return refuse(-EOPNOTSUPP, "more than one layer is not supported", why);
	return parse_features(argc - 2, argv + 2, t, why);
}
