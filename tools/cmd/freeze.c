// SPDX-License-Identifier: GPL-2.0-only
/* vblk-freeze, vblk-thaw: a device that shows a disk as it was, while that goes on. */
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>

#include "backup/mark.h"
#include "bitmap-change.h"
#include "cmd.h"
#include "err.h"
#include "out.h"
#include "server/state.h"
#include "view-use.h"

static const char freeze_help[] =
"Usage: vblk-freeze [--memory SIZE] [--bitmap-new BITMAP] [--json] DISK\n"
"\n"
"Make a read-only device NAME-frozen that shows the disk as it is now, while it\n"
"is in use and goes on. vblk-thaw ends it.\n"
"\n"
"      --memory SIZE      of the kernel's, that it may take; default 256M\n"
"      --bitmap-new BITMAP  record what changes from that instant on\n"
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
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static const struct option thaw_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{}
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

static int freeze_locked(struct attached *a, uint64_t memory, const char *bitmap, bool as_json)
{
	struct dmdev view;
	int ret;

	cmd_block_signals();
	ret = view_freeze(a, memory, &view);
	/* What has changed between the bitmap and the instant. */
	if (!ret && bitmap)
		ret = bitmap_use(a, bitmap, view.name);
	return ret ? ret : print_view(a, &view, as_json);
}

static int make_bitmap(const char *disk, const char *bitmap)
{
	char token[TOKEN_SIZE];
	struct attached a;
	int ret;

	if (token_of_bitmap(bitmap, token))
		return err_report(VBLK_USAGE, bitmap, "such names are for vblk-backup's bitmaps");
	ret = attached_find(disk, &a);
	if (!ret)
		ret = view_check_disk(&a);
	return ret ? ret : bitmap_make(&a, &(struct bitmap_new){ .bitmap = bitmap });
}

static int freeze(const char *disk, uint64_t memory, const char *bitmap, bool as_json)
{
	struct attached a;
	int lock, ret;

	ret = bitmap ? make_bitmap(disk, bitmap) : VBLK_OK;
	if (!ret)
		ret = attached_lock(disk, &a, &lock);
	if (ret)
		return ret;
	ret = freeze_locked(&a, memory, bitmap, as_json);
	state_unlock(a.d.uuid, lock);
	return ret;
}

/** cmd_freeze() - the verb */
int cmd_freeze(int argc, char **argv)
{
	uint64_t memory = VIEW_DEFAULT_MEMORY;
	const char *bitmap = NULL;
	bool as_json = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", freeze_options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			if (view_parse_memory(optarg, &memory))
				return cmd_usage_error("freeze");
			break;
		case 'b':
			bitmap = optarg;
			break;
		case 'j':
			as_json = true;
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
	return ret ? ret : freeze(argv[optind], memory, bitmap, as_json);
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
