// SPDX-License-Identifier: GPL-2.0-only
/* A disk as a power cut may have left it. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stamp.h"
#include "state.h"

#define RUN_SECTORS 2048 /* sectors in one I/O */

static const uint8_t zeros[SECTOR_BYTES];
static uint8_t *bounce; /* aligned for O_DIRECT, RUN_SECTORS long */

void state_open(struct state *st, const char *path, const struct log *log, const uint32_t *zeroes)
{
	struct stat info;

	*st = (struct state){ .path = path, .log = log, .zeroes = zeroes };
	st->fd = open(path, O_RDWR);
	if (st->fd < 0 || fstat(st->fd, &info))
		err(1, "%s", path);
	/* Beside the page cache: a file system is mounted on the device between two states. */
	if (S_ISBLK(info.st_mode) && fcntl(st->fd, F_SETFL, O_DIRECT))
		err(1, "%s: O_DIRECT", path);
	if (!bounce)
		bounce = aligned_alloc(4096, RUN_SECTORS * SECTOR_BYTES);
	if (!bounce)
		err(1, "buffer");
}

/* Must FUA write @fua keep its place although a plain write with @data follows it in the log? */
static bool keeps(const struct state *st, const struct sector_slot *fua, const uint8_t *data, size_t segment)
{
	struct stamp older, newer;

	if (fua->segment + 1 < segment)
		return false;
	if (stamp_read(fua->data, &newer)) {
		if (stamp_read(data, &older) && older.sector == newer.sector)
			return newer.version > older.version;
		if (st->zeroes && sector_is_filled(data, 0))
			return newer.version > st->zeroes[newer.sector];
	}
	if (fua->segment == segment && memcmp(fua->data, data, SECTOR_BYTES))
		errx(1, "%s: the log does not tell which of two writes to sector %" PRIu64 " is the later one", st->path,
		     fua->sector);
	return false;
}

void state_add(struct state *st, const struct entry *e, uint64_t first, uint64_t nr)
{
	uint64_t i;

	for (i = first; i < first + nr; i++) {
		const uint8_t *data = e->data ? e->data + i * SECTOR_BYTES : zeros;
		const struct sector_slot *fua = sector_map_get(&st->fua, e->sector + i);

		if (e->kind == ENTRY_FUA)
			sector_map_put(&st->fua, e->sector + i, data, e->segment);
		else if (fua && keeps(st, fua, data, e->segment))
			continue;
		sector_map_put(&st->overlay, e->sector + i, data, e->segment);
	}
}

static size_t run_length(const struct sector_slot *slot, size_t nr)
{
	size_t n = 1;

	while (n < nr && n < RUN_SECTORS && slot[n].sector == slot[0].sector + n)
		n++;
	return n;
}

static void write_run(const struct state *st, uint64_t sector, size_t nr)
{
	ssize_t bytes = nr * SECTOR_BYTES;

	if (pwrite(st->fd, bounce, bytes, sector * SECTOR_BYTES) != bytes)
		err(1, "%s: write at sector %" PRIu64, st->path, sector);
}

static void read_run(const struct state *st, uint64_t sector, size_t nr)
{
	ssize_t bytes = nr * SECTOR_BYTES;

	if (pread(st->fd, bounce, bytes, sector * SECTOR_BYTES) != bytes)
		err(1, "%s: read at sector %" PRIu64, st->path, sector);
}

static void write_slots(const struct state *st, const struct sector_slot *slots, size_t nr)
{
	size_t i, k, n;

	for (i = 0; i < nr; i += n) {
		n = run_length(slots + i, nr - i);
		for (k = 0; k < n; k++)
			memcpy(bounce + k * SECTOR_BYTES, slots[i + k].data, SECTOR_BYTES);
		write_run(st, slots[i].sector, n);
	}
}

static void save_old(struct state *st, const struct sector_slot *slots, size_t nr)
{
	size_t i, n;

	st->saved = malloc((nr + 1) * SECTOR_BYTES);
	if (!st->saved)
		err(1, "saved sectors");
	for (i = 0; i < nr; i += n) {
		n = run_length(slots + i, nr - i);
		read_run(st, slots[i].sector, n);
		memcpy(st->saved + i * SECTOR_BYTES, bounce, n * SECTOR_BYTES);
	}
}

void state_advance(struct state *st, size_t end)
{
	struct sector_slot *slots;

	for (; st->base < end; st->base++)
		state_add(st, &st->log->entries[st->base], 0, st->log->entries[st->base].nr_sectors);
	slots = sector_map_sorted(&st->overlay);
	write_slots(st, slots, st->overlay.nr_used);
	free(slots);
	sector_map_clear(&st->overlay);
}

void state_apply(struct state *st)
{
	st->on_top = sector_map_sorted(&st->overlay);
	save_old(st, st->on_top, st->overlay.nr_used);
	write_slots(st, st->on_top, st->overlay.nr_used);
}

void state_undo(struct state *st)
{
	size_t i;

	for (i = 0; i < st->overlay.nr_used; i++)
		st->on_top[i].data = st->saved + i * SECTOR_BYTES;
	write_slots(st, st->on_top, st->overlay.nr_used);
	free(st->on_top);
	free(st->saved);
	st->on_top = NULL;
	sector_map_clear(&st->overlay);
}
