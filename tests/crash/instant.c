// SPDX-License-Identifier: GPL-2.0-only
/* Is a disk what another one held at one instant? */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "instant.h"
#include "stamp.h"

#define SAID_AT_MOST 4

/* The version of each sector; 0: never written. Returns how many hold something else. */
static unsigned int read_versions(const struct journal *j, const char *disk, uint32_t *shown)
{
	uint8_t *data = malloc(j->nr_sectors * SECTOR_BYTES);
	int fd = open(disk, O_RDONLY);
	unsigned int wrong = 0;
	struct stamp who;
	uint64_t s;

	if (!data || fd < 0 || pread(fd, data, j->nr_sectors * SECTOR_BYTES, 0) != (ssize_t)(j->nr_sectors * SECTOR_BYTES))
		err(1, "%s", disk);
	for (s = 0; s < j->nr_sectors; s++) {
		shown[s] = 0;
		if (sector_is_filled(data + s * SECTOR_BYTES, 0))
			continue;
		if (stamp_read(data + s * SECTOR_BYTES, &who) && who.sector == s && journal_covers(j, who.version, s))
			shown[s] = who.version;
		else if (wrong++ < SAID_AT_MOST)
			fprintf(stderr, "  sector %" PRIu64 " holds what was never written there\n", s);
	}
	close(fd);
	free(data);
	return wrong;
}

unsigned int instant_verify(const struct journal *j, const char *disk)
{
	uint32_t *shown = calloc(j->nr_sectors, sizeof(*shown));
	uint32_t *floor = calloc(j->nr_sectors, sizeof(*floor));
	uint64_t s, newest = 0;
	unsigned int wrong;
	size_t version, submitted = 0;

	if (!shown || !floor)
		err(1, "memory");
	wrong = read_versions(j, disk, shown);
	for (s = 0; s < j->nr_sectors; s++)
		if (shown[s] && j->writes[shown[s]].submitted > newest)
			newest = j->writes[shown[s]].submitted;
	for (version = 1; version < j->nr_writes; version++)
		submitted += j->writes[version].submitted <= newest;
	journal_completed(j, newest, floor);
	for (s = 0; s < j->nr_sectors; s++)
		if (shown[s] < floor[s] && wrong++ < SAID_AT_MOST)
			fprintf(stderr, "  sector %" PRIu64 " shows version %" PRIu32 ", and version %" PRIu32
				" had completed\n", s, shown[s], floor[s]);
	printf("%zu of %zu writes\n", submitted, j->nr_writes - 1);
	free(shown);
	free(floor);
	return wrong;
}
