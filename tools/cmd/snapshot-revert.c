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
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "disk/lock.h"
#include "err.h"
#include "out.h"
#include "server/control.h"
#include "server/state.h"
#include "snapshot.h"

#define ANSWER_MS	10000

/** snapshot_set_paused() - a guest that comes in between must not read what is about to change */
void snapshot_set_paused(const struct attached *a, bool is_paused)
{
	json_object *reply;

	if (!a->server)
		return;
	if (control_call(a->serving.name, control_request(is_paused ? "pause" : "resume"),
			 ANSWER_MS, &reply) == 0)
		json_object_put(reply);
}

/** snapshot_check_unused() - nobody has the disk, and no guest; else an exit code, and it is said */
int snapshot_check_unused(const struct attached *a)
{
	pid_t guest = 0;
	int ret;

	if (a->server)
		state_server(a->serving.name, &guest);
	if (guest) {
		ret = err_report(VBLK_BUSY, a->d.name,
				 "in use: a guest is connected, process %d", guest);
		err_hint("shut the guest down: it would not notice that its disk is another one");
		return ret;
	}
	return attached_check_unused(a);
}

/* What the host has read of it before */
static void drop_page_cache(const struct attached *a)
{
	char path[sizeof(DMDEV_DIR) + sizeof(a->d.name)];
	int fd;

	snprintf(path, sizeof(path), DMDEV_DIR "%s", a->d.name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (ioctl(fd, BLKFLSBUF) < 0)
		err_errno(errno, a->d.name, "cannot drop what the host has cached of it");
	close(fd);
}

/* Whether that is still its name. */
static bool is_called(const struct live_image *img, int dir, const char *name)
{
	struct stat st;

	return S_ISREG(img->st.st_mode) && dir >= 0 &&
	       fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && image_is_same(&st, &img->st);
}

/**
 * snapshot_remove_image() - remove an image that nobody uses any more
 * @from: name of another file of its directory, which is to be called so from then on, or NULL
 *
 * Return: whether it is; if not, that is said.
 */
bool snapshot_remove_image(const struct live_image *img, const char *from)
{
	char dir_name[PATH_MAX], base[PATH_MAX];
	const char *name;
	bool is_done;
	int dir;

	strcpy(dir_name, img->path);
	strcpy(base, img->path);
	dir = open(dirname(dir_name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	name = basename(base);
	is_done = is_called(img, dir, name) &&
		  (from ? renameat(dir, from, dir, name) : unlinkat(dir, name, 0)) == 0 &&
		  fsync(dir) == 0;
	if (dir >= 0)
		close(dir);
	if (!is_done)
		err_report(VBLK_FAILED, img->path,
			   "left where it is: the disk does not use it any more");
	return is_done;
}

/* The kernel does not have it for this disk any more; others might. */
static bool remove_unused(const struct live_image *img, const char *from)
{
	if (lock_image(img->fd, false) == 0)
		return snapshot_remove_image(img, from);
	err_report(VBLK_BUSY, img->path, "left where it is: somebody else uses it");
	return false;
}

/* @overlay: the lowest of those that were left out */
static void remove_images(struct change *c, size_t overlay)
{
	bool is_gone = true;
	size_t i;

	for (i = 0; i < overlay && is_gone; i++)
		is_gone = remove_unused(&c->chain.list[i], NULL);
	if (!is_gone || !remove_unused(&c->chain.list[i], c->overlay.name))
		return;
	strcpy(c->top.path, c->chain.list[i].path);
	if (c->a.is_served)
		state_set_image(c->a.serving.name, c->top.path);
}

static int name_overlay(struct change *c, size_t overlay, const char *file)
{
	char suffix[64];
	const char *path = c->chain.list[overlay].path, *dot = strrchr(path, '.');

	if (!dot || dot < strrchr(path, '/'))
		dot = "";
	snprintf(suffix, sizeof(suffix), "%.30s-%jd", *dot ? dot + 1 : "revert", (intmax_t)time(NULL));
	return change_name_overlay(c, overlay, suffix, file);
}

static int revert(struct change *c, size_t overlay, const char *file)
{
	int ret;

	ret = snapshot_check_unused(&c->a);
	if (!ret)
		ret = name_overlay(c, overlay, file);
	if (!ret)
		ret = change_make_overlay(c, overlay + 1);
	if (!ret)
		ret = change_switch(c, overlay + 1);
	if (ret)
		return ret;
	drop_page_cache(&c->a);
	/* With a place of its own for the new one, they are kept. */
	if (!file)
		remove_images(c, overlay);
	return VBLK_OK;
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
	uint64_t bytes;
	size_t overlay;
	int err, ret;

	err = layers_of_device(c->a.d.name, &bytes, &layers);
	ret = err ? err_errno(-err, c->a.d.name, "cannot tell its images") :
		    snapshot_find(&c->a, &layers, arg, &overlay);
	if (!ret)
		ret = change_begin(c);
	if (!ret) {
		snapshot_set_paused(&c->a, true);
		ret = revert(c, overlay, file);
		snapshot_set_paused(&c->a, false);
	}
	if (!ret) {
		snapshot_of_layer(&layers, overlay, &s);
		s.overlay = c->top.path;
		ret = snapshot_print(&c->a, &s, as_json);
	}
	layers_free(&layers);
	return ret;
}
