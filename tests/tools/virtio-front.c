// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-front: a virtio-blk driver in user space. Command line.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "virtio-front.h"

static const char help[] =
"usage: virtio-front [OPTION]... --device=DEV|--socket=PATH VERB [ARG]...\n"
"\n"
"Drives virtio-blk queues from user space, served by /dev/vhost-blk (--device) or\n"
"by a vhost-user-blk server (--socket).\n"
"\n"
"verbs:\n"
"  verify              random reads, writes and flushes with known data\n"
"  check               compare the device with the --state that verify has saved\n"
"  write FILE          copy a file to the disk\n"
"  read FILE           copy the disk, or its --span, to a file\n"
"  request TYPE SECTOR BYTES [FLAGS [RANGES [STEP]]]\n"
"                      one request: in, out, flush, id, discard, zeroes, erase\n"
"                      or a number; so many ranges of BYTES one after the other, or\n"
"                      STEP sectors apart\n"
"  faults [NAME]...    malformed requests\n"
"  log                 check the dirty log\n"
"  hold                serve the rings until standard input ends\n"
"  ioctls              wrong calls of /dev/vhost-blk\n"
"  leftovers           stops that are killed; the device must be slow\n"
"  orphans             interrupts of requests whose polling server was killed;\n"
"                      the device must be slow\n"
"  ranges              stops while zeroes are written out; the device must be slow\n"
"  bench               measure random I/O of --max-bytes\n"
"\n"
"options:\n"
"  --queues=N          queues (1)\n"
"  --size=N            descriptors of a ring (256)\n"
"  --depth=N           requests in flight in each queue (16)\n"
"  --max-bytes=N       longest request (65536; bench: 4096)\n"
"  --operations=N      requests, over all queues (verify: 20000)\n"
"  --seconds=N         duration of bench without --operations (5)\n"
"  --span=BYTES        use only the beginning of the disk\n"
"  --seed=N            of data and choices (1)\n"
"  --write-percent=N   of the requests of bench (0)\n"
"  --think-us=N        bench sends the next ones so long after an answer (0)\n"
"  --driver-cpu=N      bench's threads run there; the server's where it was started\n"
"  --spacing=BYTES     one request of bench in each so many bytes, none twice\n"
"  --flush-every=N     wait for N requests of bench, then flush (never)\n"
"  --trim=BYTES        the last queue of bench discards so much at a time, in order;\n"
"                      when all is discarded, bench ends\n"
"  --trim-from=BYTES   ... from there on (0)\n"
"  --until-eof         bench ends when standard input does\n"
"  --trace=FILE        when each request of bench was sent, and how long it took, in ns\n"
"  --to-the-end        bench ends when all is flushed and the server is gone ...\n"
"  --detach=HOW        ... and the device, see tests/bench/detach.h; idle time is left out\n"
"  --event-idx, --indirect, --no-flush, --no-ranges\n"
"                      features that are negotiated, and not\n"
"  --unaligned         data buffers at odd addresses\n"
"  --scattered         requests cut at random places\n"
"  --memory=PATH       guest memory is a device, or a file in a directory,\n"
"                      instead of a memfd\n"
"  --regions=N         pieces of guest memory (1)\n"
"  --workers=N         vhost workers; 0: one for all queues (0)\n"
"  --busyloop=US       busy-loop timeout\n"
"  --write-through     turn the write cache off before a request, and set the features again\n"
"  --no-wait           fail if another one has claimed the device\n"
"  --read-only         pass a read-only descriptor\n"
"  --serial=TEXT       serial number\n"
"  --disturb=HOW       meanwhile kill the server, stop queues, detach the device,\n"
"                      set the memory table or the call eventfds (kill, stop,\n"
"                      detach, memory, call)\n"
"  --disturb-ms=N, --disturb-count=N\n"
"                      pause between disturbances (100), how many (10)\n"
"  --state=FILE        what was written\n"
"  --json              machine-readable output of bench\n"
"  --help\n"
"\n"
"exit status: 0 all is as expected, 1 it is not, 2 usage\n";

