// SPDX-License-Identifier: GPL-2.0-only
/* vblk-bitmap: which changes of a disk are recorded. */
#include <getopt.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/child.h"
#include "backup/mark.h"
#include "bitmap-change.h"
#include "cmd.h"
#include "disk/bitmaps.h"
#include "err.h"
#include "out-chain.h"
#include "out.h"
#include "server/state.h"
#include "size.h"
#include "snapshot.h"

#define MIN_GRANULARITY		512
#define MAX_GRANULARITY		(2ULL << 30)

static const char help[] =
"Usage: vblk-bitmap add [OPTION...] DISK BITMAP\n"
"       vblk-bitmap remove|enable|disable|clear [--dry-run] DISK BITMAP\n"
"       vblk-bitmap merge [--dry-run] DISK FROM INTO\n"
"       vblk-bitmap list [--json] DISK\n"
"\n"
"Record which parts of a disk change, for incremental backups.\n"
"\n"
"      --granularity SIZE  of the disk that a bit stands for; else 64K\n"
"      --disabled          record nothing yet\n"
"      --dry-run           check everything, print the result, change nothing\n"
"      --json              print JSON\n"
"  -h, --help              print this\n";

static const struct option options[] = {
	{ "granularity", required_argument, NULL, 'g' },
	{ "disabled", no_argument, NULL, 'd' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @verb: what to do
 * @request: the same for qemu-img, and to what
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 * @help: print the help
 * @disk: the disk
 */
struct args {
	const struct bitmap_verb *verb;
	struct bitmap_request request;
	bool is_dry;
	bool as_json;
	bool help;
	const char *disk;
};

/**
 * struct bitmap_verb - something that can be done to bitmaps
 * @name: as it is called
 * @nr_args: behind it
 * @option: of qemu-img bitmap
 * @done: when that is done to one
 * @is_taken_in_use: it does something to a bitmap that says nothing any more
 * @keeps: a bitmap that says what has changed since a backup says that as before
 */
static const struct bitmap_verb {
	const char *name;
	int nr_args;
	const char *option;
	const char *done;
	bool is_taken_in_use;
	bool keeps;
} verbs[] = {
	{ "add", 2, "--add", "added", false, false },
	{ "remove", 2, "--remove", "removed", true, true },
	{ "enable", 2, "--enable", "enabled", false, false },
	{ "disable", 2, "--disable", "disabled", false, false },
	{ "clear", 2, "--clear", "cleared", false, false },
	{ "merge", 3, "--merge", "merged", false, true },
	{ "list", 1, NULL, NULL, false, true },
	{}
};

static bool is(const struct args *args, const char *verb)
{
	return !strcmp(args->verb->name, verb);
}

static int check_name(const char *name)
{
	if (!*name || strlen(name) >= BITMAP_NAME_SIZE)
		return err_report(VBLK_USAGE, name, "not a name for a bitmap: %s",
				  *name ? "it is too long" : "it is empty");
	return VBLK_OK;
}

static int find_verb(struct args *args, const char *word)
{
	for (args->verb = verbs; args->verb->name; args->verb++)
		if (!strcmp(args->verb->name, word))
			return VBLK_OK;
	return err_report(VBLK_USAGE, word, "not something to do to a bitmap");
}

static int check_args(struct args *args, int argc, char **argv)
{
	int ret;

	if (optind == argc)
		return err_report(VBLK_USAGE, NULL, "needs to be told what to do");
	ret = find_verb(args, argv[optind++]);
	if (ret)
		return ret;
	if (argc - optind != args->verb->nr_args)
		return err_report(VBLK_USAGE, args->verb->name, "needs %d argument%s",
				  args->verb->nr_args, args->verb->nr_args > 1 ? "s" : "");
	if ((args->request.granularity || args->request.is_disabled) && !is(args, "add"))
		return err_report(VBLK_USAGE, args->verb->name, "makes no bitmap");
	if (args->as_json && !is(args, "list"))
		return err_report(VBLK_USAGE, "--json", "goes with list only");
	if (args->is_dry && is(args, "list"))
		return err_report(VBLK_USAGE, "--dry-run", "there is nothing to change");
	args->disk = argv[optind];
	args->request.option = args->verb->option;
	/* QEMU would take less for smaller clusters. */
	if (is(args, "add") && !args->request.granularity)
		args->request.granularity = BITMAP_GRANULARITY;
	args->request.bitmap = argv[argc - 1];
	args->request.from = is(args, "merge") ? argv[optind + 1] : NULL;
	if (is(args, "list"))
		return VBLK_OK;
	ret = check_name(args->request.bitmap);
	return ret || !args->request.from ? ret : check_name(args->request.from);
}

static int check_granularity(uint64_t bytes)
{
	if (bytes < MIN_GRANULARITY || bytes > MAX_GRANULARITY || bytes & (bytes - 1))
		return err_report(VBLK_USAGE, "--granularity", "a power of two from 512 to 2G");
	return VBLK_OK;
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'g':
			if (size_parse("--granularity", optarg, &args->request.granularity) ||
			    check_granularity(args->request.granularity))
				return VBLK_USAGE;
			break;
		case 'd':
			args->request.is_disabled = true;
			break;
		case 'n':
			args->is_dry = true;
			break;
		case 'j':
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

/* What there is */

static void print_json(const struct attached *a, const struct bitmaps *b)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array(), *one;

	for (size_t i = 0; i < b->n; i++) {
		const struct bitmap *bitmap = &b->list[i];

		one = json_object_new_object();
		json_object_object_add(one, "bitmap", json_object_new_string(bitmap->name));
		json_object_object_add(one, "state",
				       json_object_new_string(bitmap_state_name(bitmap->state)));
		json_object_object_add(one, "granularity_bytes",
				       out_bytes_json(bitmap->granularity));
		json_object_object_add(one, "dirty_bytes",
				       bitmap->is_counted ?
				       out_bytes_json(bitmap->dirty_bytes) : NULL);
		json_object_array_add(list, one);
	}
	json_object_object_add(o, "name", json_object_new_string(a->d.name));
	json_object_object_add(o, "bitmaps", list);
	out_json(o);
}

static int add_line(struct libscols_table *tb, const struct bitmap *bitmap)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	char granularity[16], dirty[16] = "-";

	out_format_bytes(bitmap->granularity, granularity, sizeof(granularity));
	if (bitmap->is_counted)
		out_format_bytes(bitmap->dirty_bytes, dirty, sizeof(dirty));
	if (!ln || scols_line_set_data(ln, 0, bitmap->name) ||
	    scols_line_set_data(ln, 1, bitmap_state_name(bitmap->state)) ||
	    scols_line_set_data(ln, 2, granularity) || scols_line_set_data(ln, 3, dirty))
		return -ENOMEM;
	return 0;
}

static int print_table(const struct bitmaps *b)
{
	struct libscols_table *tb = scols_new_table();
	int err = 0;

	if (!tb)
		return -ENOMEM;
	if (!scols_table_new_column(tb, "BITMAP", 8, 0) ||
	    !scols_table_new_column(tb, "STATE", 8, 0) ||
	    !scols_table_new_column(tb, "GRANULARITY", 8, SCOLS_FL_RIGHT) ||
	    !scols_table_new_column(tb, "DIRTY", 8, SCOLS_FL_RIGHT))
		err = -ENOMEM;
	for (size_t i = 0; i < b->n && !err; i++)
		err = add_line(tb, &b->list[i]);
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

static int read_bitmaps(const struct attached *a, const struct live_chain *chain,
			struct bitmaps *b)
{
	int err = bitmaps_of_disk(a->d.name, chain->list[0].fd, b);

	return err ? err_errno(-err, a->d.name, "cannot read its bitmaps") : VBLK_OK;
}

static int list(const struct args *args)
{
	struct live_chain chain = {};
	struct bitmaps b = {};
	struct attached a;
	int ret;

	ret = attached_find(args->disk, &a);
	if (!ret)
		ret = attached_check_sound(&a);
	if (ret)
		return ret;
	ret = live_open(&a.d, &chain);
	if (!ret)
		ret = read_bitmaps(&a, &chain, &b);
	if (!ret && args->as_json)
		print_json(&a, &b);
	else if (!ret && print_table(&b))
		ret = err_report(VBLK_FAILED, a.d.name, "cannot print its bitmaps");
	bitmaps_free(&b);
	live_close(&chain);
	return ret ? ret : out_flush();
}

/* What is done to them */

static int check_one(const struct change *c, const struct bitmaps *b, const char *name,
		     bool is_taken_in_use)
{
	const struct bitmap *bitmap = bitmaps_find(b, name);

	if (!bitmap) {
		err_report(VBLK_NOT_FOUND, c->a.d.name, "it has no bitmap '%s'", name);
		err_hint_command("vblk-bitmap", "list", c->a.d.name, NULL);
		return VBLK_NOT_FOUND;
	}
	if (bitmap->state != BITMAP_IN_USE || is_taken_in_use)
		return VBLK_OK;
	err_report(VBLK_DAMAGED, c->a.d.name,
		   "bitmap '%s' was left in use, and says nothing any more", name);
	err_hint_command("vblk-bitmap", "remove", c->a.d.name, name, NULL);
	return VBLK_DAMAGED;
}

static bool makes_recording(const struct args *args)
{
	return is(args, "enable") || (is(args, "add") && !args->request.is_disabled);
}

static bool has_room(const struct change *c, const struct bitmap_request *r,
		     const struct bitmaps *b)
{
	const struct bitmap *bitmap = bitmaps_find(b, r->bitmap);
	uint64_t granularity = r->granularity ?: BITMAP_GRANULARITY;

	if (bitmap && bitmap->state == BITMAP_RECORDS)
		return true;
	return bitmaps_have_room(b, c->chain.sectors << 9,
				 bitmap ? bitmap->granularity : granularity);
}

static int check(const struct change *c, const struct args *args)
{
	const struct bitmap_request *r = &args->request;
	struct bitmaps b = {};
	int ret;

	ret = read_bitmaps(&c->a, &c->chain, &b);
	if (!ret && makes_recording(args) && !has_room(c, r, &b))
		ret = err_report(VBLK_UNSUPPORTED, c->a.d.name,
				 "no more bitmaps can record, or not so finely");
	else if (!ret && is(args, "add") && bitmaps_find(&b, r->bitmap))
		ret = err_report(VBLK_BUSY, c->a.d.name, "it has a bitmap '%s'", r->bitmap);
	else if (!ret && !is(args, "add"))
		ret = check_one(c, &b, r->bitmap, args->verb->is_taken_in_use);
	if (!ret && r->from)
		ret = check_one(c, &b, r->from, false);
	bitmaps_free(&b);
	return ret;
}

/* One that said less than has changed since its backup would be believed. */
static int check_kept(const struct args *args)
{
	char token[TOKEN_SIZE];

	if (args->verb->keeps || !token_of_bitmap(args->request.bitmap, token))
		return VBLK_OK;
	err_report(VBLK_UNSUPPORTED, args->disk,
		   "bitmap '%s' says what has changed since a backup, and is vblk-backup's",
		   args->request.bitmap);
	err_hint_command("vblk-bitmap", "remove", args->disk, args->request.bitmap, NULL);
	return VBLK_UNSUPPORTED;
}

static int say_plan(const struct change *c, const struct args *args)
{
	const struct bitmap_request *r = &args->request;

	if (r->from)
		printf("%s: bitmap '%s' would be merged into '%s'\n", c->a.d.name, r->from, r->bitmap);
	else
		printf("%s: bitmap '%s' would be %s\n", c->a.d.name, r->bitmap, args->verb->done);
	return out_flush();
}

static int apply(struct change *c, const struct args *args)
{
	int ret;

	c->may_be_suspended = true;
	c->may_have_data_file = true;
	c->is_dry = args->is_dry;
	ret = change_begin(c);
	if (!ret && c->a.d.is_suspended && !c->is_dry)
		ret = bitmap_resume(c);
	if (!ret)
		ret = check(c, args);
	if (!ret && is(args, "add"))
		ret = bitmap_check_space(c);
	if (!ret && c->is_dry)
		return child_check("qemu-img") ?: say_plan(c, args);
	return ret ? ret : bitmap_change(c, &args->request);
}

static int change(const struct args *args)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = check_kept(args);
	if (!ret)
		ret = attached_lock(args->disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = apply(&c, args);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/** cmd_bitmap() - the verb */
int cmd_bitmap(int argc, char **argv)
{
	struct args args = {};
	int ret;

	ret = parse(&args, argc, argv);
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	if (ret)
		return cmd_usage_error("bitmap");
	ret = dmdev_init();
	if (ret)
		return ret;
	return is(&args, "list") ? list(&args) : change(&args);
}
