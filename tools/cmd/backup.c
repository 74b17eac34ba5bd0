// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-backup: a copy of a disk in use, as it was at one instant.
 *
 *	target - lock - [CMD freeze] - freeze - [CMD thaw] - unlock - copy - [verify] - thaw - name
 *
 * The disk is locked only to be frozen and thawed: meanwhile other verbs see that it is frozen, and that we
 * have what shows it. It is thawed before anything else waits for the target. Killed anywhere it leaves a frozen
 * disk at most, which vblk-thaw thaws.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup-level.h"
#include "backup/cancel.h"
#include "backup/copy.h"
#include "backup/fsfreeze.h"
#include "cmd.h"
#include "disk/bitmaps.h"
#include "err.h"
#include "out.h"
#include "progress.h"
#include "server/state.h"
#include "size.h"
#include "view-use.h"

static const char help[] =
"Usage: vblk-backup [OPTION...] DISK TARGET\n"
"\n"
"Copy the disk as it is now, while it is in use and goes on, to a file, a block\n"
"device, or an NBD server.\n"
"\n"
"      --format FORMAT    of a file or device: qcow2, the default, or raw\n"
"  -c, --compress         compress the clusters of a qcow2 file\n"
"      --bitmap BITMAP    copy what has changed since the last one by it, to an\n"
"                         overlay of that; all of it the first time\n"
"      --level LEVEL      with --bitmap: auto, full or incremental\n"
"      --bandwidth SIZE   bytes a second at most\n"
"      --fsfreeze CMD     run `CMD freeze' before the instant, `CMD thaw' after\n"
"      --verify           read the copy, and compare it\n"
"      --force            over a file that is there, or what is on a device\n"
"      --memory SIZE      of the kernel's, that it may take\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --progress MODE    auto (a bar on a terminal), none, plain or json\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

enum option_id {
	OPT_FORMAT = 0x100,
	OPT_BANDWIDTH,
	OPT_FSFREEZE,
	OPT_VERIFY,
	OPT_FORCE,
	OPT_MEMORY,
	OPT_BITMAP,
	OPT_LEVEL,
	OPT_PROGRESS,
	OPT_DRY_RUN,
	OPT_JSON,
};

static const struct option options[] = {
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "compress", no_argument, NULL, 'c' },
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "fsfreeze", required_argument, NULL, OPT_FSFREEZE },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "bitmap", required_argument, NULL, OPT_BITMAP },
	{ "level", required_argument, NULL, OPT_LEVEL },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @format: of a file or device, or NULL
 * @compresses: its clusters are to be compressed
 * @bandwidth: bytes a second, or 0
 * @fsfreeze: a command, or NULL
 * @verifies: compare the copy
 * @force: over what is there
 * @memory: for the instant
 * @bitmap: what has changed, or NULL
 * @level: how much is copied, by that
 * @progress: how to show how far it is
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 * @help: print the help
 */
struct args {
	const char *format;
	bool compresses;
	uint64_t bandwidth;
	const char *fsfreeze;
	bool verifies;
	bool force;
	uint64_t memory;
	const char *bitmap;
	enum level level;
	enum progress_mode progress;
	bool is_dry;
	bool as_json;
	bool help;
};

static int parse_option(struct args *args, int opt)
{
	switch (opt) {
	case OPT_FORMAT:
		args->format = optarg;
		if (strcmp(optarg, "raw") != 0 && strcmp(optarg, "qcow2") != 0)
			return err_report(VBLK_USAGE, "--format", "qcow2 or raw");
		return VBLK_OK;
	case 'c':
		args->compresses = true;
		return VBLK_OK;
	case OPT_BANDWIDTH:
		return bandwidth_parse(optarg, &args->bandwidth);
	case OPT_FSFREEZE:
		args->fsfreeze = optarg;
		return VBLK_OK;
	case OPT_VERIFY:
		args->verifies = true;
		return VBLK_OK;
	case OPT_FORCE:
		args->force = true;
		return VBLK_OK;
	case OPT_MEMORY:
		return view_parse_memory(optarg, &args->memory);
	case OPT_BITMAP:
		args->bitmap = optarg;
		return *optarg && strlen(optarg) < BITMAP_NAME_SIZE ? VBLK_OK :
		       err_report(VBLK_USAGE, "--bitmap", "not a name for a bitmap");
	case OPT_LEVEL:
		return level_parse(optarg, &args->level);
	case OPT_PROGRESS:
		return progress_parse(optarg, &args->progress);
	case OPT_DRY_RUN:
		args->is_dry = true;
		return VBLK_OK;
	case OPT_JSON:
		args->as_json = true;
		return VBLK_OK;
	case 'h':
		args->help = true;
		return VBLK_OK;
	default:
		return VBLK_USAGE;
	}
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "ch", options, NULL)) != -1)
		if (parse_option(args, opt))
			return VBLK_USAGE;
	if (args->help)
		return VBLK_OK;
	if (optind + 2 != argc)
		return err_report(VBLK_USAGE, NULL, "needs the NAME of a disk and a TARGET");
	if (args->compresses && args->format && strcmp(args->format, "qcow2") != 0)
		return err_report(VBLK_USAGE, "-c", "goes with qcow2 only");
	if (args->bitmap && args->format && strcmp(args->format, "qcow2") != 0)
		return err_report(VBLK_USAGE, "--bitmap", "goes with qcow2 files only");
	/* Others may lie on what is there. */
	if (args->bitmap && args->force)
		return err_report(VBLK_USAGE, "--bitmap", "goes with a new file only");
	if (args->level != LEVEL_AUTO && !args->bitmap)
		return err_report(VBLK_USAGE, "--level", "goes with --bitmap");
	return VBLK_OK;
}