enum {
	OPTION_DEVICE = 256, OPTION_SOCKET, OPTION_QUEUES, OPTION_SIZE, OPTION_DEPTH,
	OPTION_MAX_BYTES, OPTION_OPERATIONS, OPTION_SECONDS, OPTION_SPAN, OPTION_SEED,
	OPTION_WRITE_PERCENT, OPTION_EVENT_IDX, OPTION_INDIRECT, OPTION_NO_FLUSH,
	OPTION_UNALIGNED, OPTION_SCATTERED, OPTION_REGIONS, OPTION_WORKERS,
	OPTION_BUSYLOOP, OPTION_READ_ONLY, OPTION_SERIAL, OPTION_DISTURB,
	OPTION_DISTURB_MS, OPTION_DISTURB_COUNT, OPTION_STATE, OPTION_JSON, OPTION_NO_WAIT,
	OPTION_SPACING, OPTION_FLUSH_EVERY, OPTION_TO_THE_END, OPTION_DETACH, OPTION_MEMORY,
	OPTION_THINK_US, OPTION_DRIVER_CPU, OPTION_NO_RANGES, OPTION_WRITE_THROUGH, OPTION_TRIM,
	OPTION_TRIM_FROM, OPTION_UNTIL_EOF, OPTION_TRACE, OPTION_HELP,
};

static const struct option long_options[] = {
	{ "device", required_argument, NULL, OPTION_DEVICE },
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "queues", required_argument, NULL, OPTION_QUEUES },
	{ "size", required_argument, NULL, OPTION_SIZE },
	{ "depth", required_argument, NULL, OPTION_DEPTH },
	{ "max-bytes", required_argument, NULL, OPTION_MAX_BYTES },
	{ "operations", required_argument, NULL, OPTION_OPERATIONS },
	{ "seconds", required_argument, NULL, OPTION_SECONDS },
	{ "span", required_argument, NULL, OPTION_SPAN },
	{ "seed", required_argument, NULL, OPTION_SEED },
	{ "write-percent", required_argument, NULL, OPTION_WRITE_PERCENT },
	{ "think-us", required_argument, NULL, OPTION_THINK_US },
	{ "driver-cpu", required_argument, NULL, OPTION_DRIVER_CPU },
	{ "spacing", required_argument, NULL, OPTION_SPACING },
	{ "flush-every", required_argument, NULL, OPTION_FLUSH_EVERY },
	{ "trim", required_argument, NULL, OPTION_TRIM },
	{ "trim-from", required_argument, NULL, OPTION_TRIM_FROM },
	{ "until-eof", no_argument, NULL, OPTION_UNTIL_EOF },
	{ "trace", required_argument, NULL, OPTION_TRACE },
	{ "to-the-end", no_argument, NULL, OPTION_TO_THE_END },
	{ "detach", required_argument, NULL, OPTION_DETACH },
	{ "event-idx", no_argument, NULL, OPTION_EVENT_IDX },
	{ "indirect", no_argument, NULL, OPTION_INDIRECT },
	{ "no-flush", no_argument, NULL, OPTION_NO_FLUSH },
	{ "write-through", no_argument, NULL, OPTION_WRITE_THROUGH },
	{ "no-ranges", no_argument, NULL, OPTION_NO_RANGES },
	{ "unaligned", no_argument, NULL, OPTION_UNALIGNED },
	{ "scattered", no_argument, NULL, OPTION_SCATTERED },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "regions", required_argument, NULL, OPTION_REGIONS },
	{ "workers", required_argument, NULL, OPTION_WORKERS },
	{ "busyloop", required_argument, NULL, OPTION_BUSYLOOP },
	{ "read-only", no_argument, NULL, OPTION_READ_ONLY },
	{ "serial", required_argument, NULL, OPTION_SERIAL },
	{ "disturb", required_argument, NULL, OPTION_DISTURB },
	{ "disturb-ms", required_argument, NULL, OPTION_DISTURB_MS },
	{ "disturb-count", required_argument, NULL, OPTION_DISTURB_COUNT },
	{ "state", required_argument, NULL, OPTION_STATE },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "no-wait", no_argument, NULL, OPTION_NO_WAIT },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 }
};

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (end == text || *end || value < min || value > max)
		errx(2, "%s: not a number from %llu to %llu", text,
		     (unsigned long long)min, (unsigned long long)max);
	return value;
}

