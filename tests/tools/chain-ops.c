// SPDX-License-Identifier: GPL-2.0-only
/*
 * chain-ops [--threads N] [--piece BYTES] [--mirror FILE] [--buffered 1] DEVICE PLAN: do what the lines
 * "op" of a plan say (chain-plan.c), from several threads. Where two operations overlap, the later line waits
 * for the earlier one, so that the result is the same each time. The mirror is a raw file that gets
 * the same writes, and has what reads must return. What a discard does to it follows from the last image of
 * the plan: whole clusters read as zero, unless that is of version 2 and has others below. Whether a part of a cluster
 * becomes zero as a part of that, or by being written, depends on the rest: so where one of two operations is no
 * read or write, they overlap if they share a cluster.
 *
 * chain-ops patterns DIRECTORY: write each pattern to a file of its number, for qemu-io.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../crash/options.h"
#include "../crash/threads.h"
#include "chain-pattern.h"

#define SECTOR 512

enum kind { OP_READ, OP_WRITE, OP_FUA, OP_FLUSH, OP_DISCARD, OP_ZERO, OP_UNMAP };

struct op {
	enum kind kind;
	bool is_done;
	uint64_t offset;
	uint64_t bytes;
	unsigned int pattern;
};

static struct {
	const char *mirror;
	uint64_t threads;
	uint64_t piece; /* no request is longer */
	uint64_t buffered;
} opt = {
	.threads = 4,
	.piece = UINT64_MAX,
};

static const struct option_slot options[] = {
	{ .name = "mirror", .text = &opt.mirror },
	{ .name = "threads", .number = &opt.threads },
	{ .name = "piece", .number = &opt.piece },
	{ .name = "buffered", .number = &opt.buffered },
	{ .name = NULL },
};

static struct {
	uint64_t bytes;
	uint64_t cluster;
	bool is_old;
	bool has_base;
} top = {
	.cluster = 65536,
};

static const char *device;
static int fd;
static uint8_t *mirror;
static uint64_t mirror_bytes;
static struct op *ops;
static size_t nr_ops;
static uint64_t longest;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* next, is_done */
static pthread_cond_t one_is_done = PTHREAD_COND_INITIALIZER;
static size_t next;

static bool overlap(const struct op *a, const struct op *b)
{
	uint64_t unit = a->kind > OP_FLUSH || b->kind > OP_FLUSH ? top.cluster : SECTOR;

	if (a->kind == OP_FLUSH || b->kind == OP_FLUSH || (a->kind == OP_READ && b->kind == OP_READ))
		return false;
	return a->offset / unit <= (b->offset + b->bytes - 1) / unit &&
	       b->offset / unit <= (a->offset + a->bytes - 1) / unit;
}

/* Those before it have all been taken, so none of them waits for this one. */
static bool must_wait(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!ops[i].is_done && overlap(&ops[i], &ops[n]))
			return true;
	return false;
}

static struct op *begin(void)
{
	struct op *op = NULL;

	pthread_mutex_lock(&lock);
	if (next < nr_ops) {
		size_t n = next++;

		while (must_wait(n))
			pthread_cond_wait(&one_is_done, &lock);
		op = &ops[n];
	}
	pthread_mutex_unlock(&lock);
	return op;
}

static void end(struct op *op)
{
	pthread_mutex_lock(&lock);
	op->is_done = true;
	pthread_cond_broadcast(&one_is_done);
	pthread_mutex_unlock(&lock);
}

static size_t piece(const struct op *op, uint64_t done)
{
	return op->bytes - done < opt.piece ? op->bytes - done : opt.piece;
}

static void put(const struct op *op, const uint8_t *buf)
{
	uint64_t done = 0;

	while (done < op->bytes) {
		struct iovec iov = { (void *)(buf + done), piece(op, done) };
		ssize_t n = pwritev2(fd, &iov, 1, op->offset + done, op->kind == OP_FUA ? RWF_DSYNC : 0);

		if (n <= 0)
			err(1, "%s: write of %" PRIu64 " bytes at %" PRIu64, device, op->bytes, op->offset);
		done += n;
	}
}

static void get(const struct op *op, uint8_t *buf)
{
	uint64_t done = 0;

	while (done < op->bytes) {
		ssize_t n = pread(fd, buf + done, piece(op, done), op->offset + done);

		if (n <= 0)
			err(1, "%s: read of %" PRIu64 " bytes at %" PRIu64, device, op->bytes, op->offset);
		done += n;
	}
}

static void compare(const struct op *op, const uint8_t *buf)
{
	const uint8_t *want = mirror + op->offset;
	uint64_t i;

	for (i = 0; i < op->bytes && buf[i] == want[i]; i++)
		;
	if (i < op->bytes)
		errx(1, "%s: read of %" PRIu64 " bytes at %" PRIu64 ": at %" PRIu64 " there is %02x, not %02x",
		     device, op->bytes, op->offset, op->offset + i, buf[i], want[i]);
}

/* Without a command for it zeroes are written, as QEMU does. */
static void unmap(const struct op *op)
{
	uint64_t range[2] = { op->offset, op->bytes };
	int ret = -1;

	if (op->kind == OP_DISCARD)
		ret = ioctl(fd, BLKDISCARD, range);
	else if (op->kind == OP_UNMAP)
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op->offset, op->bytes);
	if (ret && op->kind != OP_DISCARD)
		ret = ioctl(fd, BLKZEROOUT, range);
	if (ret)
		err(1, "%s: kind %d of %" PRIu64 " bytes at %" PRIu64, device, op->kind, op->bytes, op->offset);
}

