// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much of a disk a backup by a bitmap copies: what has changed since the backup whose token the bitmap has, if that
 * is there, and what it was; else all of it. Documentation/backup.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup-level.h"
#include "backup/history.h"
#include "backup/mark-chain.h"
#include "bitmap-change.h"
#include "disk/bitmaps.h"
#include "err.h"

/** level_parse() - read the value of --level; an exit code, reported */
int level_parse(const char *text, enum level *level)
{
	static const char *const names[] = {
		[LEVEL_AUTO] = "auto", [LEVEL_FULL] = "full", [LEVEL_INCREMENTAL] = "incremental",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			*level = i;
			return VBLK_OK;
		}
	return err_report(VBLK_USAGE, "--level", "auto, full or incremental");
}

/* Return: why it is not the backup of that token, as it was made, or NULL. */
static const char *judge_file(const char *token, int fd, const struct history *h)
{
	struct stat st;
	struct mark m;

	if (fstat(fd, &st) < 0 || !history_is_file(h, &st) || mark_read(fd, &m) ||
	    strcmp(m.token, token) != 0 || m.is_changed)
		return "the backup before has changed";
	return NULL;
}

static const char *judge_backup(const char *token, struct history *h, char text[MARK_WHY_BYTES])
{
	const char *why;
	int fd, err;

	err = history_read(token, h);
	if (err)
		return err == -ENOENT ? "no backup was made by it on this host" :
					"what was noted of the last backup cannot be read";
	fd = open(h->target, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return "the backup before is not there any more";
	why = judge_file(token, fd, h);
	close(fd);
	if (!why && !marks_are_right(h->target, text))
		why = text;
	return why;
}

static const char *judge_bitmap(const struct bitmap *bitmap, const char *token, struct history *h,
				char text[MARK_WHY_BYTES])
{
	switch (bitmap->state) {
	case BITMAP_IN_USE:
		return "it was left in use, and says nothing any more";
	case BITMAP_DISABLED:
		return "it records nothing";
	default:
		return judge_backup(token, h, text);
	}
}

/* Of several, which a backup that was cut short leaves, the newest. Return: why there is none, or NULL. */
static const char *judge(const struct bitmaps *b, const char *name, struct level_plan *plan,
			 char text[MARK_WHY_BYTES])
{
	const char *why = "the disk has no such bitmap", *one;
	char token[TOKEN_SIZE];
	struct history h;

	for (size_t i = 0; i < b->n; i++) {
		if (!token_is_of(b->list[i].name, name, token))
			continue;
		one = judge_bitmap(&b->list[i], token, &h, text);
		if (one && !*plan->base)
			why = one;
		if (one || h.mtime_ns < plan->base_mtime_ns)
			continue;
		why = NULL;
		plan->base_mtime_ns = h.mtime_ns;
		strcpy(plan->base, h.target);
		strcpy(plan->old, b->list[i].name);
		strcpy(plan->mark.base, token);
	}
	return why;
}

/* Whether the kernel can record in the one that it goes by and in the new one: all others by the name may go. */
static bool has_room_for_both(const struct attached *a, const char *name,
			      const struct level_plan *plan)
{
	struct bitmaps b = { .list = calloc(plan->there.n, sizeof(*b.list)) };
	char token[TOKEN_SIZE];
	bool is_so;

	for (size_t i = 0; b.list && i < plan->there.n; i++)
		if (!token_is_of(plan->there.list[i].name, name, token) ||
		    !strcmp(plan->there.list[i].name, plan->old))
			b.list[b.n++] = plan->there.list[i];
	is_so = bitmaps_have_room(&b, a->bytes, BITMAP_GRANULARITY);
	bitmaps_free(&b);
	return is_so;
}

static int read_bitmaps(const struct attached *a, struct bitmaps *b, bool *has_data_file)
{
	struct live_chain chain = {};
	int err, ret;

	ret = live_open(&a->d, &chain);
	err = ret ? 0 : bitmaps_of_disk(a->d.name, chain.list[0].fd, b);
	*has_data_file = !ret && chain.list[0].has_data_file;
	live_close(&chain);
	return err ? err_errno(-err, a->d.name, "cannot read its bitmaps") : ret;
}

static int choose(const struct attached *a, const char *name, enum level level,
		  const char *why, struct level_plan *plan)
{
	plan->is_incremental = !why && level != LEVEL_FULL;
	if (!plan->is_incremental)
		plan->mark.base[0] = '\0';
	if (!why || level == LEVEL_FULL)
		return VBLK_OK;
	if (level == LEVEL_AUTO) {
		fprintf(stderr, "vblk-backup: %s: all of it is copied: bitmap '%s': %s\n", a->d.name,
			name, why);
		return VBLK_OK;
	}
	return err_report(VBLK_NOT_FOUND, a->d.name, "bitmap '%s': %s", name, why);
}

static int name_new(const char *name, struct level_plan *plan)
{
	int err = token_make(plan->mark.token);

	if (err)
		return err_errno(-err, name, "no random number");
	strcpy(plan->mark.name, name);
	if (token_name_bitmap(name, plan->mark.token, plan->new))
		return err_report(VBLK_USAGE, "--bitmap", "the name is too long");
	return VBLK_OK;
}

/**
 * level_plan() - choose
 * @a: the disk
 * @name: what the bitmaps of these backups are called by
 * @level: what is wanted
 * @is_dry: nothing is to be changed
 * @plan: filled in; level_free() is due in either case
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_plan(const struct attached *a, const char *name, enum level level, bool is_dry,
	       struct level_plan *plan)
{
	char text[MARK_WHY_BYTES];
	bool has_data_file;
	const char *why;
	int err, ret;

	*plan = (struct level_plan){ .is_dry = is_dry };
	err = history_check(is_dry);
	if (err)
		return err_errno(-err, HISTORY_DIR, "cannot write");
	ret = name_new(name, plan);
	if (!ret)
		ret = read_bitmaps(a, &plan->there, &has_data_file);
	if (ret)
		return ret;
	why = judge(&plan->there, name, plan, text);
	if (!why && !has_room_for_both(a, name, plan))
		why = "one more has no room beside it";
	/* A token goes with the image; what is written to a raw data file past it is in no bitmap. */
	if (!why && has_data_file && level == LEVEL_AUTO)
		why = "others may have written to its data file (if not: --level incremental)";
	return choose(a, name, level, why, plan);
}