static int disturbance(const char *name)
{
	static const char *const names[] = { "", "kill", "stop", "detach", "memory", "call" };
	size_t i;

	for (i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return i;
	errx(2, "%s: unknown disturbance", name);
}

/* Options that say what the disk looks like. */
static bool set_disk_option(struct front_options *options, int option)
{
	switch (option) {
	case OPTION_DEVICE:
		options->device = optarg;
		return true;
	case OPTION_SOCKET:
		options->socket = optarg;
		return true;
	case OPTION_QUEUES:
		options->nr_queues = number(optarg, 1, 64);
		return true;
	case OPTION_SIZE:
		options->queue_size = number(optarg, 2, 32768);
		return true;
	case OPTION_MEMORY:
		options->memory = optarg;
		return true;
	case OPTION_REGIONS:
		options->nr_regions = number(optarg, 1, 64);
		return true;
	case OPTION_WORKERS:
		options->nr_workers = number(optarg, 0, 64);
		return true;
	case OPTION_BUSYLOOP:
		options->busyloop_us = number(optarg, 0, 1000000);
		return true;
	case OPTION_EVENT_IDX:
		options->has_event_idx = true;
		return true;
	case OPTION_INDIRECT:
		options->has_indirect = true;
		return true;
	case OPTION_NO_FLUSH:
		options->has_flush = false;
		return true;
	case OPTION_WRITE_THROUGH:
		options->is_write_through = true;
		return true;
	case OPTION_NO_RANGES:
		options->has_ranges = false;
		return true;
	case OPTION_NO_WAIT:
		options->is_impatient = true;
		return true;
	case OPTION_READ_ONLY:
		options->is_read_only = true;
		return true;
	case OPTION_SERIAL:
		options->serial = optarg;
		return true;
	default:
		return false;
	}
}

/* Options of bench alone. */
static bool set_bench_option(struct front_options *options, int option)
{
	switch (option) {
	case OPTION_WRITE_PERCENT:
		options->write_percent = number(optarg, 0, 100);
		return true;
	case OPTION_THINK_US:
		options->think_us = number(optarg, 0, 999999);
		return true;
	case OPTION_DRIVER_CPU:
		options->driver_cpu = number(optarg, 0, CPU_SETSIZE - 1);
		return true;
	case OPTION_SPACING:
		options->spacing = number(optarg, 4096, 1 << 30);
		return true;
	case OPTION_FLUSH_EVERY:
		options->flush_every = number(optarg, 1, UINT32_MAX);
		return true;
	case OPTION_TRIM:
		options->trim = number(optarg, FRONT_SECTOR, 1ULL << 40);
		return true;
	case OPTION_TRIM_FROM:
		options->trim_from = number(optarg, 0, UINT64_MAX);
		return true;
	case OPTION_UNTIL_EOF:
		options->is_until_eof = true;
		return true;
	case OPTION_TRACE:
		options->trace = optarg;
		return true;
	case OPTION_TO_THE_END:
		options->is_to_the_end = true;
		return true;
	case OPTION_DETACH:
		options->detach = optarg;
		return true;
	case OPTION_JSON:
		options->is_json = true;
		return true;
	default:
		return false;
	}
}

/* Options that say what is done with it. */
static bool set_work_option(struct front_options *options, int option)
{
	switch (option) {
	case OPTION_DEPTH:
		options->depth = number(optarg, 1, 32768);
		return true;
	case OPTION_MAX_BYTES:
		options->max_bytes = number(optarg, 4096, 1 << 30);
		return true;
	case OPTION_OPERATIONS:
		options->operations = number(optarg, 1, UINT32_MAX);
		return true;
	case OPTION_SECONDS:
		options->seconds = number(optarg, 1, 3600);
		return true;
	case OPTION_SPAN:
		options->span = number(optarg, FRONT_SECTOR, UINT64_MAX);
		return true;
	case OPTION_SEED:
		options->seed = number(optarg, 1, UINT64_MAX);
		return true;
	case OPTION_UNALIGNED:
		options->is_unaligned = true;
		return true;
	case OPTION_SCATTERED:
		options->is_scattered = true;
		return true;
	case OPTION_DISTURB:
		options->disturb = disturbance(optarg);
		return true;
	case OPTION_DISTURB_MS:
		options->disturb_ms = number(optarg, 1, 60000);
		return true;
	case OPTION_DISTURB_COUNT:
		options->disturb_count = number(optarg, 0, 1000000);
		return true;
	case OPTION_STATE:
		options->state = optarg;
		return true;
	default:
		return false;
	}
}

static void parse(struct front_options *options, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == OPTION_HELP) {
			fputs(help, stdout);
			exit(0);
		}
		if (!set_disk_option(options, option) && !set_work_option(options, option) &&
		    !set_bench_option(options, option))
			exit(2);
	}
	if (!options->device == !options->socket || optind == argc)
		errx(2, "needs --device or --socket, and a verb (--help)");
	/* A server offers what its disk can do. */
	if (options->socket)
		options->has_ranges = false;
}

