// SPDX-License-Identifier: GPL-2.0-only
/* A hash map from sector number to a pointer: open addressing, at most half full. */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "sectors.h"

static struct sector_slot *find(const struct sector_map *map, uint64_t sector)
{
	size_t i = (sector * 0x9e3779b97f4a7c15ull >> 20) & (map->nr_slots - 1);

	while (map->slots[i].data && map->slots[i].sector != sector)
		i = (i + 1) & (map->nr_slots - 1);
	return &map->slots[i];
}

static void grow(struct sector_map *map)
{
	struct sector_map bigger = { .nr_slots = map->nr_slots ? map->nr_slots * 2 : 1024 };
	size_t i;

	bigger.slots = calloc(bigger.nr_slots, sizeof(*bigger.slots));
	if (!bigger.slots)
		err(1, "sector map");
	for (i = 0; i < map->nr_slots; i++)
		if (map->slots[i].data)
			*find(&bigger, map->slots[i].sector) = map->slots[i];
	bigger.nr_used = map->nr_used;
	free(map->slots);
	*map = bigger;
}

void sector_map_put(struct sector_map *map, uint64_t sector, const uint8_t *data, size_t segment)
{
	struct sector_slot *slot;

	if (map->nr_used * 2 >= map->nr_slots)
		grow(map);
	slot = find(map, sector);
	if (!slot->data)
		map->nr_used++;
	*slot = (struct sector_slot){ sector, data, segment };
}

const struct sector_slot *sector_map_get(const struct sector_map *map, uint64_t sector)
{
	const struct sector_slot *slot;

	if (!map->nr_used)
		return NULL;
	slot = find(map, sector);
	return slot->data ? slot : NULL;
}

void sector_map_clear(struct sector_map *map)
{
	memset(map->slots, 0, map->nr_slots * sizeof(*map->slots));
	map->nr_used = 0;
}

static int by_sector(const void *a, const void *b)
{
	const struct sector_slot *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

struct sector_slot *sector_map_sorted(const struct sector_map *map)
{
	struct sector_slot *sorted = malloc((map->nr_used + 1) * sizeof(*sorted));
	size_t i, n = 0;

	if (!sorted)
		err(1, "sector map");
	for (i = 0; i < map->nr_slots; i++)
		if (map->slots[i].data)
			sorted[n++] = map->slots[i];
	qsort(sorted, n, sizeof(*sorted), by_sector);
	return sorted;
}
