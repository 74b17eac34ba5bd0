/* SPDX-License-Identifier: GPL-2.0-only */
/* A hash map from sector number to a pointer, and nothing else. */
#ifndef CRASH_SECTORS_H
#define CRASH_SECTORS_H

#include <stddef.h>
#include <stdint.h>

struct sector_slot {
	uint64_t sector;
	const uint8_t *data; /* NULL: the slot is free */
	size_t segment;	     /* of the entry that @data belongs to */
};

struct sector_map {
	struct sector_slot *slots;
	size_t nr_slots; /* a power of two, or 0 */
	size_t nr_used;
};

void sector_map_put(struct sector_map *map, uint64_t sector, const uint8_t *data, size_t segment);
const struct sector_slot *sector_map_get(const struct sector_map *map, uint64_t sector);
void sector_map_clear(struct sector_map *map);

/* The used slots ordered by sector, in an array of @map->nr_used that the caller frees. */
struct sector_slot *sector_map_sorted(const struct sector_map *map);

#endif
