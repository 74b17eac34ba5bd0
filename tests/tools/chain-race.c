// SPDX-License-Identifier: GPL-2.0-only
/*
 * chain-race [--writers N] [--readers N] [--writes N] [--max-bytes N] [--flush-percent N] [--seed N]
 *	      [--unmap-percent N] [--unmap-bytes N] DEVICE: writers and readers of an overlay, all at once and
 *	      anywhere.
 *
 * The base has a stamp of version 0 in each sector ("crash-replay stamp"), and every write is of
 * version 1, so writes may overlap. What a reader finds must be one or the other, for the sector that
 * it has read, and version 1 if some write of the sector had completed before the read began. While
 * a write is under way some words of a sector may be of one and some of the other: the disk below may
 * be a file in the page cache of another host, which is copied without regard to sectors.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <unistd.h>

#include "../crash/options.h"
#include "../crash/random.h"
#include "../crash/stamp.h"
#include "../crash/threads.h"

static struct {
	uint64_t writers;
	uint64_t readers;
	uint64_t writes;
	uint64_t max_bytes;
	uint64_t flush_percent;
	uint64_t unmap_percent;
	uint64_t unmap_bytes;
	uint64_t seed;
} opt = {
	.writers = 8,
	.readers = 4,
	.writes = 1000,
	.max_bytes = 16384,
	.flush_percent = 5,
	.unmap_bytes = 65536,
	.seed = 1,
};

static const struct option_slot options[] = {
	{ .name = "writers", .number = &opt.writers },
	{ .name = "readers", .number = &opt.readers },
	{ .name = "writes", .number = &opt.writes },
	{ .name = "max-bytes", .number = &opt.max_bytes },
	{ .name = "flush-percent", .number = &opt.flush_percent },
	{ .name = "unmap-percent", .number = &opt.unmap_percent },
	{ .name = "unmap-bytes", .number = &opt.unmap_bytes },
	{ .name = "seed", .number = &opt.seed },
	{ .name = NULL },
};

static const char *device;
static int fd;
static uint64_t nr_sectors;
static atomic_uchar *is_written; /* by sector: some write of it has completed */
static atomic_long writes_left;
static atomic_bool is_over;
static bool is_quiet; /* nobody writes any more */

struct range {
	uint64_t sector;
	uint64_t nr;
};

static struct range pick(uint64_t *random, uint64_t max_bytes)
{
	struct range r = { .nr = 1 + random_below(random, max_bytes / SECTOR_BYTES) };

	if (r.nr > nr_sectors)
		r.nr = nr_sectors;
	r.sector = random_below(random, nr_sectors - r.nr + 1);
	return r;
}

static uint8_t *new_buffer(uint64_t bytes)
{
	uint8_t *buf = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);

	if (!buf)
		err(1, "buffer");
	return buf;
}

static void put(struct range r, uint8_t *buf)
{
	ssize_t bytes = r.nr * SECTOR_BYTES;
	uint64_t i;

	for (i = 0; i < r.nr; i++)
		stamp_make(buf + i * SECTOR_BYTES, r.sector + i, 1);
	if (pwrite(fd, buf, bytes, r.sector * SECTOR_BYTES) != bytes)
		err(1, "%s: write of %" PRIu64 " sectors at %" PRIu64, device, r.nr, r.sector);
}

/* Whole clusters, one to four of them: a discard leaves alone what is none. */
static struct range pick_clusters(uint64_t *random)
{
	uint64_t cluster = opt.unmap_bytes / SECTOR_BYTES, nr = nr_sectors / cluster;
	struct range r = { .nr = 1 + random_below(random, nr < 4 ? nr : 4) };

	r.sector = random_below(random, nr - r.nr + 1) * cluster;
	r.nr *= cluster;
	return r;
}

static void unmap(struct range r, unsigned int how)
{
	uint64_t range[2] = { r.sector * SECTOR_BYTES, r.nr * SECTOR_BYTES };
	int ret;

	if (how == 2)
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range[0], range[1]);
	else
		ret = ioctl(fd, how ? BLKZEROOUT : BLKDISCARD, range);
	if (ret)
		err(1, "%s: unmap %u of %" PRIu64 " sectors at %" PRIu64, device, how, r.nr, r.sector);
}

static void *write_randomly(void *number)
{
	uint64_t random, i;
	uint8_t *buf = new_buffer(opt.max_bytes);

	random_seed(&random, opt.seed * 1000 + (uintptr_t)number);
	while (atomic_fetch_sub(&writes_left, 1) > 0) {
		struct range r = pick(&random, opt.max_bytes);

		if (opt.unmap_percent && random_below(&random, 100) < opt.unmap_percent) {
			r = pick_clusters(&random);
			unmap(r, random_below(&random, 3));
		} else {
			put(r, buf);
		}
		for (i = 0; i < r.nr; i++)
			atomic_store(&is_written[r.sector + i], 1);
		if (random_below(&random, 100) < opt.flush_percent && fdatasync(fd))
			err(1, "%s: flush", device);
	}
	free(buf);
	return NULL;
}

