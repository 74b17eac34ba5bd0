// SPDX-License-Identifier: GPL-2.0-only
/* Self-describing 512-byte sectors. */
#include <string.h>

#include "stamp.h"

#define STAMP_MAGIC 0x706d617473636f77ull
#define WORDS (SECTOR_BYTES / sizeof(uint64_t))

/* 64-bit finalizer with full avalanche, so that near addresses fill unlike. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

void stamp_make(void *buf, uint64_t sector, uint64_t version)
{
	uint64_t *word = buf;
	uint64_t fill = mix(sector * WORDS + mix(version));
	unsigned int i;

	word[0] = STAMP_MAGIC;
	word[1] = sector;
	word[2] = version;
	for (i = 3; i < WORDS; i++)
		word[i] = fill += STAMP_MAGIC;
}

bool stamp_read(const void *buf, struct stamp *who)
{
	const uint64_t *word = buf;
	uint64_t whole[WORDS];

	if (word[0] != STAMP_MAGIC)
		return false;
	stamp_make(whole, word[1], word[2]);
	if (memcmp(whole, buf, SECTOR_BYTES))
		return false;
	who->sector = word[1];
	who->version = word[2];
	return true;
}

bool sector_is_filled(const void *buf, uint8_t byte)
{
	const uint8_t *bytes = buf;

	return bytes[0] == byte && !memcmp(bytes, bytes + 1, SECTOR_BYTES - 1);
}
