// SPDX-License-Identifier: GPL-2.0-only
/* vblk-snapshot: the image of a disk stays as it is, and an overlay takes what is written. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "err.h"
#include "out.h"
#include "server/state.h"
#include "snapshot.h"

static const char help[] =
"Usage: vblk-snapshot [--dry-run] [--json] [--file PATH] DISK [SNAPSHOT]\n"
"       vblk-snapshot [--dry-run] [--json] [--file PATH] --revert SNAPSHOT DISK\n"
"       vblk-snapshot [--dry-run] [--json] --delete SNAPSHOT DISK\n"
"       vblk-snapshot [--json] --list DISK\n"
"\n"
"Leave a disk's image as it is now, and write to a new overlay from here on. A\n"
"guest that runs does not notice.\n"
"\n"
"      --file PATH        name the overlay; else it is named as the image, with\n"
"                         SNAPSHOT in the place of the suffix\n"
"      --revert SNAPSHOT  give the disk, which nobody uses, that state again\n"
"      --delete SNAPSHOT  forget it: the disk, which nobody uses, stays as it is\n"
"      --list             the snapshots of the disk, the newest first\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

enum option_id {
	OPT_FILE = 0x100,
	OPT_REVERT,
	OPT_DELETE,
	OPT_LIST,
	OPT_DRY_RUN,
	OPT_JSON,
};

static const struct option options[] = {
	{ "file", required_argument, NULL, OPT_FILE },
	{ "revert", required_argument, NULL, OPT_REVERT },
	{ "delete", required_argument, NULL, OPT_DELETE },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @file: path of the overlay, or NULL
 * @revert: the snapshot to go back to, or NULL
 * @delete: the snapshot to forget, or NULL
 * @snapshot: name of a new one
 * @is_list: print what there is
 * @is_dry: nothing is to be changed
 * @as_json: as JSON
 * @help: print the help
 */
struct args {
	const char *file;
	const char *revert;
	const char *delete;
	const char *snapshot;
	bool is_list;
	bool is_dry;
	bool as_json;
	bool help;
};

static int check_args(struct args *args, int argc, char **argv)
{
	bool is_old = args->is_list || args->revert || args->delete;

	if (optind == argc)
		return err_report(VBLK_USAGE, NULL, "needs the NAME of a disk");
	args->snapshot = argv[optind + 1];
	if (args->snapshot && (is_old || optind + 2 < argc))
		return err_report(VBLK_USAGE, argv[argc - 1], "unexpected argument");
	if (args->is_list + !!args->revert + !!args->delete > 1)
		return err_report(VBLK_USAGE, NULL, "one of --revert, --delete and --list");
	if (args->file && (args->is_list || args->delete))
		return err_report(VBLK_USAGE, "--file", "goes with a new overlay only");
	if (args->is_dry && args->is_list)
		return err_report(VBLK_USAGE, "--dry-run", "there is nothing to change");
	return VBLK_OK;
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_FILE:
			args->file = optarg;
			break;
		case OPT_REVERT:
			args->revert = optarg;
			break;
		case OPT_DELETE:
			args->delete = optarg;
			break;
		case OPT_LIST:
			args->is_list = true;
			break;
		case OPT_DRY_RUN:
			args->is_dry = true;
			break;
		case OPT_JSON:
			args->as_json = true;
			break;
		case 'h':
			args->help = true;
			return VBLK_USAGE;
		default:
			return VBLK_USAGE;
		}
	}
	return check_args(args, argc, argv);
}

static int check_name(const char *snapshot)
{
	if (snapshot && (!*snapshot || strchr(snapshot, '/')))
		return err_report(VBLK_USAGE, snapshot, "not a name for a snapshot: %s",
				  *snapshot ? "it has a slash in it" : "it is empty");
	return VBLK_OK;
}

static int go_over(struct change *c, void *unused)
{
	(void)unused;
	return change_switch(c, 0);
}

/**
 * snapshot_switch() - have the disk go on with an overlay on its image, and with the bitmaps of that
 *
 * QEMU takes a moment for each bitmap, in which a guest waits. Return: as change_switch().
 */
int snapshot_switch(struct change *c)
{
	return change_has_bitmaps(c) ? change_apart(c, go_over, NULL, "it went over to the overlay") :
				       change_switch(c, 0);
}

static int print_made(const struct change *c, bool as_json)
{
	struct snapshot s = { .image = c->chain.list[0].path, .overlay = c->overlay.path };

	s.name = snapshot_name(s.image, s.overlay);
	return snapshot_print(&c->a, &s, as_json);
}

static int make(struct change *c, const struct args *args)
{
	const char *suffix = args->snapshot;
	int ret;

	ret = change_begin(c);
	if (!ret)
		ret = change_read_bitmaps(c);
	if (!ret)
		ret = suffix ? change_name_overlay(c, 0, suffix, args->file) :
			       change_name_overlay_by_time(c, 0, "", args->file);
	if (!ret && args->is_dry)
		ret = change_check_overlay(c, 0);
	else if (!ret)
		ret = change_make_overlay(c, 0);
	if (!ret && !args->is_dry)
		ret = snapshot_switch(c);
	return ret ? ret : print_made(c, args->as_json);
}

static int change(const char *disk, const struct args *args)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = attached_lock(disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	cmd_block_signals();
	c.is_dry = args->is_dry;
	if (args->revert)
		ret = snapshot_revert(&c, args->revert, args->file, args->as_json);
	else if (args->delete)
		ret = snapshot_delete(&c, args->delete, args->as_json);
	else
		ret = make(&c, args);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

static int list(const char *disk, bool as_json)
{
	struct attached a;
	int ret = attached_find(disk, &a);

	return ret ? ret : snapshot_list(&a, as_json);
}

/** cmd_snapshot() - the verb */
int cmd_snapshot(int argc, char **argv)
{
	struct args args = {};
	int ret;

	ret = parse(&args, argc, argv);
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	if (!ret)
		ret = check_name(args.snapshot);
	if (ret)
		return cmd_usage_error("snapshot");
	ret = dmdev_init();
	if (ret)
		return ret;
	return args.is_list ? list(argv[optind], args.as_json) : change(argv[optind], &args);
}
