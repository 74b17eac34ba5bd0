/* SPDX-License-Identifier: GPL-2.0-only */
/* Command-line options that are a table: "--name VALUE", where the value is a number or a text. */
#ifndef CRASH_OPTIONS_H
#define CRASH_OPTIONS_H

#include <stdint.h>

struct option_slot {
	const char *name; /* NULL ends the table */
	uint64_t *number; /* where its value goes: one of the two */
	const char **text;
};

/* Returns the index of the first word that is no option, or -1 when an option is unknown or its value is bad. */
int options_parse(int argc, char **argv, const struct option_slot *table);

#endif
