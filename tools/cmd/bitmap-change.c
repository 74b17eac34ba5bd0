// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmaps of a disk, changed while it is in use.
 *
 * QEMU changes the image, which the kernel does not use meanwhile: it stores the bits when the device is
 * suspended, and reads them when it is resumed.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backup/child.h"
#include "backup/mark.h"
#include "bitmap-change.h"
#include "disk/qemu-img.h"
#include "err.h"

/* A table, and what the last cluster of the bits has too much. */
#define CLUSTERS_EACH	(2 << 16)

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

/* Whether it is what @r makes of it. */
static bool is_done(const struct bitmaps *now, const struct bitmap_request *r)
{
	const struct bitmap *bitmap = bitmaps_find(now, r->bitmap);

	if (!strcmp(r->option, "--remove"))
		return !bitmap;
	return bitmap && bitmap->state != BITMAP_IN_USE;
}

static int report_lost(const struct change *c, const struct bitmap *was, const struct bitmap *is)
{
	if (!is)
		return err_report(VBLK_DAMAGED, c->a.d.name, "bitmap '%s' is lost", was->name);
	if (is->state != BITMAP_IN_USE || was->state == BITMAP_IN_USE)
		return VBLK_OK;
	return err_report(VBLK_DAMAGED, c->a.d.name,
			  "bitmap '%s' was left in use, and says nothing any more", was->name);
}

/*
 * A qemu-img that was killed leaves all bitmaps in use that it has opened, as one does that had no room to store them; or
 * none is there any more. Of that it says nothing by its exit status.
 */
static int check_kept(struct change *c, const struct bitmaps *before, const struct bitmap_request *r)
{
	bool removes = !strcmp(r->option, "--remove");
	int ret = VBLK_OK, lost_ret;
	struct bitmaps now;

	if (bitmaps_read_image(c->chain.list[0].fd, &now)) {
		bitmaps_free(&now);
		return err_report(VBLK_FAILED, c->a.d.name, "cannot read its bitmaps");
	}
	for (size_t i = 0; i < before->n; i++) {
		if (removes && !strcmp(before->list[i].name, r->bitmap))
			continue;
		lost_ret = report_lost(c, &before->list[i],
				       bitmaps_find(&now, before->list[i].name));
		ret = ret ? ret : lost_ret;
	}
	if (!ret && !is_done(&now, r))
		ret = err_report(VBLK_FAILED, c->a.d.name, "bitmap '%s' was not stored", r->bitmap);
	bitmaps_free(&now);
	return ret;
}