static uint64_t device_capacity(const char *path)
{
	uint64_t bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		err(1, "%s", path);
	close(fd);
	return bytes / FRONT_SECTOR;
}

static void set_up(struct front *front)
{
	struct front_options *options = &front->options;
	size_t ring_bytes = options->queue_size * (FRONT_MAX_SEGMENTS + 2) * 16 +
			    5 * FRONT_PAGE;
	size_t slot_bytes = options->max_bytes + 3 * FRONT_PAGE;
	unsigned int i;

	front_memory_init(&front->memory, options->nr_queues *
			  (ring_bytes + (options->depth + 2) * slot_bytes) +
			  16 * FRONT_PAGE, options->memory);
	front->rings = calloc(options->nr_queues, sizeof(*front->rings));
	if (!front->rings)
		err(1, "rings");
	for (i = 0; i < options->nr_queues; i++)
		front_ring_init(&front->rings[i], &front->memory, i, options);
	front->link = -1;
	front->transport = options->socket ? &front_user : &front_vhost;
	if (options->device)
		front->capacity = device_capacity(options->device);
}

static int run(struct front *front, const char *verb, int argc, char **argv)
{
	if (!strcmp(verb, "verify"))
		return front_verify(front);
	if (!strcmp(verb, "check"))
		return front_check(front);
	if (!strcmp(verb, "write") && argc == 1)
		return front_copy_in(front, argv[0]);
	if (!strcmp(verb, "read") && argc == 1)
		return front_copy_out(front, argv[0]);
	if (!strcmp(verb, "request"))
		return front_request(front, argc, argv);
	if (!strcmp(verb, "faults"))
		return front_faults(front, argc, argv);
	if (!strcmp(verb, "log"))
		return front_log(front);
	if (!strcmp(verb, "hold"))
		return front_hold(front);
	if (!strcmp(verb, "ioctls"))
		return front_ioctls(front);
	if (!strcmp(verb, "leftovers"))
		return front_leftovers(front);
	if (!strcmp(verb, "orphans"))
		return front_orphans(front);
	if (!strcmp(verb, "ranges"))
		return front_ranges(front);
	if (!strcmp(verb, "bench"))
		return front_bench(front);
	errx(2, "%s: unknown verb, or wrong arguments (--help)", verb);
}

int main(int argc, char **argv)
{
	struct front front = {
		.options = {
			.nr_queues = 1, .queue_size = 256, .depth = 16, .seconds = 5,
			.nr_regions = 1, .disturb_ms = 100, .disturb_count = 10,
			.seed = 1, .driver_cpu = -1, .has_flush = true, .has_ranges = true,
		},
	};
	const char *verb;

	parse(&front.options, argc, argv);
	verb = argv[optind];
	if (!front.options.max_bytes)
		front.options.max_bytes = strcmp(verb, "bench") ? 65536 : 4096;
	if (!front.options.operations && !strcmp(verb, "verify"))
		front.options.operations = 20000;
	set_up(&front);
	return run(&front, verb, argc - optind - 1, argv + optind + 1);
}
