// SPDX-License-Identifier: GPL-2.0-only
/*
 * crash-writer: random stamped writes, discards, write-zeroes, flushes and FUA writes from several threads, each
 * acknowledgment marked in a dm-log-writes log. Of discards there are whole units of --unmap-bytes: they read as zero.
 *
 * Two writes that overlap are never in flight together (the result would be anybody's), but neighbours inside one cluster or
 * one L2 table are, and half of the writes stay near the one before to make that likely. SIGTERM ends it as the last of
 * --ops does: what is in flight completes, and the journal is written.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "journal.h"
#include "options.h"
#include "random.h"
#include "stamp.h"
#include "threads.h"

static struct {
	const char *device;
	const char *journal;
	const char *mirror; /* raw file that gets the same writes, or NULL */
	const char *log; /* name of the dm-log-writes device that takes the marks, or NULL */
	uint64_t seed;
	uint64_t ops;
	uint64_t threads;
	uint64_t max_bytes;
	uint64_t align; /* bytes; at least the device's block */
	uint64_t flush_percent;
	uint64_t fua_percent;
	uint64_t unmap_percent;
	uint64_t unmap_bytes; /* a multiple of @align */
} opt = {
	.seed = 1,
	.ops = 1000,
	.threads = 8,
	.max_bytes = 128 << 10,
	.flush_percent = 10,
	.fua_percent = 5,
	.unmap_bytes = 64 << 10,
};

static const struct option_slot options[] = {
	{ .name = "mirror", .text = &opt.mirror },
	{ .name = "log", .text = &opt.log },
	{ .name = "seed", .number = &opt.seed },
	{ .name = "ops", .number = &opt.ops },
	{ .name = "threads", .number = &opt.threads },
	{ .name = "max-bytes", .number = &opt.max_bytes },
	{ .name = "align", .number = &opt.align },
	{ .name = "flush-percent", .number = &opt.flush_percent },
	{ .name = "fua-percent", .number = &opt.fua_percent },
	{ .name = "unmap-percent", .number = &opt.unmap_percent },
	{ .name = "unmap-bytes", .number = &opt.unmap_bytes },
	{ .name = NULL },
};

static int fd;
static int mirror_fd = -1;
static unsigned int align_sectors; /* every write is a multiple of this */
static uint64_t max_sectors;
static struct journal done;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* done, busy, events, ops_left, near, the random state */
static pthread_mutex_t mark_lock = PTHREAD_MUTEX_INITIALIZER; /* libdevmapper */
static bool *busy; /* by sector: a write is in flight */
static uint64_t events;
static uint64_t ops_left;
static volatile sig_atomic_t told_to_end;
static uint64_t near; /* where the latest write began */
static uint64_t random_state;

static uint64_t next_event(void)
{
	uint64_t event;

	pthread_mutex_lock(&lock);
	event = ++events;
	pthread_mutex_unlock(&lock);
	return event;
}

/* Record in the log that everything completed by now has been acknowledged. */
static void put_mark(uint64_t event)
{
	struct dm_task *task;
	char text[64];

	if (!opt.log)
		return;
	snprintf(text, sizeof(text), "mark ack=%" PRIu64, event);
	pthread_mutex_lock(&mark_lock);
	task = dm_task_create(DM_DEVICE_TARGET_MSG);
	if (!task || !dm_task_set_name(task, opt.log) || !dm_task_set_sector(task, 0) ||
	    !dm_task_set_message(task, text) || !dm_task_run(task))
		errx(1, "%s: cannot mark the log", opt.log);
	dm_task_destroy(task);
	pthread_mutex_unlock(&mark_lock);
}

static bool is_free(uint64_t sector, unsigned int nr)
{
	while (nr--)
		if (busy[sector + nr])
			return false;
	return true;
}

static unsigned int pick_length(void)
{
	unsigned int max = max_sectors / align_sectors;

	if (random_below(&random_state, 2) && max > 8)
		max = 8;
	return (1 + random_below(&random_state, max)) * align_sectors;
}

