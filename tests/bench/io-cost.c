// SPDX-License-Identifier: GPL-2.0-only
/*
 * io-cost: nanoseconds of CPU time that one I/O takes, with everything that the kernel does for it in any thread.
 *
 * Works on a machine with one CPU and nothing else to do: the time of a round is the elapsed time without the
 * CPU's idle time. Where time is counted in instructions, that is instructions per I/O.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include "detach.h"
#include "idle.h"
#include "ring.h"

void profile_mark(void);

static const char help[] =
"usage: io-cost [OPTION]... FILE\n"
"\n"
"Reads or writes blocks at random, none twice in a round, and prints for each round\n"
"but the first the nanoseconds of CPU time per I/O.\n"
"\n"
"  --write           write (read)\n"
"  --unmap=HOW       discard or zero, by an ioctl, one at a time\n"
"  --block=BYTES     in one I/O (4096)\n"
"  --in-order        one block after the other, not at random\n"
"  --depth=N         I/Os in flight (1)\n"
"  --count=N         I/Os in a round (4096)\n"
"  --rounds=N        how many, the first one not counted (4)\n"
"  --spacing=BYTES   one block in each so many bytes (a block)\n"
"  --last=BYTES      use only the end of the file\n"
"  --flush-every=N   wait for N writes, then flush (never)\n"
"  --to-the-end      one round, which is counted; it ends when all is flushed ...\n"
"  --detach=HOW      ... and detached: dm:NAME or nbd:PID\n"
"  --mark            call profile_mark() before and after the last round\n";

static struct {
	const char *file;
	bool is_write;
	unsigned long unmap; /* the ioctl, or 0 */
	bool is_in_order;
	unsigned int block;
	unsigned int depth;
	unsigned int count;
	unsigned int rounds;
	uint64_t spacing;
	uint64_t last;
	unsigned int flush_every;
	bool is_to_the_end;
	const char *detach;
	bool has_marks;
} options = { .block = 4096, .depth = 1, .count = 4096, .rounds = 4 };

static uint64_t random_below(uint64_t limit)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

static uint64_t size_of(int fd)
{
	struct stat status;
	uint64_t bytes;

	if (fstat(fd, &status))
		err(1, "%s", options.file);
	if (!S_ISBLK(status.st_mode))
		return status.st_size;
	if (ioctl(fd, BLKGETSIZE64, &bytes))
		err(1, "%s: size", options.file);
	return bytes;
}

/* The places in random order, and anywhere in each. */
static void shuffle(uint64_t *offsets, uint64_t nr, uint64_t first)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		uint64_t other = random_below(i + 1);

		offsets[i] = offsets[other];
		offsets[other] = first + i * options.spacing +
				 random_below(options.spacing / options.block) * options.block;
	}
}

/* One block in each place; their number in *nr. */
static uint64_t *choose_offsets(int fd, uint64_t *nr)
{
	uint64_t i, *offsets, size = size_of(fd), first = 0;

	if (options.last && options.last < size)
		first = size - options.last;
	*nr = (size - first) / options.spacing;
	if (*nr < options.count)
		errx(2, "%s: has %llu places only", options.file, (unsigned long long)*nr);
	offsets = calloc(*nr, sizeof(*offsets));
	if (!offsets)
		errx(1, "out of memory");
	for (i = 0; i < *nr; i++)
		offsets[i] = first + i * options.spacing;
	if (!options.is_in_order)
		shuffle(offsets, *nr, first);
	return offsets;
}

static void flush(int fd)
{
	if (fdatasync(fd))
		err(1, "%s: flush", options.file);
}

static void unmap(int fd, uint64_t offset)
{
	uint64_t range[2] = { offset, options.block };

	if (ioctl(fd, options.unmap, range))
		err(1, "%s: unmap of %u bytes at %llu", options.file, options.block,
		    (unsigned long long)offset);
}

static void drain(struct ring *ring)
{
	while (ring_in_flight(ring))
		ring_reap(ring);
}