/* Each word is the base's or a write's, or zero where clusters are discarded; the base's only if it may be. */
static bool is_mixed(uint64_t sector, const uint8_t *data, bool must_be_new)
{
	uint8_t old[SECTOR_BYTES], new[SECTOR_BYTES];
	unsigned int i, word = sizeof(uint64_t);
	bool is_right;

	stamp_make(old, sector, 0);
	stamp_make(new, sector, 1);
	for (i = 0; i < SECTOR_BYTES; i += word) {
		is_right = !memcmp(data + i, new + i, word) ||
			   (!must_be_new && !memcmp(data + i, old + i, word)) ||
			   (opt.unmap_percent && !memcmp(data + i, &(uint64_t){ 0 }, word));
		if (!is_right)
			return false;
	}
	return true;
}

static void judge(uint64_t sector, const uint8_t *data, bool must_be_new)
{
	struct stamp who;

	if (opt.unmap_percent && sector_is_filled(data, 0))
		return;
	if (!is_quiet && is_mixed(sector, data, must_be_new))
		return;
	if (!stamp_read(data, &who))
		errx(1, "%s: sector %" PRIu64 " has neither the base's data nor a write's%s", device, sector,
		     sector_is_filled(data, 0) ? ", but zeros" : "");
	if (who.sector != sector || who.version > 1)
		errx(1, "%s: sector %" PRIu64 " shows sector %" PRIu64 ", version %" PRIu64, device, sector,
		     who.sector, who.version);
	if (must_be_new && !who.version)
		errx(1, "%s: sector %" PRIu64 " is the base's, after it was written to", device, sector);
}

static void read_and_judge(struct range r, uint8_t *buf, unsigned char *must_be_new)
{
	ssize_t bytes = r.nr * SECTOR_BYTES;
	uint64_t i;

	for (i = 0; i < r.nr; i++)
		must_be_new[i] = atomic_load(&is_written[r.sector + i]);
	if (pread(fd, buf, bytes, r.sector * SECTOR_BYTES) != bytes)
		err(1, "%s: read of %" PRIu64 " sectors at %" PRIu64, device, r.nr, r.sector);
	for (i = 0; i < r.nr; i++)
		judge(r.sector + i, buf + i * SECTOR_BYTES, must_be_new[i]);
}

static void *read_randomly(void *number)
{
	uint64_t max_bytes = opt.max_bytes * 4, random;
	uint8_t *buf = new_buffer(max_bytes);
	unsigned char *must_be_new = new_buffer(max_bytes / SECTOR_BYTES);

	random_seed(&random, opt.seed * 1000 + 500 + (uintptr_t)number);
	while (!atomic_load(&is_over))
		read_and_judge(pick(&random, max_bytes), buf, must_be_new);
	free(must_be_new);
	free(buf);
	return NULL;
}

static void read_all(void)
{
	uint64_t step = 128, sector;
	uint8_t *buf = new_buffer(step * SECTOR_BYTES);
	unsigned char must_be_new[128];

	for (sector = 0; sector < nr_sectors; sector += step) {
		if (step > nr_sectors - sector)
			step = nr_sectors - sector;
		read_and_judge((struct range){ sector, step }, buf, must_be_new);
	}
	free(buf);
}

static void open_device(void)
{
	off_t bytes;

	fd = open(device, O_RDWR | O_DIRECT);
	bytes = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (bytes < 0)
		err(1, "%s", device);
	nr_sectors = bytes / SECTOR_BYTES;
	is_written = calloc(nr_sectors, sizeof(*is_written));
	if (!is_written)
		err(1, "memory");
}

int main(int argc, char **argv)
{
	int i = options_parse(argc, argv, options);
	pthread_t *writers, *readers;

	if (i < 0 || argc - i != 1 || opt.max_bytes < SECTOR_BYTES || opt.unmap_bytes < SECTOR_BYTES) {
		fputs("usage: chain-race [--writers N] [--readers N] [--writes N] [--max-bytes N]\n"
		      "                  [--flush-percent N] [--seed N] [--unmap-percent N]\n"
		      "                  [--unmap-bytes N] DEVICE\n", stderr);
		return 2;
	}
	device = argv[i];
	open_device();
	writes_left = opt.writes;
	readers = threads_start(opt.readers, read_randomly);
	writers = threads_start(opt.writers, write_randomly);
	threads_join(writers, opt.writers);
	atomic_store(&is_over, true);
	threads_join(readers, opt.readers);
	is_quiet = true;
	read_all();
	return 0;
}