static int open_view(struct copy *c, const struct dmdev *view)
{
	char path[sizeof(DMDEV_DIR) + sizeof(view->name)];

	snprintf(path, sizeof(path), DMDEV_DIR "%s", view->name);
	/* Nobody is to mount it: as we go on it is of use to nobody else (pass_have_read()). */
	c->fd = open(path, O_RDONLY | O_DIRECT | O_EXCL | O_CLOEXEC);
	return c->fd < 0 ? err_errno(errno, view->name, "cannot open it") : VBLK_OK;
}

static void close_view(struct copy *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static int thaw_locked(struct attached *a, struct copy *c)
{
	int ret;

	close_view(c);
	ret = view_thaw(a);
	if (ret)
		err_hint_command("vblk-thaw", a->d.name, NULL);
	return ret;
}

static int thaw(struct attached *a, struct copy *c)
{
	int lock, ret;

	lock = state_lock(a->d.uuid);
	if (lock < 0) {
		close_view(c);
		return err_errno(-lock, STATE_DIR, "cannot lock");
	}
	ret = thaw_locked(a, c);
	state_unlock(a->d.uuid, lock);
	return ret;
}

/* The guest's file systems stand still for this and no longer. */
static int freeze_locked(struct attached *a, const struct args *args, struct copy *c,
			 struct dmdev *view)
{
	struct fsfreeze f = { .command = args->fsfreeze };
	int ret, thaw_ret;

	ret = view_check_disk(a);
	if (ret)
		return ret;
	ret = fsfreeze_begin(&f);
	if (!ret)
		ret = view_freeze(a, args->memory, view);
	thaw_ret = fsfreeze_end(&f);
	if (ret)
		return ret;
	ret = open_view(c, view);
	if (ret || thaw_ret)
		thaw_locked(a, c);
	return ret ? ret : thaw_ret;
}

static int freeze(struct attached *a, const struct args *args, struct copy *c, struct dmdev *view)
{
	struct attached now;
	int lock, ret;

	/* Others may have it for long. */
	cancel_wake_up(true);
	ret = attached_lock(a->d.name, &now, &lock);
	cancel_wake_up(false);
	if (ret)
		return ret;
	if (strcmp(now.d.uuid, a->d.uuid) != 0 || now.bytes != a->bytes)
		ret = err_report(VBLK_BUSY, a->d.name, "it has become another disk meanwhile");
	else
		ret = freeze_locked(&now, args, c, view);
	state_unlock(now.d.uuid, lock);
	return ret;
}

static int print_result(const struct copy *c, const struct target *t, bool as_json)
{
	char size[16];
	json_object *o;

	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(c->disk));
		json_object_object_add(o, "target", json_object_new_string(t->name));
		json_object_object_add(o, "size_bytes", out_bytes_json(c->size));
		json_object_object_add(o, "data_bytes", out_bytes_json(c->data_bytes));
		json_object_object_add(o, "base", t->below ? json_object_new_string(t->below) : NULL);
		out_json(o);
	} else {
		out_format_bytes(c->data_bytes, size, sizeof(size));
		printf("data: %s\n", size);
	}
	return out_flush();
}

