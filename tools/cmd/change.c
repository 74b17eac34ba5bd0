// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk in use goes over to another chain, with a new overlay as its top:
 * Documentation/control.rst says in which order, and what there is if it ends in the middle.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bitmap-change.h"
#include "config.h"
#include "disk/overlay-note.h"
#include "err.h"
#include "server/state.h"
#include "snapshot.h"

static int check_disk(const struct change *c)
{
	int ret;

	if (c->a.d.is_read_only)
		return err_report(VBLK_DENIED, c->a.d.name, "it is attached read-only");
	ret = attached_check_sound(&c->a);
	return ret || c->may_be_suspended ? ret : attached_check_resumed(&c->a);
}

/**
 * change_begin() - open what there is
 * @c: @a is locked; change_end() is due in either case
 *
 * Return: an exit code; what is wrong has been reported.
 */
int change_begin(struct change *c)
{
	int ret;

	ret = check_disk(c);
	if (!ret)
		ret = attached_check_thawed(&c->a);
	if (!ret)
		ret = live_open(&c->a.d, &c->chain);
	if (!ret && !c->may_have_data_file)
		ret = live_refuse_data_files(&c->chain, c->a.d.name);
	/*
	 * Left by somebody who was killed; it keeps an overlay locked that nobody uses. Not where
	 * the present chain is not there any more: the table is what there is to go on with.
	 */
	if (!ret && !c->is_dry)
		dmdev_clear(c->a.d.name);
	return ret;
}

/** change_end() - the kernel has the files, or nobody */
void change_end(struct change *c)
{
	bitmaps_free(&c->bitmaps);
	image_close(&c->top);
	live_close(&c->chain);
	overlay_close(&c->overlay);
	if (c->overlay.dir >= 0)
		close(c->overlay.dir);
	if (c->node >= 0)
		close(c->node);
	if (c->pause >= 0)
		close(c->pause);
}

/* The image's own directory: where somebody may swap directories, not another one of that name. */
static int open_directory(struct change *c, const struct live_image *below)
{
	char dir[PATH_MAX], base[PATH_MAX];
	struct stat st;

	strcpy(dir, below->path);
	strcpy(base, below->path);
	c->overlay.dir = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->overlay.dir < 0 || fstatat(c->overlay.dir, basename(base), &st, 0) < 0)
		return err_errno(errno, c->a.d.name, "cannot open the directory of %s",
				 below->path);
	if (!image_is_same(&st, &below->st))
		return err_report(VBLK_FAILED, c->a.d.name, "%s has been moved", below->path);
	return VBLK_OK;
}

/* As virsh names it: SUFFIX in the place of what is behind the last dot. */
static int put_suffix(struct change *c, const struct live_image *below, const char *suffix)
{
	const char *file = strrchr(below->path, '/') + 1, *dot = strrchr(file, '.');
	int stem = dot && dot > file ? dot - below->path : (int)strlen(below->path);
	int n;

	if (S_ISBLK(below->st.st_mode)) {
		err_report(VBLK_USAGE, c->a.d.name,
			   "%s is a block device: the overlay needs a name", below->path);
		err_hint("--file PATH");
		return VBLK_USAGE;
	}
	n = snprintf(c->overlay.path, sizeof(c->overlay.path), "%.*s.%s", stem, below->path,
		     suffix);
	if (n >= (int)sizeof(c->overlay.path))
		return err_errno(ENAMETOOLONG, suffix, "cannot name the overlay");
	c->overlay.name = strrchr(c->overlay.path, '/') + 1;
	return VBLK_OK;
}

static int name_beside(struct change *c, const struct live_image *below, const char *suffix)
{
	int ret = put_suffix(c, below, suffix);

	return ret ? ret : open_directory(c, below);
}