static void unmap_mirror(const struct op *op)
{
	uint64_t start = op->offset, end = op->offset + op->bytes;

	if (op->kind == OP_DISCARD) {
		if (top.is_old && top.has_base)
			return;
		start = (start + top.cluster - 1) / top.cluster * top.cluster;
		if (end != top.bytes)
			end = end / top.cluster * top.cluster;
	}
	if (mirror && start < end)
		memset(mirror + start, 0, end - start);
}

static void perform(const struct op *op, uint8_t *buf)
{
	switch (op->kind) {
	case OP_FLUSH:
		if (fdatasync(fd))
			err(1, "%s: flush", device);
		break;
	case OP_READ:
		get(op, buf);
		if (mirror)
			compare(op, buf);
		break;
	case OP_DISCARD:
	case OP_ZERO:
	case OP_UNMAP:
		unmap(op);
		unmap_mirror(op);
		break;
	default:
		chain_pattern_fill(buf, op->bytes, op->pattern);
		put(op, buf);
		if (mirror)
			memcpy(mirror + op->offset, buf, op->bytes);
	}
}

static void *work(void *unused)
{
	uint8_t *buf = aligned_alloc(4096, (longest + 4095) / 4096 * 4096 + 4096);
	struct op *op;

	if (!buf)
		err(1, "buffer");
	while ((op = begin())) {
		perform(op, buf);
		end(op);
	}
	free(buf);
	return unused;
}

static bool parse_op(const char *line, struct op *op)
{
	char word[16];
	int words;

	*op = (struct op){ .kind = OP_READ };
	words = sscanf(line, "op %15s %" SCNu64 " %" SCNu64 " %u", word, &op->offset, &op->bytes, &op->pattern);
	if (words < 1)
		return false;
	if (!strcmp(word, "flush"))
		op->kind = OP_FLUSH;
	else if (!strcmp(word, "write"))
		op->kind = OP_WRITE;
	else if (!strcmp(word, "fua"))
		op->kind = OP_FUA;
	else if (!strcmp(word, "discard"))
		op->kind = OP_DISCARD;
	else if (!strcmp(word, "zero"))
		op->kind = OP_ZERO;
	else if (!strcmp(word, "unmap"))
		op->kind = OP_UNMAP;
	else if (strcmp(word, "read"))
		errx(2, "what is this: %s", line);
	return true;
}

/* The last one is the top. */
static void parse_image(const char *line)
{
	const char *cluster = strstr(line, "cluster_size=");
	unsigned int number;
	uint64_t bytes;

	if (sscanf(line, "image %u %*s %*s %" SCNu64, &number, &bytes) != 2)
		return;
	top.has_base = top.bytes;
	top.bytes = bytes;
	top.is_old = strstr(line, "compat=0.10");
	if (cluster)
		top.cluster = strtoull(cluster + strlen("cluster_size="), NULL, 10);
}

static void load_plan(const char *path)
{
	FILE *plan = fopen(path, "r");
	char line[256];

	if (!plan)
		err(2, "%s", path);
	while (fgets(line, sizeof(line), plan)) {
		ops = realloc(ops, (nr_ops + 1) * sizeof(*ops));
		if (!ops)
			err(1, "plan");
		parse_image(line);
		if (parse_op(line, &ops[nr_ops])) {
			if (ops[nr_ops].kind < OP_DISCARD && ops[nr_ops].bytes > longest)
				longest = ops[nr_ops].bytes;
			nr_ops++;
		}
	}
	fclose(plan);
}

static void open_mirror(void)
{
	int mirror_fd = open(opt.mirror, O_RDWR);
	struct stat st;

	if (mirror_fd < 0 || fstat(mirror_fd, &st))
		err(1, "%s", opt.mirror);
	mirror_bytes = st.st_size;
	mirror = mmap(NULL, mirror_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mirror_fd, 0);
	if (mirror == MAP_FAILED)
		err(1, "%s", opt.mirror);
	close(mirror_fd);
}

static void check_ranges(void)
{
	size_t i;

	for (i = 0; mirror && i < nr_ops; i++)
		if (ops[i].offset + ops[i].bytes > mirror_bytes)
			errx(2, "%s: an operation ends after it", opt.mirror);
}

static int write_patterns(const char *directory)
{
	uint8_t bytes[CHAIN_PATTERN_BYTES];
	unsigned int i;

	for (i = 0; i < CHAIN_PATTERNS; i++) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%u", directory, i);
		chain_pattern_make(bytes, i);
		file = fopen(path, "w");
		if (!file || fwrite(bytes, sizeof(bytes), 1, file) != 1 || fclose(file))
			err(1, "%s", path);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int i = options_parse(argc, argv, options);

	if (i < 0 || argc - i != 2) {
		fputs("usage: chain-ops [--threads N] [--piece BYTES] [--mirror FILE] [--buffered 1]\n"
		      "                 DEVICE PLAN\n"
		      "       chain-ops patterns DIRECTORY\n", stderr);
		return 2;
	}
	if (!strcmp(argv[i], "patterns"))
		return write_patterns(argv[i + 1]);
	device = argv[i];
	load_plan(argv[i + 1]);
	fd = open(device, O_RDWR | (opt.buffered ? 0 : O_DIRECT));
	if (fd < 0)
		err(1, "%s", device);
	if (opt.mirror)
		open_mirror();
	check_ranges();
	threads_join(threads_start(opt.threads, work), opt.threads);
	if (close(fd))
		err(1, "%s", device);
	return 0;
}
