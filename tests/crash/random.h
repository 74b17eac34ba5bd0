/* SPDX-License-Identifier: GPL-2.0-only */
/* xorshift64*: small, seeded, the same everywhere. */
#ifndef CRASH_RANDOM_H
#define CRASH_RANDOM_H

#include <stdint.h>

static inline void random_seed(uint64_t *state, uint64_t seed)
{
	*state = seed * 0x9e3779b97f4a7c15ull | 1;
}

static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dull >> 11) % limit;
}

#endif