static bool is_taken(const struct change *c)
{
	struct stat st;

	return fstatat(c->overlay.dir, c->overlay.name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Two may be made in one second. */
static int name_by_time(struct change *c, const struct live_image *below, const char *prefix)
{
	intmax_t now = time(NULL);
	char suffix[64];
	int ret;

	do {
		snprintf(suffix, sizeof(suffix), "%.30s%jd", prefix, now++);
		ret = put_suffix(c, below, suffix);
		if (!ret && c->overlay.dir < 0)
			ret = open_directory(c, below);
	} while (!ret && is_taken(c));
	return ret;
}

/* Where root wants it. */
static int name_as_told(struct change *c, const char *file)
{
	char dir[PATH_MAX], base[PATH_MAX], real[PATH_MAX];

	if (!*file || file[strlen(file) - 1] == '/' || strlen(file) >= sizeof(dir))
		return err_report(VBLK_USAGE, "--file", "'%s' does not name a file", file);
	strcpy(dir, file);
	strcpy(base, file);
	if (!realpath(dirname(dir), real))
		return err_errno(errno, file, "cannot make the overlay");
	if (snprintf(c->overlay.path, sizeof(c->overlay.path), "%s/%s",
		     strcmp(real, "/") != 0 ? real : "", basename(base)) >= PATH_MAX)
		return err_errno(ENAMETOOLONG, file, "cannot make the overlay");
	c->overlay.name = strrchr(c->overlay.path, '/') + 1;
	c->overlay.dir = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return c->overlay.dir < 0 ? err_errno(errno, file, "cannot make the overlay") : VBLK_OK;
}

/**
 * change_name_overlay() - choose where the overlay is to be
 * @below: the image that it is to lie on, counted from the top
 * @suffix: of its name, unless there is @file
 * @file: its path, or NULL
 *
 * Return: an exit code; what is wrong has been reported.
 */
int change_name_overlay(struct change *c, size_t below, const char *suffix, const char *file)
{
	const struct live_image *img = &c->chain.list[below];

	return file ? name_as_told(c, file) : name_beside(c, img, suffix);
}

/**
 * change_name_overlay_by_time() - the same where nobody has named it
 * @prefix: of its suffix, which ends with the number of seconds since 1970, or the first one behind that of which there is no file
 */
int change_name_overlay_by_time(struct change *c, size_t below, const char *prefix, const char *file)
{
	const struct live_image *img = &c->chain.list[below];

	return file ? name_as_told(c, file) : name_by_time(c, img, prefix);
}

static void undo(struct change *c)
{
	overlay_note_undo(c->overlay.backing);
	overlay_remove(&c->overlay);
	if (c->has_noted_top)
		state_forget_top(c->top.uuid);
	c->has_noted_top = false;
}

/* That very file, whatever its name means by now. */
static int open_overlay(struct change *c)
{
	struct image *top = &c->top;
	int ret;

	*top = (struct image){
		.arg = c->overlay.path,
		.st = c->overlay.st,
		.fd = -1,
		.format = IMAGE_QCOW2,
	};
	image_uuid(&top->st, top->uuid, sizeof(top->uuid));
	snprintf(top->path, sizeof(top->path), "/proc/self/fd/%d", c->overlay.fd);
	ret = image_open(top, false);
	strcpy(top->path, c->overlay.path);
	return ret;
}

/* From before its first write on: /run/vblk is gone with the next boot. */
static int note_overlay(struct change *c)
{
	int err = state_set_top(c->top.uuid, c->a.d.uuid);

	c->has_noted_top = !err;
	if (err)
		return err_errno(-err, STATE_DIR, "cannot write");
	err = overlay_note_begin(c->overlay.backing, c->overlay.path);
	return err ? err_errno(-err, OVERLAY_NOTE_DIR, "cannot write") : VBLK_OK;
}

/* All that it is going to be but the file. */
static int plan_overlay(struct change *c, size_t below)
{
	const struct live_image *img = &c->chain.list[below];
	struct overlay *o = &c->overlay;
	bool is_file = S_ISREG(img->st.st_mode);

	if (c->chain.n - below >= MAX_CHAIN)
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "a chain has no more than %d images", MAX_CHAIN);
	o->backing = img->path;
	o->bytes = c->chain.sectors << 9;
	o->uid = is_file ? img->st.st_uid : 0;
	o->gid = is_file ? img->st.st_gid : 0;
	o->mode = is_file ? img->st.st_mode & 0666 : 0600;
	o->is_raw_below = img->format == IMAGE_RAW;
	return VBLK_OK;
}

/**
 * change_make_overlay() - make the overlay, and note whose top it is going to be
 * @below: the image that it lies on, counted from the top
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int change_make_overlay(struct change *c, size_t below)
{
	int ret;

	ret = plan_overlay(c, below);
	if (ret)
		return ret;
	overlay_note_clean(c->overlay.backing);
	ret = overlay_make(&c->overlay);
	if (ret)
		return ret;
	ret = open_overlay(c);
	if (!ret)
		ret = note_overlay(c);
	if (ret)
		undo(c);
	return ret;
}

/**
 * change_check_overlay() - whether change_make_overlay() has a reason to fail, as far as that can be told
 * @below: the image that it would lie on, counted from the top
 *
 * Return: an exit code; what is wrong has been reported.
 */
int change_check_overlay(struct change *c, size_t below)
{
	int ret = plan_overlay(c, below);

	return ret ? ret : overlay_check(&c->overlay);
}

static int load(struct change *c, size_t first, int top_fd)
{
	char *params = live_table(&c->chain, first, top_fd);
	int err;

	if (!params)
		return -ENOMEM;
	err = dmdev_load(c->a.d.name, c->chain.sectors, params, false);
	free(params);
	return err;
}

/* The new table is in place, and could not be resumed. Nothing was written to the overlay. */
static int put_back(struct change *c)
{
	int fd, err;

	err = live_open_top(&c->chain, 0, &fd);
	if (err)
		return err;
	err = load(c, 1, fd);
	if (!err)
		err = dmdev_switch(c->a.d.name, c->a.is_served);
	close(fd);
	return err;
}

/* The chain of before, or -errno. The overlay is not touched where it may be the top. */
static int go_back(struct change *c)
{
	const char *name = c->a.d.name;
	struct dmdev now;
	int err, is_top;

	err = dmdev_find_name(name, &now);
	if (err)
		return err;
	is_top = live_is_image(name, 0, &c->overlay.st);
	if (is_top)
		return is_top < 0 ? is_top : put_back(c);
	return now.is_suspended ? dmdev_resume(name, c->a.is_served) : 0;
}

/* It runs on the overlay: that may have been written to by now. */
static bool is_in_place(const struct change *c)
{
	struct dmdev now;

	return dmdev_find_name(c->a.d.name, &now) == 0 && !now.is_suspended &&
	       live_is_image(now.name, 0, &c->overlay.st) > 0;
}

static int recover(struct change *c, int why)
{
	const char *name = c->a.d.name;
	int ret = err_errno(-why, name, "cannot go over to the new chain");
	int err;

	err_hint("dmesg | grep qcow2");
	err = go_back(c);
	if (err) {
		err_errno(-err, name, "its chain of before cannot be put back");
		err_hint_command("dmsetup", "table", name, NULL);
		return ret;
	}
	dmdev_clear(name);
	undo(c);
	return ret;
}

static bool is_carried(const struct bitmap *bitmap)
{
	return bitmap->state == BITMAP_RECORDS;
}

/* Suspended it has in its bitmaps what has changed, and no more. */
static int carry_bitmaps(struct change *c)
{
	const char *name = c->a.d.name;
	int err, ret = VBLK_OK;

	if (!change_has_bitmaps(c))
		return VBLK_OK;
	err = dmdev_suspend(name, c->a.is_served);
	if (err)
		ret = err_errno(-err, name, "cannot suspend it");
	for (size_t i = 0; i < c->bitmaps.n && !ret; i++)
		if (is_carried(&c->bitmaps.list[i]))
			ret = bitmap_carry(c, &c->bitmaps.list[i]);
	if (!ret)
		return VBLK_OK;
	dmdev_resume(name, c->a.is_served);
	undo(c);
	return ret;
}

/** change_has_bitmaps() - whether there are some that the overlay goes on with */
bool change_has_bitmaps(const struct change *c)
{
	for (size_t i = 0; i < c->bitmaps.n; i++)
		if (is_carried(&c->bitmaps.list[i]))
			return true;
	return false;
}

/** change_read_bitmaps() - have the overlay go on with the bitmaps of the image; an exit code */
int change_read_bitmaps(struct change *c)
{
	int err = bitmaps_read_image(c->chain.list[0].fd, &c->bitmaps);

	return err ? err_errno(-err, c->a.d.name, "cannot read its bitmaps") : VBLK_OK;
}

/** change_forget_top() - what was the top is not any more */
void change_forget_top(const struct change *c)
{
	char uuid[STATE_UUID_SIZE];

	if (image_uuid(&c->chain.list[0].st, uuid, sizeof(uuid)) == 0)
		state_forget_top(uuid);
}

/**
 * change_tell_top() - the disk has another top: whoever is to attach it, or to find it, is told
 * @old: path of the one that it had
 * @new: path of the one that it has
 */
void change_tell_top(const struct change *c, const char *old, const char *new)
{
	int err = c->a.is_served ? state_set_image(c->a.serving.name, new) : 0;

	if (err)
		err_errno(-err, STATE_DIR, "cannot write");
	config_follow(old, new);
}

/**
 * change_switch() - have the disk go on with the overlay as its top
 * @below: the image that it lies on, counted from the top; those above are left out
 *
 * Return: an exit code; what is wrong has been reported, and the disk has the chain of before.
 */
int change_switch(struct change *c, size_t below)
{
	int err, ret;

	ret = carry_bitmaps(c);
	if (ret)
		return ret;
	/* Whoever resumes it from here on goes over to an overlay that is whole. */
	err = load(c, below, c->top.fd);
	if (err) {
		ret = err_errno(-err, c->a.d.name, "the kernel refused the new chain");
		err_hint("dmesg | grep qcow2");
		dmdev_clear(c->a.d.name);
		if (change_has_bitmaps(c))
			dmdev_resume(c->a.d.name, c->a.is_served);
		undo(c);
		return ret;
	}
	err = dmdev_switch(c->a.d.name, c->a.is_served);
	if (err && !is_in_place(c))
		return recover(c, err);
	err = overlay_note(c->overlay.backing, c->overlay.path);
	if (err)
		err_errno(-err, OVERLAY_NOTE_DIR, "cannot write");
	change_forget_top(c);
	change_tell_top(c, c->chain.list[0].path, c->top.path);
	return VBLK_OK;
}
