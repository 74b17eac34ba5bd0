// SPDX-License-Identifier: GPL-2.0-only
/* Command-line options that are a table. */
#include <stdlib.h>
#include <string.h>

#include "options.h"

static const struct option_slot *find(const struct option_slot *table, const char *word)
{
	for (; table->name; table++)
		if (!strcmp(table->name, word + 2))
			return table;
	return NULL;
}

static int set(const struct option_slot *slot, const char *value)
{
	char *end;

	if (slot->text) {
		*slot->text = value;
		return 0;
	}
	*slot->number = strtoull(value, &end, 0);
	return *value && !*end ? 0 : -1;
}

int options_parse(int argc, char **argv, const struct option_slot *table)
{
	int i;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i += 2) {
		const struct option_slot *slot = find(table, argv[i]);

		if (!slot || i + 1 == argc || set(slot, argv[i + 1]))
			return -1;
	}
	return i;
}