static int change_checked(struct change *c, const struct bitmap_request *r)
{
	struct bitmaps before;
	int ret, kept_ret;

	if (bitmaps_read_image(c->chain.list[0].fd, &before)) {
		bitmaps_free(&before);
		return err_report(VBLK_FAILED, c->a.d.name, "cannot read its bitmaps");
	}
	ret = change_image(c, r);
	kept_ret = check_kept(c, &before, r);
	bitmaps_free(&before);
	return ret ? ret : kept_ret;
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
	ret = change_checked(c, r);
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

/* By a file without a name: of what statvfs() says is free, ext4 keeps some to itself, and a part is for root. */
static bool can_allocate(const struct live_image *img, uint64_t bytes)
{
	char dir[PATH_MAX];
	struct statvfs fs;
	bool can;
	int fd;

	snprintf(dir, sizeof(dir), "%s", img->path);
	fd = open(dirname(dir), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return fstatvfs(img->fd, &fs) < 0 || fs.f_bfree * fs.f_frsize >= bytes;
	can = fallocate(fd, 0, 0, bytes) == 0 || (errno != ENOSPC && errno != EDQUOT);
	close(fd);
	return can;
}

/* QEMU stores all of them anew before it lets go of where they were. */
static bool has_space(const struct change *c, const struct bitmaps *b)
{
	uint64_t disk_bytes = c->chain.sectors << 9, bytes = (b->n + 2) * CLUSTERS_EACH;

	for (size_t i = 0; i < b->n; i++)
		bytes += b->list[i].granularity ? disk_bytes / b->list[i].granularity / 8 : 0;
	return S_ISBLK(c->chain.list[0].st.st_mode) || can_allocate(&c->chain.list[0], bytes);
}

/** bitmap_check_space() - whether the host has room to store the bitmaps and one more; an exit code, reported */
int bitmap_check_space(const struct change *c)
{
	struct bitmaps b;
	int err = bitmaps_read_image(c->chain.list[0].fd, &b), ret = VBLK_OK;

	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	else if (!has_space(c, &b))
		ret = err_report(VBLK_FAILED, c->a.d.name,
				 "no room for its bitmaps in the file system of its image");
	bitmaps_free(&b);
	return ret;
}

static int remove_one(struct change *c, const void *arg)
{
	const struct bitmap_request remove = { .option = "--remove", .bitmap = arg };

	return bitmap_change(c, &remove);
}

/* It may have been removed meanwhile. */
static int remove_there(struct change *c, const void *arg)
{
	struct bitmaps b = {};
	int err = bitmaps_read_image(c->chain.list[0].fd, &b);
	bool is_there = err || bitmaps_find(&b, arg);

	bitmaps_free(&b);
	return is_there ? remove_one(c, arg) : VBLK_OK;
}

/**
 * struct old - bitmaps of backups that are not needed any more
 * @name: that they are called by
 * @but: the one that is, or ""
 * @there: only those that were there then
 * @until: stop when one more has room
 */
struct old {
	const char *name;
	const char *but;
	const struct bitmaps *there;
	bool until;
};

static bool is_old(const struct old *old, const char *bitmap)
{
	char token[TOKEN_SIZE];

	return token_is_of(bitmap, old->name, token) && strcmp(bitmap, old->but) != 0 &&
	       bitmaps_find(old->there, bitmap);
}

static bool has_room(const struct change *c, const struct bitmaps *b)
{
	return bitmaps_have_room(b, c->chain.sectors << 9, BITMAP_GRANULARITY);
}

static int drop(struct change *c, const void *arg)
{
	const struct old *old = arg;
	struct bitmaps b = {};
	int err, ret = VBLK_OK;

	err = bitmaps_read_image(c->chain.list[0].fd, &b);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	for (size_t i = 0; i < b.n && !ret && !(old->until && has_room(c, &b)); i++) {
		if (!is_old(old, b.list[i].name))
			continue;
		ret = remove_one(c, b.list[i].name);
		/* It takes no room any more. */
		b.list[i].state = BITMAP_DISABLED;
	}
	bitmaps_free(&b);
	return ret;
}

/* Those that would go first. */
static void leave_out(struct bitmaps *b, const struct old *old)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (!is_old(old, b->list[i].name))
			b->list[n++] = b->list[i];
	b->n = n;
}

/* @old: what is there still and would have gone, or NULL */
static int check_new(const struct change *c, const char *bitmap, const struct old *old)
{
	struct bitmaps b = {};
	int err, ret = VBLK_OK;

	err = bitmaps_read_image(c->chain.list[0].fd, &b);
	if (old)
		leave_out(&b, old);
	if (err)
		ret = err_errno(-err, c->a.d.name, "cannot read its bitmaps");
	else if (!has_room(c, &b))
		ret = err_report(VBLK_UNSUPPORTED, c->a.d.name, "no more bitmaps can record");
	else if (bitmaps_find(&b, bitmap))
		ret = err_report(VBLK_BUSY, c->a.d.name, "it has a bitmap '%s'", bitmap);
	bitmaps_free(&b);
	return ret;
}

/* Of backups that were killed there may be so many that it has no room. */
static int make(struct change *c, const void *arg)
{
	const struct bitmap_new *new = arg;
	const struct bitmap_request add = {
		.option = "--add", .bitmap = new->bitmap, .granularity = BITMAP_GRANULARITY,
	};
	const struct old old = {
		.name = new->name, .but = new->but, .there = new->there, .until = true,
	};
	int ret;

	ret = new->name && !c->is_dry ? drop(c, &old) : VBLK_OK;
	if (!ret)
		ret = check_new(c, new->bitmap, new->name && c->is_dry ? &old : NULL);
	if (!ret)
		ret = bitmap_check_space(c);
	if (!ret && c->is_dry)
		return child_check("qemu-img");
	return ret ? ret : bitmap_change(c, &add);
}

/* A disk as it was found, which others may have meanwhile. */
static int with_lock(const struct attached *a, int (*call)(struct change *c, const void *arg),
		     const void *arg, bool is_dry)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	c.is_dry = is_dry;
	c.may_have_data_file = true;
	ret = attached_lock(a->d.name, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	if (strcmp(c.a.d.uuid, a->d.uuid) != 0)
		ret = err_report(VBLK_BUSY, a->d.name, "it has become another disk meanwhile");
	if (!ret)
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
 * @new: what for
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_make(const struct attached *a, const struct bitmap_new *new)
{
	return with_lock(a, make, new, new->is_dry);
}

/** bitmap_remove() - remove one, if it is there; an exit code, reported */
int bitmap_remove(const struct attached *a, const char *bitmap)
{
	return with_lock(a, remove_there, bitmap, false);
}

/**
 * bitmap_drop() - remove the bitmaps of the backups by a name
 * @a: the disk, as it was found
 * @but: all but this one
 * @there: of those that there were then: others are of backups that run
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bitmap_drop(const struct attached *a, const char *name, const char *but,
		const struct bitmaps *there)
{
	const struct old old = { .name = name, .but = but, .there = there };

	return with_lock(a, drop, &old, false);
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
