// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bitmaps that go from one image of a disk to another: to a new overlay, and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bitmap-change.h"
#include "disk/qemu-img.h"
#include "err.h"

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

/* qemu-img does not fail if it has no room for them. */
static int check_stored(int fd, const char *path, const char *bitmap)
{
	const struct bitmap *found;
	struct bitmaps b;
	int ret = VBLK_OK;

	found = bitmaps_read_image(fd, &b) ? NULL : bitmaps_find(&b, bitmap);
	if (!found || found->state != BITMAP_RECORDS)
		ret = err_report(VBLK_FAILED, path, "bitmap '%s' was not stored", bitmap);
	bitmaps_free(&b);
	return ret;
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
	return ret ? ret : check_stored(c->top.fd, c->top.path, bitmap->name);
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
	/* All of them: each time those before are stored again. */
	for (size_t i = 0; i < b.n && !ret; i++)
		if (b.list[i].state == BITMAP_RECORDS)
			ret = check_stored(c->chain.list[1].fd, c->chain.list[1].path, b.list[i].name);
	bitmaps_free(&b);
	free(top);
	free(image);
	return ret;
}
