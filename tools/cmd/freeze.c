// SPDX-License-Identifier: GPL-2.0-only
/* vblk-freeze, vblk-thaw: a device that shows a disk as it was, while that goes on. */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "attached.h"
#include "cmd.h"
#include "disk/holder.h"
#include "disk/view.h"
#include "err.h"
#include "out.h"
#include "server/state.h"
#include "size.h"

#define MIB		(1ULL << 20)
#define DEFAULT_MEMORY	(256 * MIB)
#define MAX_MEMORY	(65536 * MIB)

static const char freeze_help[] =
"Usage: vblk-freeze [--memory SIZE] [--json] DISK\n"
"\n"
"Make a read-only device NAME-frozen that shows the disk as it is now, while it\n"
"is in use and goes on. vblk-thaw ends it.\n"
"\n"
"      --memory SIZE      of the kernel's, that it may take; default 256M\n"
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
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static const struct option thaw_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{}
};

static int report_frozen(const char *name)
{
	err_report(VBLK_BUSY, name, "it is frozen already");
	err_hint_command("vblk-thaw", name, NULL);
	return VBLK_BUSY;
}

static int check_disk(const struct attached *a)
{
	const char *name = a->d.name;
	struct dmdev view, other;
	int err, ret;

	ret = attached_check_sound(a);
	if (ret)
		return ret;
	err = view_find(&a->d, &view);
	if (!err)
		return report_frozen(name);
	if (err == -ENXIO)
		err = dmdev_find_name(view.name, &other) ? 0 : -EBUSY;
	if (err)
		return err_errno(-err, name, "cannot make the device %s", view.name);
	return attached_check_resumed(a);
}

static int report_refusal(const char *name, int err)
{
	switch (err) {
	case -EBUSY:
		return report_frozen(name);
	case -EAGAIN:
		return err_report(VBLK_BUSY, name, "it is being suspended");
	case -EOPNOTSUPP:
		return err_report(VBLK_UNSUPPORTED, name, "its image has an external data file");
	case -EINVAL:
		return err_report(VBLK_UNSUPPORTED, name, "the module that is loaded cannot freeze");
	default:
		return err_errno(-err, name, "cannot freeze it");
	}
}

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

static int freeze_locked(struct attached *a, uint64_t memory, bool as_json)
{
	char message[32];
	struct dmdev view;
	int err, ret;

	ret = check_disk(a);
	if (ret)
		return ret;
	cmd_block_signals();
	snprintf(message, sizeof(message), "freeze %ju", (uintmax_t)(memory / MIB));
	err = dmdev_message(a->d.name, message);
	if (err)
		return report_refusal(a->d.name, err);
	err = view_create(&a->d, a->bytes >> 9, &view);
	if (!err)
		return print_view(a, &view, as_json);
	ret = err_errno(-err, a->d.name, "cannot make the device %s", view.name);
	dmdev_message(a->d.name, "thaw");
	return ret;
}

static int freeze(const char *disk, uint64_t memory, bool as_json)
{
	struct attached a;
	int lock, ret;

	ret = attached_lock(disk, &a, &lock);
	if (ret)
		return ret;
	ret = freeze_locked(&a, memory, as_json);
	state_unlock(a.d.uuid, lock);
	return ret;
}

static int check_memory(uint64_t memory)
{
	if (memory < MIB || memory > MAX_MEMORY)
		return err_report(VBLK_USAGE, "--memory", "from 1M to 64G");
	return VBLK_OK;
}

/** cmd_freeze() - the verb */
int cmd_freeze(int argc, char **argv)
{
	uint64_t memory = DEFAULT_MEMORY;
	bool as_json = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", freeze_options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			if (size_parse("--memory", optarg, &memory) || check_memory(memory))
				return cmd_usage_error("freeze");
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
	return ret ? ret : freeze(argv[optind], memory, as_json);
}

static int remove_view(const struct dmdev *view)
{
	char who[512];
	int err = dmdev_remove(view->name);

	if (err == -EBUSY && holder_of_device(view->dev, 0, who, sizeof(who)))
		return err_report(VBLK_BUSY, view->name, "in use: %s", who);
	return err ? err_errno(-err, view->name, "cannot remove the device") : VBLK_OK;
}

static int thaw_locked(struct attached *a)
{
	bool is_shown;
	struct dmdev view;
	int err, ret;

	cmd_block_signals();
	is_shown = view_find(&a->d, &view) == 0;
	ret = is_shown ? remove_view(&view) : VBLK_OK;
	if (ret)
		return ret;
	err = dmdev_message(a->d.name, "thaw");
	/* It may have ended by itself. */
	if (err == -ENODATA || (err == -ENXIO && is_shown))
		return is_shown ? VBLK_OK :
				  err_report(VBLK_NOT_FOUND, a->d.name, "it is not frozen");
	return err ? err_errno(-err, a->d.name, "cannot thaw it") : VBLK_OK;
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
	ret = thaw_locked(&a);
	state_unlock(a.d.uuid, lock);
	return ret;
}
