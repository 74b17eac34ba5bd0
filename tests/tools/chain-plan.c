// SPDX-License-Identifier: GPL-2.0-only
/*
 * chain-plan [--ops N] [--images N] [--mib N] [--compressed 0|1] [--unmaps 0|1] [--extended 0|1] SEED: a random chain,
 * how its images are filled, and what is then done to the device.
 *
 * It is printed as lines of words, bottom to top; all numbers are bytes:
 *
 *	image NUMBER raw|qcow2 PLACE SIZE OPTIONS		PLACE: ext4, xfs, tmpfs, loop, ram
 *	fill NUMBER compressed|write OFFSET BYTES PATTERN	OPTIONS: as for qemu-img's -o
 *	fill NUMBER zero|unmap|discard OFFSET BYTES
 *	op write|fua|read OFFSET BYTES [PATTERN]
 *	op discard|zero|unmap OFFSET BYTES			with --unmaps 1; unmap: zeroes that may take space away
 *	op flush
 *
 * A plan without some of its lines is a plan, too, as long as it has the last image.
 */
#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../crash/options.h"
#include "../crash/random.h"
#include "chain-pattern.h"

#define SECTOR		512
#define MIB		(1ull << 20)
#define IMAGES_AT_MOST	8
#define HOT_SPOTS	6
#define TMPFS_BLOCK	4096 /* of its direct I/O: smaller clusters are refused there */

struct image {
	bool is_raw;
	bool is_preallocated;
	bool is_extended;
	uint64_t bytes;
	uint64_t cluster;
};

static struct {
	uint64_t ops;
	uint64_t images;
	uint64_t mib;
	uint64_t compressed;
	uint64_t unmaps;
	uint64_t extended; /* L2 entries, of most images; of the top for sure */
} opt = {
	.ops = 120,
	.images = IMAGES_AT_MOST,
	.mib = 24,
	.compressed = 1,
};

static const struct option_slot options[] = {
	{ .name = "ops", .number = &opt.ops },
	{ .name = "images", .number = &opt.images },
	{ .name = "mib", .number = &opt.mib },
	{ .name = "compressed", .number = &opt.compressed },
	{ .name = "unmaps", .number = &opt.unmaps },
	{ .name = "extended", .number = &opt.extended },
	{ .name = NULL },
};

static uint64_t random_state;
static struct image images[IMAGES_AT_MOST];
static unsigned int nr_images;
static unsigned int nr_ram;
static uint64_t hot[HOT_SPOTS]; /* where all layers like to write */

static uint64_t below(uint64_t limit)
{
	return random_below(&random_state, limit);
}