static uint64_t pick_sector(unsigned int nr)
{
	uint64_t room = (done.nr_sectors - nr) / align_sectors + 1;
	uint64_t reach = 4 * max_sectors / align_sectors;
	uint64_t unit;

	if (random_below(&random_state, 2) || room <= reach)
		return random_below(&random_state, room) * align_sectors;
	unit = near / align_sectors + random_below(&random_state, reach);
	return (unit < room ? unit : random_below(&random_state, room)) * align_sectors;
}

/* Some whole units near each other. */
static void pick_units(struct jwrite *w)
{
	uint64_t unit = opt.unmap_bytes / SECTOR_BYTES, nr = done.nr_sectors / unit;
	uint64_t count = 1 + random_below(&random_state, nr < 4 ? nr : 4);

	w->nr_sectors = count * unit;
	w->sector = random_below(&random_state, nr - count + 1) * unit;
}

/* Claim a range that no other write in flight touches; returns the version of the write. */
static size_t begin_write(bool fua, bool zeroes)
{
	struct jwrite *w;
	size_t version;

	pthread_mutex_lock(&lock);
	version = done.nr_writes++;
	w = &done.writes[version];
	do {
		if (zeroes) {
			pick_units(w);
			continue;
		}
		w->nr_sectors = pick_length();
		w->sector = pick_sector(w->nr_sectors);
	} while (!is_free(w->sector, w->nr_sectors));
	memset(busy + w->sector, true, w->nr_sectors);
	near = w->sector;
	w->fua = fua;
	w->zeroes = zeroes;
	w->completed = UINT64_MAX;
	w->submitted = ++events;
	pthread_mutex_unlock(&lock);
	return version;
}

static uint64_t end_write(size_t version)
{
	struct jwrite *w = &done.writes[version];

	pthread_mutex_lock(&lock);
	memset(busy + w->sector, false, w->nr_sectors);
	w->completed = ++events;
	pthread_mutex_unlock(&lock);
	return w->completed;
}

/*
 * A block device may take less than it was given, where direct I/O falls back to the page cache for one; what it then
 * returns is how much was copied, and not up to the device. The rest belongs to the same write.
 */
static void put(const char *buf, size_t bytes, off_t offset, bool fua)
{
	while (bytes) {
		struct iovec iov = { (char *)buf, bytes };
		ssize_t n = pwritev2(fd, &iov, 1, offset, fua ? RWF_DSYNC : 0);

		if (n < 0)
			err(1, "%s: write of %zu bytes at %jd", opt.device, bytes, (intmax_t)offset);
		if (!n)
			errx(1, "%s: nothing of %zu bytes was written at %jd", opt.device, bytes, (intmax_t)offset);
		buf += n;
		bytes -= n;
		offset += n;
	}
}

static void do_write(char *buf, bool fua)
{
	size_t version = begin_write(fua, false);
	const struct jwrite *w = &done.writes[version];
	ssize_t bytes = w->nr_sectors * SECTOR_BYTES;
	uint64_t event;
	uint32_t i;

	for (i = 0; i < w->nr_sectors; i++)
		stamp_make(buf + i * SECTOR_BYTES, w->sector + i, version);
	put(buf, bytes, w->sector * SECTOR_BYTES, fua);
	if (mirror_fd >= 0 && pwrite(mirror_fd, buf, bytes, w->sector * SECTOR_BYTES) != bytes)
		err(1, "%s", opt.mirror);
	event = end_write(version);
	if (fua)
		put_mark(event);
}

/* A device that cannot zero without writing punches no holes. */
static void unmap(const struct jwrite *w, unsigned int how)
{
	uint64_t range[2] = { w->sector * SECTOR_BYTES, (uint64_t)w->nr_sectors * SECTOR_BYTES };
	int ret = -1;

	errno = EOPNOTSUPP;
	if (how == 2)
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range[0], range[1]);
	if (ret && errno == EOPNOTSUPP)
		ret = ioctl(fd, how ? BLKZEROOUT : BLKDISCARD, range);
	if (ret)
		err(1, "%s: unmap %u of %" PRIu64 " bytes at %" PRIu64, opt.device, how, range[1], range[0]);
}

/* A discard, zeroes, or zeroes that may be given back. */
static void do_unmap(void)
{
	size_t version = begin_write(false, true);

	unmap(&done.writes[version], version % 3);
	end_write(version);
}

