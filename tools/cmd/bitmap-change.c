// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmaps of a disk, changed while it is in use.
 *
 * QEMU changes the image, which the kernel does not use meanwhile: it stores the bits when the device is
 * suspended, and reads them when it is resumed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/mark.h"
#include "bitmap-change.h"
#include "disk/qemu-img.h"
#include "err.h"

static int run_qemu(struct change *c, const char *image, const struct bitmap_request *r)
{
	const char *argv[12] = { "qemu-img", "bitmap", r->option };
	char granularity[24];
	size_t n = 3;

	if (r->from)
		argv[n++] = r->from;
	if (r->granularity) {
		snprintf(granularity, sizeof(granularity), "%ju", (uintmax_t)r->granularity);
		argv[n++] = "-g";
		argv[n++] = granularity;
	}
	if (r->is_disabled)
		argv[n++] = "--disable";
	argv[n++] = "--";
	argv[n++] = image;
	argv[n++] = r->bitmap;
	return qemu_run(&c->chain, argv, c->a.d.name);
}

static int change_image(struct change *c, const struct bitmap_request *r)
{
	char *image = qemu_describe(&c->chain, 0, false);
	int ret;

	if (!image)
		return err_errno(ENOMEM, c->a.d.name, "cannot run qemu-img");
	ret = run_qemu(c, image, r);
	free(image);
	if (!ret && fsync(c->chain.list[0].fd) < 0)
		ret = err_errno(errno, c->a.d.name, "cannot write its image");
	return ret;
}

/* A qemu-img that was killed leaves all bitmaps in use that it has opened. */
static void report_lost(struct change *c)
{
	struct bitmaps now = {};

	if (bitmaps_read_image(c->chain.list[0].fd, &now) == 0)
		for (size_t i = 0; i < now.n; i++)
			if (now.list[i].state == BITMAP_IN_USE)
				err_report(VBLK_DAMAGED, c->a.d.name,
					   "bitmap '%s' was left in use, and says nothing any more",
					   now.list[i].name);
	bitmaps_free(&now);
}

/* What would be recorded then may be too much for the kernel. */
static const char *opposite(const struct bitmap_request *r)
{
	if (!strcmp(r->option, "--add"))
		return "--remove";
	return !strcmp(r->option, "--enable") ? "--disable" : NULL;
}

static int take_back(struct change *c, const struct bitmap_request *r)
{
	struct bitmap_request back = { .option = opposite(r), .bitmap = r->bitmap };

	if (!back.option || change_image(c, &back))
		return -EINVAL;
	return dmdev_resume(c->a.d.name, c->a.is_served);
}

/* In a process of its own. */
static int work(struct change *c, void *arg)
{
	const struct bitmap_request *r = arg;
	const char *name = c->a.d.name;
	int err, ret;

	err = dmdev_suspend(name, c->a.is_served);
	if (err)
		return err_errno(-err, name, "cannot suspend it");
	ret = change_image(c, r);
	if (ret)
		report_lost(c);
	err = dmdev_resume(name, c->a.is_served);
	if (!err)
		return ret;
	ret = err_errno(-err, name, "the kernel refuses the image so");
	err_hint("dmesg | grep qcow2");
	if (take_back(c, r))
		err_report(VBLK_FAILED, name, "suspended: its guest waits");
	return ret;
}

/**
 * bitmap_change() - change a bitmap of a disk
 * @c: the disk, from change_begin(); not suspended
 * @r: what to do
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_change(struct change *c, const struct bitmap_request *r)
{
	return change_apart(c, work, (void *)r, "its bitmaps were changed");
}

static int check_new(const struct change *c, const char *bitmap)
{
	struct bitmaps b = {};
	int err, ret = VBLK_OK;

	err = bitmaps_read_image(c->chain.list[0].fd, &b);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	else if (!bitmaps_have_room(&b, c->chain.sectors << 9, BITMAP_GRANULARITY))
		ret = err_report(VBLK_UNSUPPORTED, c->a.d.name, "no more bitmaps can record");
	else if (bitmaps_find(&b, bitmap))
		ret = err_report(VBLK_BUSY, c->a.d.name, "it has a bitmap '%s'", bitmap);
	bitmaps_free(&b);
	return ret;
}

static int make(struct change *c, const void *arg)
{
	const struct bitmap_request add = {
		.option = "--add", .bitmap = arg, .granularity = BITMAP_GRANULARITY,
	};
	int ret = check_new(c, arg);

	return ret ? ret : bitmap_change(c, &add);
}

static int remove_one(struct change *c, const void *arg)
{
	const struct bitmap_request remove = { .option = "--remove", .bitmap = arg };

	return bitmap_change(c, &remove);
}

/**
 * struct old - bitmaps of backups that are not needed any more
 * @name: that they are called by
 * @but: the one that is
 */
struct old {
	const char *name;
	const char *but;
};

static int drop(struct change *c, const void *arg)
{
	const struct old *old = arg;
	char token[TOKEN_SIZE];
	struct bitmaps b = {};
	int err, ret = VBLK_OK;

	err = bitmaps_read_image(c->chain.list[0].fd, &b);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	for (size_t i = 0; i < b.n && !ret; i++)
		if (token_is_of(b.list[i].name, old->name, token) &&
		    strcmp(b.list[i].name, old->but) != 0)
			ret = remove_one(c, b.list[i].name);
	bitmaps_free(&b);
	return ret;
}

