// SPDX-License-Identifier: GPL-2.0-only
/*
 * crash-replay: show a dm-log-writes log, rebuild a state from it, or cut the power at many points of it and have QEMU judge
 * each state.
 */
#define _GNU_SOURCE
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuts.h"
#include "instant.h"
#include "journal.h"
#include "log.h"
#include "options.h"
#include "oracle.h"
#include "stamp.h"
#include "state.h"
#include "verify.h"
#include "view.h"

#define FAILURES_AT_MOST 3 /* of one worker, then it stops */

static struct {
	const char *warm;
	const char *fs;
	const char *image; /* path in the file system; without one the target is the image */
	const char *start; /* mark from which on to cut */
	const char *shell; /* an image whose data file the target is */
	uint64_t data_at; /* where in the target the data file of the image begins that is at its start */
	uint64_t seed;
	uint64_t at_sector;
	uint64_t old; /* byte that the guest's disk was full of */
	uint64_t stamped; /* sectors that had stamps instead, of "stamp" below */
	uint64_t whole; /* read all of the image: of compressed clusters a map does not say where they are */
	uint64_t max_leak; /* clusters */
	uint64_t subsets;
	uint64_t unit; /* sectors that no power cut parts */
	uint64_t cuts;
} opt = {
	.warm = "crash-warm.so",
	.start = "start",
	.seed = 1,
	.max_leak = UINT64_MAX,
	.subsets = 8,
	.unit = 1,
	.cuts = 200,
};

static const struct option_slot options[] = {
	{ .name = "fs", .text = &opt.fs },
	{ .name = "image", .text = &opt.image },
	{ .name = "start", .text = &opt.start },
	{ .name = "shell", .text = &opt.shell },
	{ .name = "data-at", .number = &opt.data_at },
	{ .name = "warm", .text = &opt.warm },
	{ .name = "cuts", .number = &opt.cuts },
	{ .name = "subsets", .number = &opt.subsets },
	{ .name = "unit", .number = &opt.unit },
	{ .name = "seed", .number = &opt.seed },
	{ .name = "at-sector", .number = &opt.at_sector },
	{ .name = "old", .number = &opt.old },
	{ .name = "stamped", .number = &opt.stamped },
	{ .name = "whole", .number = &opt.whole },
	{ .name = "max-leak", .number = &opt.max_leak },
	{ .name = NULL },
};

/* One process that replays its share of the cuts on its own target. */
struct worker {
	struct log log;
	struct journal journal;
	struct promise promise;
	struct state state;
	struct view view;
	struct oracle check;
	struct oracle map; /* or one that reads all of the image into contents */
	char contents[64];
	char whole[128]; /* what a map of contents would be */
	char image[1024];
	char snapshot[64]; /* name and mount point of the view */
	char mount[64];
	size_t nr_states;
	size_t nr_failed;
	uint64_t most_leaked;
};

