/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the power is cut, and what of the unflushed writes survives. */
#ifndef CRASH_CUTS_H
#define CRASH_CUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "state.h"

/*
 * Choose @nr cuts at plain writes, so that there is something to lose, half of them at the last one before a flush, and a
 * quarter of that at FUA writes, flushes and marks; spread evenly over the entries from @first on. Returns the entries'
 * indices in ascending order, *nr of them.
 */
size_t *cuts_choose(const struct log *log, size_t first, uint64_t seed, size_t *nr);

/* Is anything unflushed at a cut after entry @cut? */
bool cut_has_subsets(const struct log *log, size_t cut);

/*
 * Build the state of a cut after entry @cut in @st: variant 0 keeps every write logged up to there, each other variant all
 * FUA writes and its own random subset of the plain ones. No write is torn inside @unit sectors.
 */
void cut_build(struct state *st, size_t cut, unsigned int variant, uint64_t seed, unsigned int unit);

#endif
