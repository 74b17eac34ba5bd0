// SPDX-License-Identifier: GPL-2.0-only
/* Does an image, as QEMU reads it, hold what the journal promises? */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stamp.h"
#include "verify.h"

#define SAID_AT_MOST 4

struct extent {
	uint64_t guest_off;
	uint64_t bytes;
	uint64_t host_off;
	char file[512]; /* an image of the chain */
};

/* The file that was read last. */
struct source {
	int fd;
	char path[512];
};

static void complain(unsigned int *wrong, uint64_t sector, uint32_t floor, const char *what, const struct stamp *who)
{
	if ((*wrong)++ >= SAID_AT_MOST)
		return;
	fprintf(stderr, "  sector %" PRIu64 ", acknowledged version %" PRIu32 ": %s", sector, floor, what);
	if (who)
		fprintf(stderr, " (sector %" PRIu64 ", version %" PRIu64 ")", who->sector, who->version);
	fputc('\n', stderr);
}

/* Some version that may be there is zeroes: those of a sector are in their order. */
static bool may_be_zero(const struct promise *p, uint64_t sector)
{
	uint32_t last = p->zeroes[sector];

	return last && last >= p->floor[sector];
}

static void verify_sector(const struct promise *p, uint64_t sector, const uint8_t *data, unsigned int *wrong)
{
	uint32_t floor = p->floor[sector];
	struct stamp who;

	if (may_be_zero(p, sector) && sector_is_filled(data, 0))
		return;
	if (sector >= p->stamped && sector_is_filled(data, p->old)) {
		if (floor)
			complain(wrong, sector, floor, "reads as if never written", NULL);
	} else if (!stamp_read(data, &who)) {
		complain(wrong, sector, floor, "holds what was never written through the device", NULL);
	} else if (who.version ? !journal_covers(p->journal, who.version, who.sector) : who.sector >= p->stamped) {
		complain(wrong, sector, floor, "holds a write that is not in the journal", &who);
	} else if (who.sector != sector) {
		complain(wrong, sector, floor, "shows another sector's data", &who);
	} else if (who.version < floor) {
		complain(wrong, sector, floor, "holds an older version", &who);
	}
}

/* A hole of the image: zeros by definition. */
static void verify_hole(const struct promise *p, uint64_t from, uint64_t to, unsigned int *wrong)
{
	for (; from < to; from++)
		if (!may_be_zero(p, from) && (p->floor[from] || p->old || from < p->stamped))
			complain(wrong, from, p->floor[from], "reads as a hole", NULL);
}

/* Clip sector range [*from, *to) of the image to the journal's range; afterwards in the journal's sectors. */
static void clip(const struct promise *p, uint64_t *from, uint64_t *to)
{
	uint64_t end = p->at_sector + p->journal->nr_sectors;

	*to = (*to < end ? *to : end) - p->at_sector;
	*from = *from > p->at_sector ? *from - p->at_sector : 0;
}

static void open_source(struct source *s, const char *path)
{
	if (s->fd >= 0 && !strcmp(s->path, path))
		return;
	if (s->fd >= 0)
		close(s->fd);
	snprintf(s->path, sizeof(s->path), "%s", path);
	s->fd = open(path, O_RDONLY);
	if (s->fd < 0)
		err(1, "%s", path);
}

static void verify_extent(const struct promise *p, int fd, const struct extent *e, uint64_t from, uint64_t to,
			  unsigned int *wrong)
{
	uint64_t off = e->host_off + (p->at_sector + from) * SECTOR_BYTES - e->guest_off;
	size_t bytes = (to - from) * SECTOR_BYTES;
	uint8_t *buf = calloc(1, bytes);

	/* What lies beyond the end of the file reads as zeros. */
	if (!buf || pread(fd, buf, bytes, off) < 0)
		err(1, "reading the image");
	for (; from < to; from++, off += SECTOR_BYTES)
		verify_sector(p, from, buf + bytes - (to - from) * SECTOR_BYTES, wrong);
	free(buf);
}

/* Read the next data extent of the map; its first line is a heading. */
static bool next_extent(const char **map, struct extent *e)
{
	const char *eol;

	while ((eol = strchr(*map, '\n'))) {
		const char *line = *map;

		*map = eol + 1;
		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %511[^\n]", &e->guest_off, &e->bytes, &e->host_off,
			   e->file) == 4)
			return true;
	}
	return false;
}

unsigned int verify(const struct promise *p, const char *map)
{
	struct source source = { .fd = -1 };
	unsigned int wrong = 0;
	uint64_t seen = 0; /* journal sectors checked so far */
	struct extent e;

	while (next_extent(&map, &e)) {
		uint64_t from = e.guest_off / SECTOR_BYTES;
		uint64_t to = (e.guest_off + e.bytes) / SECTOR_BYTES;

		clip(p, &from, &to);
		if (to <= from || to > p->journal->nr_sectors)
			continue;
		verify_hole(p, seen, from, &wrong);
		open_source(&source, e.file);
		verify_extent(p, source.fd, &e, from, to, &wrong);
		seen = to;
	}
	verify_hole(p, seen, p->journal->nr_sectors, &wrong);
	if (source.fd >= 0)
		close(source.fd);
	return wrong;
}