/* What is there to be copied is not known before the instant, unless a bitmap says it. */
static int print_plan(const struct attached *a, const struct level_plan *level,
		      const struct target *t, bool as_json)
{
	const struct bitmap *bitmap = level->is_incremental ? bitmaps_find(&level->there, level->old) : NULL;
	bool is_counted = bitmap && bitmap->is_counted;
	char size[16];
	json_object *o;

	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(a->d.name));
		json_object_object_add(o, "target", json_object_new_string(t->name));
		json_object_object_add(o, "size_bytes", out_bytes_json(a->bytes));
		json_object_object_add(o, "data_bytes",
				       is_counted ? out_bytes_json(bitmap->dirty_bytes) : NULL);
		json_object_object_add(o, "base", t->below ? json_object_new_string(t->below) : NULL);
		out_json(o);
	} else {
		out_format_bytes(is_counted ? bitmap->dirty_bytes : a->bytes, size, sizeof(size));
		printf("data: %s%s\n", is_counted ? "" : "at most ", size);
		if (t->below)
			printf("base: %s\n", t->below);
	}
	return out_flush();
}

static int plan(const struct attached *a, const struct args *args, struct level_plan *plan)
{
	*plan = (struct level_plan){};
	return args->bitmap ? level_plan(a, args->bitmap, args->level, args->is_dry, plan) : VBLK_OK;
}

/* All that may be wrong, and nothing is made. */
static int run_dry(const struct attached *a, const struct args *args, const struct level_plan *level,
		   struct target *t)
{
	int ret;

	t->is_dry = true;
	ret = target_check(t);
	if (!ret && args->bitmap)
		ret = level_prepare(a, level);
	return ret ? ret : print_plan(a, level, t, args->as_json);
}

/* @thaw_ret: how the thaw has ended; the copy is whole all the same */
static int copy_frozen(struct attached *a, const struct args *args, const struct level_plan *level,
		       struct copy *c, struct target *t, int *thaw_ret)
{
	struct dmdev view;
	int ret;

	ret = freeze(a, args, c, &view);
	if (ret)
		return ret;
	c->view = view.name;
	if (args->bitmap)
		ret = level_begin(a, level, view.name);
	if (!ret)
		ret = copy_run(c, t);
	if (!ret && args->verifies)
		ret = copy_verify(c, t);
	if (ret == VBLK_DAMAGED && level->is_incremental)
		ret = level_report_differs(a, level);
	/* A target that never answers again is not waited for here. */
	*thaw_ret = thaw(a, c);
	c->view = NULL;
	return ret;
}

static int run(struct attached *a, const struct args *args, const struct level_plan *level,
	       struct copy *c, struct target *t)
{
	int ret, thaw_ret = VBLK_OK;
	bool has_bitmap = false;

	ret = target_open(t);
	if (ret)
		return ret;
	if (args->bitmap)
		ret = level_prepare(a, level);
	if (!ret) {
		has_bitmap = args->bitmap;
		ret = copy_frozen(a, args, level, c, t, &thaw_ret);
	}
	if (ret)
		target_abandon(t);
	else
		ret = target_finish(t);
	if (ret && has_bitmap)
		level_take_back(a, level);
	else if (!ret && has_bitmap)
		ret = level_note(a, level, t->name);
	return ret ? ret : thaw_ret;
}

static int run_and_print(struct attached *a, const struct args *args, const struct level_plan *level,
			 struct target *t)
{
	struct copy c = {
		.disk = a->d.name, .fd = -1, .size = a->bytes, .bandwidth = args->bandwidth,
		.bitmap = level->is_incremental ? level->old : NULL, .is_read_twice = args->verifies,
	};
	int ret = run(a, args, level, &c, t);

	return ret ? ret : print_result(&c, t, args->as_json);
}

static int backup(struct attached *a, const char *name, const struct args *args)
{
	struct target t = {
		.name = name, .disk = a->d.name, .bytes = a->bytes, .format = args->format ?: "qcow2",
		.is_compressed = args->compresses, .force = args->force,
	};
	struct level_plan level = {};
	int ret;

	/* First what may be wrong with either: the instant costs the guest something. */
	ret = view_check_disk(a);
	if (!ret)
		ret = plan(a, args, &level);
	t.below = level.is_incremental ? level.base : NULL;
	t.mark = args->bitmap ? &level.mark : NULL;
	if (!ret)
		ret = args->is_dry ? run_dry(a, args, &level, &t) : run_and_print(a, args, &level, &t);
	level_free(&level);
	return ret;
}

/** cmd_backup() - the verb */
int cmd_backup(int argc, char **argv)
{
	struct args args = {};
	struct attached a;
	int ret;

	ret = parse(&args, argc, argv);
	if (ret)
		return cmd_usage_error("backup");
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	ret = dmdev_init();
	if (!ret)
		ret = attached_find(argv[optind], &a);
	if (ret)
		return ret;
	cancel_init();
	progress_init(args.progress);
	return backup(&a, argv[optind + 1], &args);
}