static uint64_t number_before(const char *text, const char *words)
{
	const char *p = strstr(text, words);

	while (p && p > text && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return p ? strtoull(p, NULL, 10) : 0;
}

static void say_failed(struct worker *w, size_t cut, unsigned int variant, const char *what, const char *text)
{
	w->nr_failed++;
	fprintf(stderr, "cut after entry %zu, variant %u: %s\n%.1000s", cut, variant, what, text);
}

/* Let qemu-img check the image: no corruption, and no more leaks than allowed. */
static const char *judge_metadata(struct worker *w)
{
	int rc = oracle_ask(&w->check);
	uint64_t leaked = number_before(w->check.text, " leaked clusters were found");

	if (leaked > w->most_leaked)
		w->most_leaked = leaked;
	if (rc != 0 && rc != 3)
		return "qemu-img check finds errors";
	return leaked > opt.max_leak ? "more leaked clusters than allowed" : NULL;
}

static void judge_state(struct worker *w, size_t cut, unsigned int variant)
{
	const char *why = judge_metadata(w);
	unsigned int wrong;

	if (why) {
		say_failed(w, cut, variant, why, w->check.text);
		return;
	}
	if (oracle_ask(&w->map)) {
		say_failed(w, cut, variant, "qemu-img cannot read it", w->map.text);
		return;
	}
	wrong = verify(&w->promise, opt.whole ? w->whole : w->map.text);
	if (wrong) {
		fprintf(stderr, "  %u sectors are wrong\n", wrong);
		say_failed(w, cut, variant, "acknowledged data is not there", "");
	}
}

static void try_state(struct worker *w, size_t cut, unsigned int variant)
{
	const char *why;

	cut_build(&w->state, cut, variant, opt.seed, opt.unit);
	state_apply(&w->state);
	why = view_show(&w->view);
	if (why)
		say_failed(w, cut, variant, "the file system does not mount", why);
	else
		judge_state(w, cut, variant);
	view_hide(&w->view);
	state_undo(&w->state);
	w->nr_states++;
}

static void try_cut(struct worker *w, size_t cut)
{
	unsigned int variants = cut_has_subsets(&w->log, cut) ? opt.subsets : 0;
	unsigned int v;

	journal_floor(&w->journal, w->log.entries[cut].ack, w->promise.floor);
	for (v = 0; v <= variants && w->nr_failed < FAILURES_AT_MOST; v++)
		try_state(w, cut, v);
}

/* The image as QEMU is told of it: by its path, or with a data file by options. */
static void name_image(struct worker *w, const char *target)
{
	if (opt.fs)
		snprintf(w->image, sizeof(w->image), "%s/%s", w->mount, opt.image);
	else if (opt.shell)
		snprintf(w->image, sizeof(w->image),
			 "driver=qcow2,file.driver=file,file.filename=%s,data-file.driver=file,data-file.filename=%s", opt.shell,
			 target);
	else if (opt.data_at)
		snprintf(w->image, sizeof(w->image),
			 "driver=qcow2,file.driver=file,file.filename=%s,data-file.driver=raw,data-file.offset=%" PRIu64
			 ",data-file.file.driver=file,data-file.file.filename=%s",
			 target, opt.data_at, target);
	else
		snprintf(w->image, sizeof(w->image), "%s", target);
}

static void open_view(struct worker *w, char *target, unsigned int index)
{
	char *cow = strchr(target, ',');

	if (cow)
		*cow++ = '\0';
	if (opt.fs && !cow)
		errx(2, "%s: a file system needs TARGET,COW", target);
	snprintf(w->snapshot, sizeof(w->snapshot), "crash-replay-%d-%u", getppid(), index);
	snprintf(w->mount, sizeof(w->mount), "/tmp/crash-replayXXXXXX");
	if (opt.fs && !mkdtemp(w->mount))
		err(1, "%s", w->mount);
	w->view = (struct view){ .fs = opt.fs, .target = target, .cow = cow, .name = w->snapshot, .mount = w->mount };
	view_open(&w->view);
	name_image(w, target);
}

static void open_worker(struct worker *w, const char *log, const char *journal, char *target, unsigned int index)
{
	char *how = opt.shell || opt.data_at ? "--image-opts" : "-fqcow2";
	char *check[] = { "qemu-img", "check", how, w->image, NULL };
	char *map[] = { "qemu-img", "map", how, w->image, NULL };
	char *read[] = { "qemu-img", "convert", how, "-O", "raw", w->image, w->contents, NULL };

	open_view(w, target, index);
	snprintf(w->contents, sizeof(w->contents), "/dev/shm/crash-replay-%d-%u", getppid(), index);
	log_open(&w->log, log);
	journal_load(&w->journal, journal);
	w->promise = (struct promise){ .journal = &w->journal, .at_sector = opt.at_sector, .old = opt.old };
	w->promise.stamped = opt.stamped;
	w->promise.floor = calloc(w->journal.nr_sectors, sizeof(*w->promise.floor));
	w->promise.zeroes = calloc(w->journal.nr_sectors, sizeof(*w->promise.zeroes));
	if (!w->promise.floor || !w->promise.zeroes)
		err(1, "memory");
	journal_zeroes(&w->journal, w->promise.zeroes);
	state_open(&w->state, target, &w->log, w->promise.zeroes);
	oracle_start(&w->check, opt.warm, check);
	oracle_start(&w->map, opt.warm, opt.whole ? read : map);
	snprintf(w->whole, sizeof(w->whole), "map\n0x0 0x%" PRIx64 " 0x0 %s\n",
		 (opt.at_sector + w->journal.nr_sectors) * SECTOR_BYTES, w->contents);
}

/* Replay every @nr_workers-th cut; returns the exit status. */
static int work(const char *log, const char *journal, char *target, unsigned int index, unsigned int nr_workers)
{
	struct worker w = { .nr_states = 0 };
	size_t nr = opt.cuts;
	size_t *cuts, i;

	open_worker(&w, log, journal, target, index);
	cuts = cuts_choose(&w.log, log_find_mark(&w.log, opt.start), opt.seed, &nr);
	for (i = index; i < nr && w.nr_failed < FAILURES_AT_MOST; i += nr_workers)
		try_cut(&w, cuts[i]);
	free(cuts);
	view_close(&w.view);
	unlink(w.contents);
	if (opt.fs)
		rmdir(w.mount);
	printf("worker %u: %zu of %zu cuts of %zu entries, %zu states, %zu failed, at most %" PRIu64 " clusters leaked\n", index,
	       (nr + nr_workers - 1 - index) / nr_workers, nr, w.log.nr_entries, w.nr_states, w.nr_failed, w.most_leaked);
	return w.nr_failed ? 1 : 0;
}

static int cmd_verify(int argc, char **argv)
{
	unsigned int i, nr_workers = argc - 2;
	int status, rc = 0;

	for (i = 0; i < nr_workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid)
			exit(work(argv[0], argv[1], argv[2 + i], i, nr_workers));
	}
	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			rc = 1;
	return rc;
}