/* A disk as it was found, which others may have meanwhile. */
static int with_lock(const struct attached *a, int (*call)(struct change *c, const void *arg),
		     const void *arg)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = attached_lock(a->d.name, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = change_begin(&c);
	if (!ret)
		ret = call(&c, arg);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/**
 * bitmap_make() - make a bitmap of a disk, with nothing in it
 * @a: the disk, as it was found
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_make(const struct attached *a, const char *bitmap)
{
	return with_lock(a, make, bitmap);
}

/** bitmap_remove() - remove one; an exit code, reported */
int bitmap_remove(const struct attached *a, const char *bitmap)
{
	return with_lock(a, remove_one, bitmap);
}

/**
 * bitmap_drop() - remove the bitmaps of the backups by a name
 * @a: the disk, as it was found
 * @but: all but this one
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_drop(const struct attached *a, const char *name, const char *but)
{
	return with_lock(a, drop, &(struct old){ .name = name, .but = but });
}

/**
 * bitmap_use() - what a bitmap said had changed when the disk was frozen does not count any more
 * @a: the disk
 * @view: name of the device that shows it
 *
 * If the instant has ended meanwhile it counts all the same. Return: an exit code; what is wrong has been reported.
 */
int bitmap_use(const struct attached *a, const char *bitmap, const char *view)
{
	char message[2 * BITMAP_NAME_SIZE + 8] = "used";
	int err;

	dmdev_add_word(message, bitmap);
	err = dmdev_message(view, message);
	return err && err != -ENODATA ?
	       err_errno(-err, a->d.name, "bitmap '%s' goes on saying what had changed before",
			 bitmap) : VBLK_OK;
}

/** bitmap_resume() - go on with a disk that somebody who was killed left suspended; an exit code */
int bitmap_resume(struct change *c)
{
	int err = dmdev_resume(c->a.d.name, c->a.is_served);

	if (err)
		return err_errno(-err, c->a.d.name, "it is suspended, and cannot be resumed");
	c->a.d.is_suspended = false;
	return VBLK_OK;
}

static int run_with_source(struct change *c, const char *source, const char *image,
			   const struct bitmap *bitmap)
{
	char granularity[24];
	const char *argv[] = {
		"qemu-img", "bitmap", "--add", "-g", granularity, "--merge", bitmap->name,
		"-b", source, "--", image, bitmap->name, NULL
	};

	if (!source || !image)
		return err_errno(ENOMEM, c->a.d.name, "cannot run qemu-img");
	snprintf(granularity, sizeof(granularity), "%ju", (uintmax_t)bitmap->granularity);
	return qemu_run(&c->chain, argv, c->a.d.name);
}

/**
 * bitmap_carry() - have the new overlay of a disk go on with a bitmap of the image below it
 * @c: the disk, suspended; its overlay is not in use yet
 * @bitmap: the bitmap
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_carry(struct change *c, const struct bitmap *bitmap)
{
	char *below = qemu_describe(&c->chain, 0, false), *overlay = qemu_describe_fd(c->top.fd);
	int ret;

	fcntl(c->top.fd, F_SETFD, 0);
	ret = run_with_source(c, below, overlay, bitmap);
	fcntl(c->top.fd, F_SETFD, FD_CLOEXEC);
	free(below);
	free(overlay);
	if (!ret && fsync(c->top.fd) < 0)
		ret = err_errno(errno, c->top.path, "cannot write it");
	return ret;
}

static int remove_old(struct change *c, const char *image)
{
	struct bitmaps old = {};
	int err, ret = VBLK_OK;

	err = bitmaps_read_image(c->chain.list[1].fd, &old);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read the bitmaps below");
	for (size_t i = 0; i < old.n && !ret; i++) {
		const char *argv[] = {
			"qemu-img", "bitmap", "--remove", "--", image, old.list[i].name, NULL
		};

		if (old.list[i].state == BITMAP_RECORDS)
			ret = qemu_run(&c->chain, argv, c->a.d.name);
	}
	bitmaps_free(&old);
	return ret;
}

/**
 * bitmap_take_over() - have the image below go on with the bitmaps of the top, and with no others
 * @c: the disk, suspended; what the top has is in the image below already
 *
 * Those that the image below has say nothing of what happened while it was not the top: it may have been
 * gone back to. Return: an exit code; what is wrong has been reported.
 */
int bitmap_take_over(struct change *c)
{
	char *top = qemu_describe(&c->chain, 0, false), *image = qemu_describe(&c->chain, 1, false);
	struct bitmaps b = {};
	int err, ret;

	ret = image ? remove_old(c, image) : VBLK_OK;
	err = ret ? 0 : bitmaps_read_image(c->chain.list[0].fd, &b);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	for (size_t i = 0; i < b.n && !ret; i++)
		if (b.list[i].state == BITMAP_RECORDS)
			ret = run_with_source(c, top, image, &b.list[i]);
	bitmaps_free(&b);
	free(top);
	free(image);
	return ret;
}
