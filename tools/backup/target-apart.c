// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether a target is apart from the images of the backup that is to be put there. Not even by force may one be written
 * over, by whatever name or device its bytes are to be had.
 */
#include <errno.h>

#include "cmd/err.h"
#include "disk/below.h"
#include "disk/image.h"
#include "target.h"

static int check_image(const struct target *t, const struct below *target, const struct image *img)
{
	struct below image;
	int err = below_find(&img->st, &image), ret = VBLK_OK;

	if (err)
		ret = err_errno(-err, img->arg, "cannot tell what is below it");
	else if (below_meet(target, &image))
		ret = err_report(VBLK_BUSY, t->name, "the image %s of the backup is on it, or below it",
				 img->arg);
	below_free(&image);
	return ret;
}

static int check_images(const struct target *t, const struct stat *st, const struct chain *c)
{
	struct below target;
	int err = below_find(st, &target), ret = VBLK_OK;

	if (err)
		ret = err_errno(-err, t->name, "cannot tell what is below it");
	for (size_t i = 0; i < c->n && !ret; i++)
		ret = check_image(t, &target, c->images[i]);
	below_free(&target);
	return ret;
}

/**
 * target_check_apart() - whether a target that is claimed is none of some images, nor has to do with one
 *
 * Return: an exit code; which it is has been reported.
 */
int target_check_apart(const struct target *t, const struct chain *c)
{
	int fd = t->kind == TARGET_DEVICE ? t->fd : t->old_fd;
	struct stat st;

	if (fd < 0)
		return VBLK_OK;
	if (fstat(fd, &st) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	return check_images(t, &st, c);
}
