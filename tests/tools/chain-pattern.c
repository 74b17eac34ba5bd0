// SPDX-License-Identifier: GPL-2.0-only
/* What is written to images of a chain. */
#include <string.h>

#include "../crash/random.h"
#include "chain-pattern.h"

void chain_pattern_make(uint8_t *bytes, unsigned int number)
{
	unsigned int letters = number % 2 ? 16 : 256;
	uint64_t random;
	size_t i;

	random_seed(&random, number + 1);
	for (i = 0; i < CHAIN_PATTERN_BYTES; i++)
		bytes[i] = random_below(&random, letters) * (256 / letters) + number % 2;
}

void chain_pattern_fill(uint8_t *buf, size_t bytes, unsigned int number)
{
	uint8_t pattern[CHAIN_PATTERN_BYTES];
	size_t n;

	chain_pattern_make(pattern, number);
	for (; bytes; buf += n, bytes -= n) {
		n = bytes < sizeof(pattern) ? bytes : sizeof(pattern);
		memcpy(buf, pattern, n);
	}
}
