// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much of a disk a backup by a bitmap copies: what has changed since the last backup by it, if both are what
 * they were; else all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup-level.h"
#include "backup/history.h"
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

/* The top is the last word. */
static int read_images(const struct attached *a, char **words, const char **top)
{
	char *space;
	int err;

	err = dmdev_ask(a->d.name, "images", words);
	if (err)
		return err;
	space = strrchr(*words, ' ');
	*top = space ? space + 1 : *words;
	return strlen(*top) < HISTORY_IMAGE_SIZE ? 0 : -EPROTO;
}

/* The top of then is one of the images still: what was written since is in the bitmap. */
static bool has_image(const struct attached *a, const char *image)
{
	char *words, *save, *word;
	const char *top;
	bool found = false;

	if (read_images(a, &words, &top))
		return false;
	for (word = strtok_r(words, " ", &save); word && !found; word = strtok_r(NULL, " ", &save))
		found = !strcmp(word, image);
	free(words);
	return found;
}

/* Return: why the changes since the last backup are not known, or NULL. */
static const char *judge_history(const struct attached *a, const char *bitmap,
				 struct level_plan *plan)
{
	struct history h;
	struct stat st;
	int err;

	err = history_read(a->d.name, bitmap, &h);
	if (err)
		return err == -ENOENT ? "no backup was made by it" :
					"what was noted of the last backup cannot be read";
	if (stat(h.target, &st) < 0)
		return "the backup before is not there any more";
	if (!history_is_file(&h, &st))
		return "the backup before has changed";
	if (!has_image(a, h.image))
		return "the disk has other images than at the backup before";
	strcpy(plan->base, h.target);
	return NULL;
}

static const char *judge(const struct attached *a, const char *name, const struct bitmap *bitmap,
			 struct level_plan *plan)
{
	plan->must_add = !bitmap || bitmap->state == BITMAP_IN_USE;
	plan->must_remove = bitmap && plan->must_add;
	if (!bitmap)
		return "the disk has no such bitmap";
	if (bitmap->state == BITMAP_IN_USE)
		return "it was left in use, and says nothing any more";
	return judge_history(a, name, plan);
}

static int read_bitmaps(const struct attached *a, struct bitmaps *b)
{
	struct live_chain chain = {};
	int err, ret;

	ret = live_open(&a->d, &chain);
	err = ret ? 0 : bitmaps_of_disk(a->d.name, chain.list[0].fd, b);
	live_close(&chain);
	return err ? err_errno(-err, a->d.name, "cannot read its bitmaps") : ret;
}

static int choose(const struct attached *a, const char *bitmap, enum level level,
		  const char *why, struct level_plan *plan)
{
	plan->is_incremental = !why && level != LEVEL_FULL;
	if (!why || level == LEVEL_FULL)
		return VBLK_OK;
	if (level == LEVEL_AUTO) {
		fprintf(stderr, "vblk-backup: %s: all of it is copied: bitmap '%s': %s\n", a->d.name,
			bitmap, why);
		return VBLK_OK;
	}
	return err_report(VBLK_NOT_FOUND, a->d.name, "bitmap '%s': %s", bitmap, why);
}

/**
 * level_plan() - choose
 * @a: the disk
 * @bitmap: name of the bitmap
 * @level: what is wanted
 * @plan: filled in
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_plan(const struct attached *a, const char *bitmap, enum level level,
	       struct level_plan *plan)
{
	const struct bitmap *found;
	struct bitmaps b = {};
	int err, ret;

	*plan = (struct level_plan){};
	err = history_check();
	if (err)
		return err_errno(-err, HISTORY_DIR, "cannot write");
	ret = read_bitmaps(a, &b);
	found = ret ? NULL : bitmaps_find(&b, bitmap);
	if (found && found->state == BITMAP_DISABLED) {
		ret = err_report(VBLK_UNSUPPORTED, a->d.name, "bitmap '%s' records nothing", bitmap);
		err_hint_command("vblk-bitmap", "enable", a->d.name, bitmap, NULL);
	} else if (!ret) {
		ret = choose(a, bitmap, level, judge(a, bitmap, found, plan), plan);
	}
	bitmaps_free(&b);
	return ret;
}

/**
 * level_prepare() - make the bitmap, if there is none that is of use
 * @a: the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_prepare(const struct attached *a, const char *bitmap, const struct level_plan *plan)
{
	return plan->must_add ? bitmap_make(a, bitmap, plan->must_remove) : VBLK_OK;
}

/**
 * level_confirm() - whether the plan is right still
 * @a: the disk, locked
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_confirm(const struct attached *a, const char *bitmap, const struct level_plan *plan)
{
	struct level_plan now = {};

	if (!plan->is_incremental || (!judge_history(a, bitmap, &now) &&
				      !strcmp(now.base, plan->base)))
		return VBLK_OK;
	return err_report(VBLK_BUSY, a->d.name, "bitmap '%s' was changed meanwhile", bitmap);
}

/**
 * level_check_view() - whether changes were recorded in the bitmap up to the instant
 * @view: name of the device that shows the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int level_check_view(const struct attached *a, const char *bitmap, const char *view)
{
	struct bitmaps b = {};
	bool is_there;
	int err;

	err = bitmaps_ask(view, &b);
	is_there = !err && bitmaps_find(&b, bitmap);
	bitmaps_free(&b);
	if (err)
		return err_errno(-err, a->d.name, "cannot read its bitmaps");
	return is_there ? VBLK_OK : err_report(VBLK_BUSY, a->d.name,
					       "bitmap '%s' was changed meanwhile", bitmap);
}

/** level_report_differs() - the copy, and what is below it, is not the disk; the exit code for it */
int level_report_differs(const struct attached *a, const char *bitmap)
{
	history_forget(a->d.name, bitmap);
	return err_report(VBLK_DAMAGED, a->d.name,
			  "bitmap '%s' does not go with the backup before, or that was changed: "
			  "the next backup by it copies all", bitmap);
}

/**
 * level_note() - what the bitmap said had changed at the instant is in a backup that is durable
 * @target: path of the backup
 * @view: name of the device that shows the disk, which is frozen still
 *
 * Return: an exit code; what is wrong has been reported: the next backup copies more then.
 */
int level_note(const struct attached *a, const char *bitmap, const char *target, const char *view)
{
	struct history h = {};
	const char *top;
	char *words;
	struct stat st;
	int err;

	err = read_images(a, &words, &top);
	if (err)
		return err_errno(-err, a->d.name, "cannot tell its images");
	strcpy(h.image, top);
	free(words);
	if (!realpath(target, h.target) || stat(h.target, &st) < 0)
		return err_errno(errno, target, "cannot look at it");
	history_take_file(&h, &st);
	err = history_write(a->d.name, bitmap, &h);
	if (err)
		return err_errno(-err, HISTORY_DIR, "cannot note the backup");
	err = bitmap_use(a, bitmap, view);
	if (err)
		history_forget(a->d.name, bitmap);
	return err;
}
