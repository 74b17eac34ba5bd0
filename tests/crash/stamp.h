/* SPDX-License-Identifier: GPL-2.0-only */
/* Self-describing 512-byte sectors: who wrote this sector, and for which address. */
#ifndef CRASH_STAMP_H
#define CRASH_STAMP_H

#include <stdbool.h>
#include <stdint.h>

#define SECTOR_SHIFT 9
#define SECTOR_BYTES (1u << SECTOR_SHIFT)

struct stamp {
	uint64_t sector;  /* address the writer meant this sector for */
	uint64_t version; /* number of the write in the journal, from 1 */
};

/* Fill one sector so that every word of it depends on @sector and @version. */
void stamp_make(void *buf, uint64_t sector, uint64_t version);

/* Return true, and who it is, if @buf is an intact stamped sector. */
bool stamp_read(const void *buf, struct stamp *who);

/* Is every byte of the sector @byte? */
bool sector_is_filled(const void *buf, uint8_t byte);

#endif