static void do_flush(void)
{
	struct jflush f = { .submitted = next_event() };

	if (fdatasync(fd))
		err(1, "%s: flush", opt.device);
	pthread_mutex_lock(&lock);
	f.completed = ++events;
	done.flushes[done.nr_flushes++] = f;
	pthread_mutex_unlock(&lock);
	put_mark(f.completed);
}

enum op { OP_END, OP_WRITE, OP_FUA, OP_FLUSH, OP_UNMAP };

static enum op next_op(void)
{
	enum op op = OP_END;
	unsigned int dice;

	pthread_mutex_lock(&lock);
	if (ops_left && !told_to_end) {
		ops_left--;
		dice = random_below(&random_state, 100);
		op = OP_WRITE;
		if (dice < opt.flush_percent)
			op = OP_FLUSH;
		else if (dice < opt.flush_percent + opt.fua_percent)
			op = OP_FUA;
		else if (dice < opt.flush_percent + opt.fua_percent + opt.unmap_percent)
			op = OP_UNMAP;
	}
	pthread_mutex_unlock(&lock);
	return op;
}

static void *work(void *unused)
{
	char *buf = aligned_alloc(4096, (max_sectors * SECTOR_BYTES + 4095) & ~4095u);
	enum op op;

	if (!buf)
		err(1, "buffer");
	while ((op = next_op()) != OP_END) {
		if (op == OP_FLUSH)
			do_flush();
		else if (op == OP_UNMAP)
			do_unmap();
		else
			do_write(buf, op == OP_FUA);
	}
	free(buf);
	return unused;
}

static void open_device(void)
{
	struct stat st;
	uint64_t bytes;
	int block = 512;

	fd = open(opt.device, O_RDWR | O_DIRECT);
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", opt.device);
	bytes = st.st_size;
	if (S_ISBLK(st.st_mode) && (ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &block)))
		err(1, "%s", opt.device);
	if (opt.mirror)
		mirror_fd = open(opt.mirror, O_WRONLY);
	if (opt.mirror && mirror_fd < 0)
		err(1, "%s", opt.mirror);
	if (opt.align > (uint64_t)block)
		block = opt.align;
	align_sectors = block / SECTOR_BYTES;
	done.nr_sectors = bytes / block * align_sectors;
	max_sectors = opt.max_bytes / SECTOR_BYTES;
	if (max_sectors > done.nr_sectors)
		max_sectors = done.nr_sectors;
}

static void parse(int argc, char **argv)
{
	int i = options_parse(argc, argv, options);

	if (i < 0 || argc - i != 2 || opt.max_bytes < SECTOR_BYTES ||
	    opt.align % SECTOR_BYTES || opt.align > opt.max_bytes ||
	    opt.unmap_bytes < SECTOR_BYTES || (opt.mirror && opt.unmap_percent)) {
		fputs("usage: crash-writer [--log NAME] [--mirror FILE] [--seed N] [--ops N] [--threads N]\n"
		      "                    [--max-bytes N] [--align N] [--flush-percent N] [--fua-percent N]\n"
		      "                    [--unmap-percent N [--unmap-bytes N]]\n"
		      "                    DEVICE JOURNAL\n",
		      stderr);
		exit(2);
	}
	opt.device = argv[i];
	opt.journal = argv[i + 1];
}

static void tell_to_end(int sig)
{
	told_to_end = sig;
}

int main(int argc, char **argv)
{
	struct sigaction on_term = { .sa_handler = tell_to_end, .sa_flags = SA_RESTART };

	parse(argc, argv);
	open_device();
	sigaction(SIGTERM, &on_term, NULL);
	random_seed(&random_state, opt.seed);
	ops_left = opt.ops;
	done.nr_writes = 1;
	done.writes = calloc(opt.ops + 1, sizeof(*done.writes));
	done.flushes = calloc(opt.ops + 1, sizeof(*done.flushes));
	busy = calloc(done.nr_sectors, sizeof(*busy));
	if (!done.writes || !done.flushes || !busy)
		err(1, "memory");
	threads_join(threads_start(opt.threads, work), opt.threads);
	journal_save(&done, opt.journal);
	return 0;
}