static bool percent(unsigned int chance)
{
	return below(100) < chance;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Near a spot that all layers know, near the end of some image, or anywhere; a sector below @limit. */
static uint64_t pick_offset(uint64_t limit)
{
	unsigned int dice = below(10);
	uint64_t offset = below(limit);
	uint64_t reach = 128 * SECTOR;

	if (dice < 5)
		offset = hot[below(HOT_SPOTS)] + below(2 * reach);
	else if (dice < 7)
		offset = images[below(nr_images)].bytes + below(2 * reach);
	if (dice < 7)
		offset = offset < reach ? 0 : offset - reach;
	/* What lies behind a shorter image is often clipped to its end, and as often moved. */
	if (offset >= limit && percent(80))
		offset = below(limit);
	return min(offset, limit - 1) / SECTOR * SECTOR;
}

static uint64_t pick_pattern(void)
{
	return below(CHAIN_PATTERNS);
}

/* Shorter than the disk, as long, or longer. */
static uint64_t pick_size(uint64_t disk)
{
	unsigned int dice = below(10);

	if (dice < 4)
		return disk;
	if (dice < 7)
		return (1 + below(disk / SECTOR)) * SECTOR;
	return disk + (1 + below(disk / SECTOR / 2)) * SECTOR;
}

/* What data can be of: a cluster or a subcluster. */
static uint64_t unit_of(const struct image *image)
{
	return image->is_extended ? image->cluster / 32 : image->cluster;
}

static const char *pick_place(const struct image *image)
{
	static const char *const places[] = { "ext4", "xfs", "tmpfs", "loop", "ram" };
	unsigned int n = below(image->is_raw || nr_ram == 2 ? 4 : 5);

	if (n == 2 && !image->is_raw && unit_of(image) < TMPFS_BLOCK)
		n = 0;
	nr_ram += n == 4;
	return places[n];
}

static bool is_device(const char *place)
{
	return !strcmp(place, "loop") || !strcmp(place, "ram");
}

static void plan_raw(unsigned int number)
{
	struct image *image = &images[number];

	/* The last sector is there in part. */
	if (percent(70) && image->bytes > SECTOR)
		image->bytes -= 1 + below(SECTOR - 1);
	printf("image %u raw %s %" PRIu64 "\n", number, pick_place(image), image->bytes);
}

static void plan_qcow2(unsigned int number)
{
	static const char *const preallocations[] = { "off", "off", "metadata", "falloc" };
	struct image *image = &images[number];
	unsigned int how = number ? 0 : below(4); /* QEMU preallocates nothing over a backing file, ... */
	const char *place;

	image->is_extended = opt.extended && (number + 1 == nr_images || percent(70));
	image->cluster = image->is_extended ? 32 * SECTOR << below(8) : SECTOR << below(13);
	if (image->is_extended && number)
		how = below(2) * 2; /* ... but for this. */
	place = pick_place(image);
	/* Of a device it preallocates metadata at most. */
	if (how == 3 && is_device(place))
		how = 2;
	printf("image %u qcow2 %s %" PRIu64 " cluster_size=%" PRIu64, number, place,
	       image->bytes, image->cluster);
	if (image->is_extended)
		printf(",extended_l2=on,compression_type=%s", percent(50) ? "zstd" : "zlib");
	else if (percent(25))
		printf(",compat=0.10");
	else
		printf(",compat=1.1,refcount_bits=%u,lazy_refcounts=%s,compression_type=%s",
		       1u << below(7), percent(30) ? "on" : "off", percent(50) ? "zstd" : "zlib");
	printf(",preallocation=%s\n", preallocations[how]);
	image->is_preallocated = how > 1;
}

static void plan_images(void)
{
	uint64_t disk = (8 * MIB + below((opt.mib - 8) * MIB + 1)) / SECTOR * SECTOR;
	unsigned int i;

	if (percent(50))
		disk = disk / MIB * MIB;
	nr_images = opt.images < 2 ? 1 : 2 + below(opt.images - 1);
	for (i = 0; i < HOT_SPOTS; i++)
		hot[i] = below(disk / SECTOR) * SECTOR;
	for (i = 0; i < nr_images; i++) {
		images[i].is_raw = !i && nr_images > 1 && percent(35);
		images[i].bytes = i + 1 < nr_images ? pick_size(disk) : disk;
		if (images[i].is_raw)
			plan_raw(i);
		else
			plan_qcow2(i);
	}
}

/* Whole clusters that do not overlap: QEMU compresses none that it has allocated before. */
static void fill_compressed(unsigned int number)
{
	const struct image *image = &images[number];
	uint64_t clusters = image->bytes / image->cluster, next = 0, nr;
	unsigned int left = 1 + below(5);

	for (; left && next < clusters; left--, next += nr) {
		next += below((clusters - next) / left + 1);
		nr = 1 + below(min(16, 1 + MIB / image->cluster));
		if (next + nr > clusters)
			break;
		printf("fill %u compressed %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", number,
		       next * image->cluster, nr * image->cluster, pick_pattern() | 1);
	}
}

static uint64_t fill_length(const struct image *image)
{
	uint64_t cluster = image->is_raw ? 65536 : image->cluster;

	switch (below(3)) {
	case 0:
		return (1 + below(16)) * SECTOR;
	case 1:
		return (1 + below(3)) * cluster;
	default:
		return (1 + below(image->bytes / SECTOR / 6 + 1)) * SECTOR;
	}
}

static void fill_plainly(unsigned int number)
{
	const struct image *image = &images[number];
	unsigned int left = 4 + below(9);

	while (left--) {
		uint64_t offset = pick_offset(image->bytes);
		uint64_t length = fill_length(image);
		unsigned int dice = image->is_raw ? 0 : below(10);
		const char *how = dice < 6 ? "write" : dice < 8 ? "zero" : dice < 9 ? "unmap" : "discard";

		if (!image->is_raw && percent(40))
			offset -= offset % image->cluster;
		length = min(length, image->bytes - offset);
		printf("fill %u %s %" PRIu64 " %" PRIu64, number, how, offset, length);
		if (dice < 6)
			printf(" %" PRIu64, pick_pattern());
		putchar('\n');
	}
}

static void plan_fills(void)
{
	unsigned int i;

	for (i = 0; i < nr_images; i++) {
		if (!images[i].is_raw && !images[i].is_preallocated && opt.compressed && percent(50))
			fill_compressed(i);
		fill_plainly(i);
	}
}

static uint64_t op_length(const struct image *top)
{
	unsigned int dice = below(100);

	if (dice < 60)
		return (1 + below(32)) * SECTOR;
	if (dice < 90)
		return (1 + below(min(3 * top->cluster, 2 * MIB) / SECTOR)) * SECTOR;
	return (1 + below(2 * MIB / SECTOR)) * SECTOR;
}

/* As often whole clusters as parts of some; now and then many. */
static void plan_unmap(void)
{
	static const char *const kinds[] = { "discard", "discard", "zero", "unmap" };
	const struct image *top = &images[nr_images - 1];
	uint64_t offset = pick_offset(top->bytes), length = op_length(top);
	const char *kind;

	if (percent(50)) {
		offset -= offset % top->cluster;
		length = (1 + below(percent(20) ? 400 : 4)) * top->cluster;
	}
	if (percent(10))
		length = top->bytes;
	kind = kinds[below(4)];
	/* QEMU discards no subclusters. */
	if (top->is_extended && *kind == 'd') {
		offset -= offset % top->cluster;
		length = (length + top->cluster - 1) / top->cluster * top->cluster;
	}
	printf("op %s %" PRIu64 " %" PRIu64 "\n", kind, offset, min(length, top->bytes - offset));
}

static void plan_op(void)
{
	const struct image *top = &images[nr_images - 1];
	uint64_t offset = pick_offset(top->bytes);
	uint64_t length = min(op_length(top), top->bytes - offset);
	unsigned int dice = below(100);

	/* Whole clusters: nothing is to be copied for them. */
	if (percent(15)) {
		offset -= offset % top->cluster;
		length = min((1 + below(3)) * top->cluster, top->bytes - offset);
	}
	if (dice < 8)
		printf("op flush\n");
	else if (dice < 30)
		printf("op read %" PRIu64 " %" PRIu64 "\n", offset, length);
	else
		printf("op %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", dice < 40 ? "fua" : "write",
		       offset, length, pick_pattern());
}

int main(int argc, char **argv)
{
	int i = options_parse(argc, argv, options);

	if (i < 0 || argc - i != 1 || !opt.images || opt.images > IMAGES_AT_MOST || opt.mib < 8)
		errx(2, "usage: chain-plan [--ops N] [--images N] [--mib N] [--compressed 0|1] [--unmaps 0|1] [--extended 0|1] SEED");
	random_seed(&random_state, strtoull(argv[i], NULL, 0));
	/* Of seeds that are near each other the first numbers are, too. */
	for (i = 0; i < 16; i++)
		below(2);
	plan_images();
	plan_fills();
	while (opt.ops--) {
		if (opt.unmaps && percent(30))
			plan_unmap();
		else
			plan_op();
	}
	return 0;
}