static void do_round(int fd, struct ring *ring, const uint64_t *offsets)
{
	unsigned int i;

	for (i = 0; i < options.count; i++) {
		if (options.flush_every && i && i % options.flush_every == 0) {
			drain(ring);
			flush(fd);
		}
		if (options.unmap) {
			unmap(fd, offsets[i]);
			continue;
		}
		if (ring_in_flight(ring) == options.depth)
			ring_reap(ring);
		ring_submit(ring, options.is_write, offsets[i]);
	}
	drain(ring);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* A profiler looks for the first instruction of this. */
void __attribute__((noinline)) profile_mark(void)
{
	__asm__ volatile("");
}

static void mark(bool is_last)
{
	if (options.has_marks && is_last)
		profile_mark();
}

static void measure_round(int fd, struct ring *ring, const uint64_t *offsets, unsigned int round)
{
	bool is_last = round == options.rounds - 1;
	uint64_t ns, idle = idle_ns();

	mark(is_last);
	ns = now_ns();
	do_round(fd, ring, offsets);
	if (options.is_to_the_end) {
		flush(fd);
		ring_free(ring);
		close(fd);
		if (options.detach)
			detach(options.detach);
	}
	ns = now_ns() - ns;
	mark(is_last);
	ns -= idle_ns() - idle;
	if (round || options.is_to_the_end)
		printf("%.1f\n", (double)ns / options.count);
}

/* Each round goes on in the places where the one before has ended. */
static void measure(void)
{
	int fd = open(options.file, O_DIRECT | (options.is_write || options.unmap ? O_RDWR : O_RDONLY));
	struct ring *ring;
	uint64_t *offsets, nr, next = 0;
	unsigned int round;

	if (fd < 0)
		err(1, "%s", options.file);
	offsets = choose_offsets(fd, &nr);
	ring = ring_new(fd, options.depth, options.unmap ? 4096 : options.block);
	for (round = 0; round < options.rounds; round++) {
		measure_round(fd, ring, offsets + next, round);
		next = next + 2 * options.count <= nr ? next + options.count : 0;
	}
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (end == text || *end || !value || value > UINT32_MAX)
		errx(2, "%s: not a number that makes sense", text);
	return value;
}

static unsigned long unmap_by(const char *name)
{
	if (!strcmp(name, "discard"))
		return BLKDISCARD;
	if (!strcmp(name, "zero"))
		return BLKZEROOUT;
	errx(2, "%s: neither discard nor zero", name);
}

enum { WRITE = 256, UNMAP, BLOCK, IN_ORDER, DEPTH, COUNT, ROUNDS, SPACING, LAST, FLUSH_EVERY, TO_THE_END, DETACH, MARK, HELP };

static const struct option long_options[] = {
	{ "write", no_argument, NULL, WRITE },
	{ "unmap", required_argument, NULL, UNMAP },
	{ "block", required_argument, NULL, BLOCK },
	{ "in-order", no_argument, NULL, IN_ORDER },
	{ "depth", required_argument, NULL, DEPTH },
	{ "count", required_argument, NULL, COUNT },
	{ "rounds", required_argument, NULL, ROUNDS },
	{ "spacing", required_argument, NULL, SPACING },
	{ "last", required_argument, NULL, LAST },
	{ "flush-every", required_argument, NULL, FLUSH_EVERY },
	{ "to-the-end", no_argument, NULL, TO_THE_END },
	{ "detach", required_argument, NULL, DETACH },
	{ "mark", no_argument, NULL, MARK },
	{ "help", no_argument, NULL, HELP },
	{ 0 }
};

static void set_option(int option)
{
	switch (option) {
	case WRITE:
		options.is_write = true;
		return;
	case UNMAP:
		options.unmap = unmap_by(optarg);
		return;
	case BLOCK:
		options.block = number(optarg);
		return;
	case IN_ORDER:
		options.is_in_order = true;
		return;
	case DEPTH:
		options.depth = number(optarg);
		return;
	case COUNT:
		options.count = number(optarg);
		return;
	case ROUNDS:
		options.rounds = number(optarg);
		return;
	case SPACING:
		options.spacing = number(optarg);
		return;
	case LAST:
		options.last = number(optarg);
		return;
	case FLUSH_EVERY:
		options.flush_every = number(optarg);
		return;
	case TO_THE_END:
		options.is_to_the_end = true;
		options.rounds = 1;
		return;
	case DETACH:
		options.detach = optarg;
		return;
	case MARK:
		options.has_marks = true;
		return;
	case HELP:
		fputs(help, stdout);
		exit(0);
	default:
		fputs(help, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		set_option(option);
	if (optind != argc - 1) {
		fputs(help, stderr);
		return 2;
	}
	options.file = argv[optind];
	if (!options.spacing)
		options.spacing = options.block;
	measure();
	return 0;
}
