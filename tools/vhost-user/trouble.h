/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_TROUBLE_H
#define VBLK_TROUBLE_H

#include <stdbool.h>
#include <time.h>

#define TROUBLE_BYTES	512

/**
 * struct trouble - what goes wrong with the guests of a disk, told to people
 * @claim: for @show
 * @show: where others find why a guest is not served, "" when it is
 * @object: what lines are about, the socket
 * @problem: why a guest cannot be served, "" when it can
 * @since: when the lines began that count
 * @lines: how many there were
 * @last: the last one
 */
struct trouble {
	int claim;
	void (*show)(int claim, const char *problem);
	const char *object;
	char problem[TROUBLE_BYTES];
	time_t since;
	unsigned int lines;
	char last[TROUBLE_BYTES];
};

__attribute__((format(printf, 2, 3)))
void trouble_log(struct trouble *t, const char *fmt, ...);
void trouble_begin(struct trouble *t, const char *problem);
void trouble_end(struct trouble *t);

#endif
