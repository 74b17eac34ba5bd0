// SPDX-License-Identifier: GPL-2.0-only
/* The writer's record of what it wrote and of what was acknowledged. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"

void journal_save(const struct journal *j, const char *path)
{
	FILE *f = fopen(path, "w");
	size_t i;

	if (!f)
		err(1, "%s", path);
	fprintf(f, "%" PRIu64 " %zu %zu\n", j->nr_sectors, j->nr_writes, j->nr_flushes);
	for (i = 1; i < j->nr_writes; i++)
		fprintf(f, "%" PRIu64 " %" PRIu32 " %d %" PRIu64 " %" PRIu64 "\n", j->writes[i].sector,
			j->writes[i].nr_sectors, j->writes[i].fua | j->writes[i].zeroes << 1, j->writes[i].submitted, j->writes[i].completed);
	for (i = 0; i < j->nr_flushes; i++)
		fprintf(f, "%" PRIu64 " %" PRIu64 "\n", j->flushes[i].submitted, j->flushes[i].completed);
	if (ferror(f) || fclose(f))
		errx(1, "%s: cannot write", path);
}

static void read_events(struct journal *j, FILE *f, const char *path)
{
	size_t i;
	int flags;

	for (i = 1; i < j->nr_writes; i++) {
		struct jwrite *w = &j->writes[i];

		if (fscanf(f, "%" SCNu64 " %" SCNu32 " %d %" SCNu64 " %" SCNu64, &w->sector, &w->nr_sectors, &flags,
			   &w->submitted, &w->completed) != 5 ||
		    w->sector + w->nr_sectors > j->nr_sectors)
			errx(1, "%s: bad write %zu", path, i);
		w->fua = flags & 1;
		w->zeroes = flags >> 1;
	}
	for (i = 0; i < j->nr_flushes; i++)
		if (fscanf(f, "%" SCNu64 " %" SCNu64, &j->flushes[i].submitted, &j->flushes[i].completed) != 2)
			errx(1, "%s: bad flush %zu", path, i);
}

void journal_load(struct journal *j, const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f)
		err(1, "%s", path);
	if (fscanf(f, "%" SCNu64 " %zu %zu", &j->nr_sectors, &j->nr_writes, &j->nr_flushes) != 3)
		errx(1, "%s: not a journal", path);
	j->writes = calloc(j->nr_writes + 1, sizeof(*j->writes));
	j->flushes = calloc(j->nr_flushes + 1, sizeof(*j->flushes));
	if (!j->writes || !j->flushes)
		err(1, "%s", path);
	read_events(j, f, path);
	fclose(f);
}

/* When was the latest flush submitted that has been acknowledged by event @ack? */
static uint64_t last_flush_submitted(const struct journal *j, uint64_t ack)
{
	uint64_t last = 0;
	size_t i;

	for (i = 0; i < j->nr_flushes; i++)
		if (j->flushes[i].completed <= ack && j->flushes[i].submitted > last)
			last = j->flushes[i].submitted;
	return last;
}

void journal_floor(const struct journal *j, uint64_t ack, uint32_t *floor)
{
	uint64_t flushed = last_flush_submitted(j, ack);
	size_t version;
	uint64_t s;

	memset(floor, 0, j->nr_sectors * sizeof(*floor));
	for (version = 1; version < j->nr_writes; version++) {
		const struct jwrite *w = &j->writes[version];

		if (w->completed > flushed && !(w->fua && w->completed <= ack))
			continue;
		for (s = w->sector; s < w->sector + w->nr_sectors; s++)
			floor[s] = version;
	}
}

void journal_completed(const struct journal *j, uint64_t event, uint32_t *floor)
{
	size_t version;
	uint64_t s;

	memset(floor, 0, j->nr_sectors * sizeof(*floor));
	for (version = 1; version < j->nr_writes; version++) {
		const struct jwrite *w = &j->writes[version];

		for (s = w->sector; w->completed < event && s < w->sector + w->nr_sectors; s++)
			floor[s] = version;
	}
}

void journal_zeroes(const struct journal *j, uint32_t *last)
{
	size_t version;
	uint64_t s;

	memset(last, 0, j->nr_sectors * sizeof(*last));
	for (version = 1; version < j->nr_writes; version++) {
		const struct jwrite *w = &j->writes[version];

		for (s = w->sector; w->zeroes && s < w->sector + w->nr_sectors; s++)
			last[s] = version;
	}
}

bool journal_covers(const struct journal *j, uint64_t version, uint64_t sector)
{
	const struct jwrite *w;

	if (!version || version >= j->nr_writes)
		return false;
	w = &j->writes[version];
	return !w->zeroes && sector >= w->sector && sector - w->sector < w->nr_sectors;
}