/** level_free() - let go of what level_plan() has */
void level_free(struct level_plan *plan)
{
	bitmaps_free(&plan->there);
}

/**
 * level_prepare() - make the bitmap that begins with the backup, or see whether it can be made
 * @a: the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_prepare(const struct attached *a, const struct level_plan *plan)
{
	const struct bitmap_new new = {
		.bitmap = plan->new, .name = plan->mark.name,
		.but = plan->is_incremental ? plan->old : "", .there = &plan->there,
		.is_dry = plan->is_dry,
	};

	return bitmap_make(a, &new);
}

/**
 * level_begin() - at the instant: whether the bitmaps are those of the plan; the new one begins with it
 * @view: name of the device that shows the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_begin(const struct attached *a, const struct level_plan *plan, const char *view)
{
	struct bitmaps b = {};
	bool is_there;
	int err;

	err = bitmaps_ask(view, &b);
	is_there = !err && bitmaps_find(&b, plan->new) &&
		   (!plan->is_incremental || bitmaps_find(&b, plan->old));
	bitmaps_free(&b);
	if (err)
		return err_errno(-err, a->d.name, "cannot read its bitmaps");
	return is_there ? bitmap_use(a, plan->new, view) :
			  err_report(VBLK_BUSY, a->d.name, "its bitmaps were changed meanwhile");
}

/** level_report_differs() - the copy, and what is below it, is not the disk; the exit code for it */
int level_report_differs(const struct attached *a, const struct level_plan *plan)
{
	history_forget(plan->mark.base);
	return err_report(VBLK_DAMAGED, a->d.name,
			  "bitmap '%s' does not go with the backup before, or that was changed: "
			  "the next backup by it copies all", plan->old);
}

/**
 * level_note() - the backup is durable: the next one goes by its bitmap, and no other is needed
 * @target: path of the backup
 *
 * Return: an exit code; what is wrong has been reported: the next backup copies more then.
 */
int level_note(const struct attached *a, const struct level_plan *plan, const char *target)
{
	struct history h = {};
	struct stat st;
	int err;

	if (!realpath(target, h.target) || stat(h.target, &st) < 0)
		return err_errno(errno, target, "cannot look at it");
	history_take_file(&h, &st);
	err = history_write(plan->mark.token, &h);
	if (err)
		return err_errno(-err, HISTORY_DIR,
				 "cannot note the backup, which is whole: the next one copies all");
	history_prune(h.target);
	if (bitmap_drop(a, plan->mark.name, plan->new, &plan->there))
		err_warn(a->d.name, "the bitmap of the backup before goes on recording; "
			 "the next backup removes it");
	return VBLK_OK;
}

/** level_take_back() - there is no backup: its bitmap goes */
void level_take_back(const struct attached *a, const struct level_plan *plan)
{
	bitmap_remove(a, plan->new);
}
