// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-snapshot --revert: a new overlay on the image of a snapshot takes the place of those above.
 *
 * It has another name until they are gone: from the top downwards, so that what is left is a chain
 * at each instant. Then it is called as the lowest of them was, and the snapshot keeps its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/lock.h"
#include "disk/merge-note.h"
#include "disk/overlay-note.h"
#include "err.h"
#include "server/state.h"
#include "snapshot.h"

/* Whether that is still its name. */
static bool is_called(const struct live_image *img, int dir, const char *name)
{
	struct stat st;

	return S_ISREG(img->st.st_mode) &&
	       fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && image_is_same(&st, &img->st);
}

/* What does not stay gone by a power cut is not used then, but would be taken for what it was. */
static void sync_directory(int dir, const struct live_image *img)
{
	if (fsync(dir) < 0)
		err_errno(errno, img->path,
			  "removed, but the directory cannot be written: a power cut may bring it back");
}

/**
 * snapshot_remove_image() - remove an image
 * @from: name of another file of its directory, which is to be called so from then on, or NULL
 *
 * Return: 0 when it is not called so any more, or -errno.
 */
int snapshot_remove_image(const struct live_image *img, const char *from)
{
	char dir_name[PATH_MAX], base[PATH_MAX];
	const char *name;
	int dir, err = 0;

	strcpy(dir_name, img->path);
	strcpy(base, img->path);
	dir = open(dirname(dir_name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	name = basename(base);
	if (!is_called(img, dir, name))
		err = -ESTALE;
	else if ((from ? renameat(dir, from, dir, name) : unlinkat(dir, name, 0)) < 0)
		err = -errno;
	else
		sync_directory(dir, img);
	close(dir);
	return err;
}

/** snapshot_say_left() - an image that the disk does not use any more is still there */
void snapshot_say_left(const struct live_image *img, int err)
{
	err_errno(-err, img->path, "left where it is, and the disk does not use it any more");
}

/* The kernel does not have it for this disk any more; others might. */
static bool remove_unused(const struct live_image *img, const char *from)
{
	int err;

	if (lock_image(img->fd, false)) {
		err_report(VBLK_BUSY, img->path, "left where it is: somebody else uses it");
		return false;
	}
	err = snapshot_remove_image(img, from);
	if (err)
		snapshot_say_left(img, err);
	return !err;
}

/* @overlay: the lowest of those that were left out */
static void remove_images(struct change *c, size_t overlay)
{
	bool is_gone = true;
	size_t i;
	int err;

	for (i = 0; i < overlay && is_gone; i++)
		is_gone = remove_unused(&c->chain.list[i], NULL);
	if (!is_gone || !remove_unused(&c->chain.list[i], c->overlay.name))
		return;
	change_tell_top(c, c->top.path, c->chain.list[i].path);
	strcpy(c->top.path, c->chain.list[i].path);
	err = overlay_note(c->overlay.backing, c->top.path);
	if (err)
		err_errno(-err, OVERLAY_NOTE_DIR, "cannot write");
}

/**
 * snapshot_check_whole() - whether its images are states that the disk has had
 *
 * Not where a merge has begun, and has not come to its end. Return: an exit code; that has been reported.
 */
int snapshot_check_whole(const struct change *c)
{
	size_t merged, into;

	if (!merge_note_find(&c->chain, &merged, &into))
		return VBLK_OK;
	err_report(VBLK_BUSY, c->a.d.name, "%s has parts of %s, and is no state of the disk until it has all",
		   c->chain.list[into].path, c->chain.list[merged].path);
	err_hint_command("vblk-commit", c->a.d.name, NULL);
	return VBLK_BUSY;
}

static int name_overlay(struct change *c, size_t overlay, const char *file)
{
	char prefix[32];
	const char *path = c->chain.list[overlay].path, *dot = strrchr(path, '.');

	if (!dot || dot < strrchr(path, '/'))
		dot = "";
	snprintf(prefix, sizeof(prefix), "%.29s-", *dot ? dot + 1 : "revert");
	return change_name_overlay_by_time(c, overlay, prefix, file);
}

static int revert(struct change *c, size_t overlay, const char *file)
{
	int ret;

	ret = change_claim_disk(c);
	if (!ret)
		ret = name_overlay(c, overlay, file);
	if (!ret && c->is_dry)
		return change_check_overlay(c, overlay + 1);
	if (!ret)
		ret = change_make_overlay(c, overlay + 1);
	if (ret)
		return ret;
	/* What this host has written and not flushed is the old state's; what it has read, too. */
	change_drop_page_cache(c);
	ret = change_switch(c, overlay + 1);
	if (ret)
		return ret;
	change_drop_page_cache(c);
	/* With a place of its own for the new one, they are kept. */
	if (!file)
		remove_images(c, overlay);
	return VBLK_OK;
}

/* Of the overlay; if nobody else uses those above the snapshot, it gets the name of the lowest. */
static const char *final_path(const struct change *c, size_t overlay, const char *file)
{
	if (!c->is_dry)
		return c->top.path;
	return file ? c->overlay.path : c->chain.list[overlay].path;
}

/**
 * snapshot_revert() - give a disk that nobody uses the state of a snapshot
 * @c: @a is locked
 * @arg: the snapshot
 * @file: path of the new overlay, or NULL
 *
 * Return: an exit code; what is wrong has been reported.
 */
int snapshot_revert(struct change *c, const char *arg, const char *file, bool as_json)
{
	struct layers layers;
	struct snapshot s;
	size_t overlay;
	int ret;

	ret = snapshot_find(&c->a, arg, &layers, &overlay);
	if (!ret)
		ret = change_begin(c);
	if (!ret)
		ret = snapshot_check_whole(c);
	if (!ret)
		ret = revert(c, overlay, file);
	if (!ret) {
		snapshot_of_layer(&layers, overlay, &s);
		s.overlay = final_path(c, overlay, file);
		s.name = snapshot_name(s.image, s.overlay);
		ret = snapshot_print(&c->a, &s, as_json);
	}
	layers_free(&layers);
	return ret;
}
