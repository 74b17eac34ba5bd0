// SPDX-License-Identifier: GPL-2.0-only
/* vblk-freeze, vblk-thaw: a device that shows a disk as it was, while that goes on. */
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>

#include "backup/mark.h"
#include "bitmap-change.h"
#include "cmd.h"
#include "disk/view.h"
#include "err.h"
#include "out.h"
#include "server/state.h"
#include "view-use.h"

static const char freeze_help[] =
"Usage: vblk-freeze [OPTION...] DISK\n"
"\n"
"Make a read-only device NAME-frozen that shows the disk as it is now, while it\n"
"is in use and goes on. vblk-thaw ends it.\n"
"\n"
"      --memory SIZE      of the kernel's, that it may take\n"
"      --bitmap-new BITMAP  record what changes from that instant on\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

static const char thaw_help[] =
"Usage: vblk-thaw DISK\n"
"\n"
"Remove the device that vblk-freeze has made.\n"
"\n"
"  -h, --help             print this\n";

static const struct option freeze_options[] = {
	{ "memory", required_argument, NULL, 'm' },
	{ "bitmap-new", required_argument, NULL, 'b' },
	{ "dry-run", no_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static const struct option thaw_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line of vblk-freeze
 * @memory: for the instant
 * @bitmap: to begin with the instant, or NULL
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 */
struct args {
	uint64_t memory;
	const char *bitmap;
	bool is_dry;
	bool as_json;
};

static int print_view(const struct attached *a, const struct dmdev *view, bool as_json)
{
	char path[sizeof(DMDEV_DIR) + sizeof(view->name)];
	json_object *o;

	snprintf(path, sizeof(path), DMDEV_DIR "%s", view->name);
	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(a->d.name));
		json_object_object_add(o, "frozen", json_object_new_string(path));
		out_json(o);
	} else {
		printf("frozen: %s\n", path);
	}
	return out_flush();
}

/* There is none of that name. */
static int plan_view(const struct attached *a, struct dmdev *view)
{
	int ret = view_check_disk(a);

	if (!ret)
		view_find(&a->d, view);
	return ret;
}

static int freeze_locked(struct attached *a, const struct args *args)
{
	struct dmdev view;
	int ret;

	cmd_block_signals();
	ret = args->is_dry ? plan_view(a, &view) : view_freeze(a, args->memory, &view);
	/* What has changed between the bitmap and the instant. */
	if (!ret && args->bitmap && !args->is_dry)
		ret = bitmap_use(a, args->bitmap, view.name);
	return ret ? ret : print_view(a, &view, args->as_json);
}

static int make_bitmap(const char *disk, const struct args *args)
{
	const struct bitmap_new new = { .bitmap = args->bitmap, .is_dry = args->is_dry };
	char token[TOKEN_SIZE];
	struct attached a;
	int ret;

	if (token_of_bitmap(new.bitmap, token))
		return err_report(VBLK_USAGE, new.bitmap, "such names are for vblk-backup's bitmaps");
	ret = attached_find(disk, &a);
	if (!ret)
		ret = view_check_disk(&a);
	return ret ? ret : bitmap_make(&a, &new);
}

static int freeze(const char *disk, const struct args *args)
{
	struct attached a;
	int lock, ret;

	ret = args->bitmap ? make_bitmap(disk, args) : VBLK_OK;
	if (!ret)
		ret = attached_lock(disk, &a, &lock);
	if (ret)
		return ret;
	ret = freeze_locked(&a, args);
	state_unlock(a.d.uuid, lock);
	return ret;
}

/** cmd_freeze() - the verb */
int cmd_freeze(int argc, char **argv)
{
	struct args args = {};
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", freeze_options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			if (view_parse_memory(optarg, &args.memory))
				return cmd_usage_error("freeze");
			break;
		case 'b':
			args.bitmap = optarg;
			break;
		case 'd':
			args.is_dry = true;
			break;
		case 'j':
			args.as_json = true;
			break;
		case 'h':
			fputs(freeze_help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("freeze");
		}
	}
	if (optind + 1 != argc) {
		err_report(VBLK_USAGE, argv[optind + (optind < argc)], "needs the NAME of one disk");
		return cmd_usage_error("freeze");
	}
	ret = dmdev_init();
	return ret ? ret : freeze(argv[optind], &args);
}

/** cmd_thaw() - the verb */
int cmd_thaw(int argc, char **argv)
{
	struct attached a;
	int lock, opt, ret;

	while ((opt = getopt_long(argc, argv, "h", thaw_options, NULL)) != -1) {
		if (opt != 'h')
			return cmd_usage_error("thaw");
		fputs(thaw_help, stdout);
		return out_flush();
	}
	if (optind + 1 != argc) {
		err_report(VBLK_USAGE, argv[optind + (optind < argc)], "needs the NAME of one disk");
		return cmd_usage_error("thaw");
	}
	ret = dmdev_init();
	if (!ret)
		ret = attached_lock(argv[optind], &a, &lock);
	if (ret)
		return ret;
	cmd_block_signals();
	ret = view_thaw(&a);
	state_unlock(a.d.uuid, lock);
	return ret;
}