static int cmd_list(char **argv)
{
	static const char *const kinds[] = { "write", "fua", "flush", "mark" };
	struct log log;
	size_t i;

	log_open(&log, argv[0]);
	for (i = 0; i < log.nr_entries; i++) {
		const struct entry *e = &log.entries[i];

		printf("%zu %s%s%s %" PRIu64 " %" PRIu64 " %.*s\n", i, e->is_discard ? "discard " : "", kinds[e->kind],
		       e->is_metadata ? " metadata" : "", e->sector, e->nr_sectors, (int)e->mark_bytes,
		       e->mark ? e->mark : "");
	}
	return 0;
}

static int cmd_apply(char **argv)
{
	struct state st;
	struct log log;
	size_t end = strtoull(argv[2], NULL, 0);

	log_open(&log, argv[0]);
	state_open(&st, argv[1], &log, NULL);
	state_advance(&st, end < log.nr_entries ? end : log.nr_entries);
	return 0;
}

/* A raw image with a stamp of version 0 in each sector. */
static int cmd_stamp(char **argv)
{
	uint64_t sector, nr = strtoull(argv[1], NULL, 0);
	FILE *file = fopen(argv[0], "w");
	uint64_t buf[SECTOR_BYTES / sizeof(uint64_t)];

	for (sector = 0; file && sector < nr; sector++) {
		stamp_make(buf, sector, 0);
		if (fwrite(buf, sizeof(buf), 1, file) != 1)
			err(1, "%s", argv[0]);
	}
	if (!file || fclose(file))
		err(1, "%s", argv[0]);
	return 0;
}

static int cmd_instant(char **argv)
{
	struct journal j;

	journal_load(&j, argv[0]);
	return instant_verify(&j, argv[1]) ? 1 : 0;
}

static _Noreturn void usage(void)
{
	fputs("usage: crash-replay list LOG\n"
	      "       crash-replay apply LOG TARGET NR-OF-ENTRIES\n"
	      "       crash-replay stamp FILE SECTORS\n"
	      "       crash-replay instant JOURNAL DISK\n"
	      "       crash-replay [--fs TYPE --image NAME] [--cuts N] [--subsets N] [--seed N] [--start MARK]\n"
	      "                    [--unit SECTORS] [--at-sector N] [--max-leak CLUSTERS] [--warm LIBRARY]\n"
	      "                    [--old BYTE] [--stamped SECTORS] [--whole 0|1] [--shell IMAGE] [--data-at BYTES]\n"
	      "                    verify LOG JOURNAL TARGET[,COW]...\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	int i = options_parse(argc, argv, options);
	int left = argc - i - 1;

	if (i < 0 || left < 1 || !opt.fs != !opt.image || !opt.unit)
		usage();
	if (!strcmp(argv[i], "list") && left == 1)
		return cmd_list(argv + i + 1);
	if (!strcmp(argv[i], "apply") && left == 3)
		return cmd_apply(argv + i + 1);
	if (!strcmp(argv[i], "stamp") && left == 2)
		return cmd_stamp(argv + i + 1);
	if (!strcmp(argv[i], "instant") && left == 2)
		return cmd_instant(argv + i + 1);
	if (!strcmp(argv[i], "verify") && left >= 3)
		return cmd_verify(left, argv + i + 1);
	usage();
}
