/* SPDX-License-Identifier: GPL-2.0-only */
/* Does an image, as QEMU reads it, hold what the journal promises? */
#ifndef CRASH_VERIFY_H
#define CRASH_VERIFY_H

#include <stdint.h>

#include "journal.h"

struct promise {
	const struct journal *journal;
	uint32_t *floor;   /* by sector: oldest version allowed (journal_floor()) */
	uint32_t *zeroes;  /* by sector: latest version that is zeroes (journal_zeroes()) */
	uint64_t at_sector; /* where the journal's sector 0 is in the image */
	uint8_t old;        /* what every byte was before the first write */
	uint64_t stamped;   /* but for the first so many sectors: they had stamps of version 0 */
};

/*
 * Check an image through @map, the text that `qemu-img map` printed for it, which names the file that each extent is in.
 * Returns the number of sectors that are wrong and describes the first few on standard error.
 */
unsigned int verify(const struct promise *p, const char *map);

#endif
