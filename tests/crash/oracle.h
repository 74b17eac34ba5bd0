/* SPDX-License-Identifier: GPL-2.0-only */
/* QEMU as the judge: one qemu-img command line that is run many times (warm.c). */
#ifndef CRASH_ORACLE_H
#define CRASH_ORACLE_H

#include <stddef.h>

struct oracle {
	int ctl;	/* one byte asks for a run; the wait status answers */
	int output;	/* memfd: what the last run printed */
	char *text;	/* the same, terminated */
};

/* Start @argv with the library @warm preloaded. Exits with a message on failure. */
void oracle_start(struct oracle *o, const char *warm, char *const argv[]);

/* Run it once; returns its exit status, or 128 + signal. o->text is valid until the next run. */
int oracle_ask(struct oracle *o);

#endif
