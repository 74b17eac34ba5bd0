// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-snapshot --delete: what the overlay of a snapshot took is written into the snapshot's image, which is none
 * any more, and the overlay is removed.
 *
 * The device is suspended meanwhile, so nobody may use it. QEMU copies. Until the overlay is gone it hides
 * what is written below it, so the chain reads the same at each instant; and it is gone before the image takes
 * its first write as the top, as it would hide that, too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/backing-name.h"
#include "disk/lockers.h"
#include "disk/qemu-img.h"
#include "err.h"
#include "server/state.h"
#include "snapshot.h"

/* The kernel's, and our own */
#define OWN_DESCRIPTIONS	2

static int check_others(const struct change *c, size_t i)
{
	const struct live_image *img = &c->chain.list[i];
	struct dmdev other;

	if (live_find_other(&c->a.d, &img->st, &other))
		return err_report(VBLK_BUSY, c->a.d.name, "%s is in use: by " DMDEV_DIR "%s",
				  img->path, other.name);
	if (lockers_count(&img->st) > OWN_DESCRIPTIONS)
		return err_report(VBLK_BUSY, c->a.d.name, "%s is in use: somebody else has it locked",
				  img->path);
	return VBLK_OK;
}

static int check_delete(const struct change *c, size_t overlay)
{
	const struct live_image *image = &c->chain.list[overlay + 1];
	int ret;

	if (!S_ISREG(c->chain.list[overlay].st.st_mode))
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "%s is a block device, and cannot be removed",
				  c->chain.list[overlay].path);
	if (image->format != IMAGE_QCOW2)
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "%s is a raw image, and stays below", image->path);
	ret = check_others(c, overlay + 1);
	if (!ret)
		ret = check_others(c, overlay);
	/* Its header is going to name another image. */
	if (!ret && overlay)
		ret = check_others(c, overlay - 1);
	return ret;
}

static int sync_image(const struct live_image *img, const char *name)
{
	return fsync(img->fd) < 0 ? err_errno(errno, name, "cannot write %s", img->path) : VBLK_OK;
}

static int commit(const struct change *c, size_t overlay)
{
	char *image = qemu_describe(&c->chain, overlay, true);
	const char *argv[] = { "qemu-img", "commit", "-q", "-d", image, NULL };
	int ret;

	if (!image)
		return err_errno(ENOMEM, c->a.d.name, "cannot run qemu-img");
	ret = qemu_run(&c->chain, argv, c->a.d.name);
	free(image);
	return ret ? ret : sync_image(&c->chain.list[overlay + 1], c->a.d.name);
}

/* The image over the overlay lies on what is below it from now on. */
static int rebase(const struct change *c, size_t overlay)
{
	const struct live_image *below = &c->chain.list[overlay + 1];
	char *image = qemu_describe(&c->chain, overlay - 1, false);
	const char *argv[] = {
		"qemu-img", "rebase", "-q", "-u", "-F", image_format_name(below->format),
		"-b", below->path, image, NULL
	};
	int ret;

	if (!image)
		return err_errno(ENOMEM, c->a.d.name, "cannot run qemu-img");
	ret = qemu_run(&c->chain, argv, c->a.d.name);
	free(image);
	return ret ? ret : sync_image(&c->chain.list[overlay - 1], c->a.d.name);
}

/* The chain without the overlay, or all of it. */
static int load_and_resume(struct change *c, size_t overlay, bool is_out)
{
	const size_t top = is_out && !overlay;
	char *params;
	int fd, err;

	err = live_open_top(&c->chain, top, &fd);
	if (err)
		return err;
	params = live_table_without(&c->chain, top + 1, fd, is_out ? overlay : SIZE_MAX);
	err = params ? dmdev_load(c->a.d.name, c->chain.sectors, params, false) : -ENOMEM;
	free(params);
	if (!err)
		err = dmdev_switch(c->a.d.name, c->a.is_served);
	close(fd);
	return err;
}

static void note_top(const struct change *c)
{
	char uuid[STATE_UUID_SIZE];

	change_forget_top(c);
	if (live_top_uuid(c->a.d.name, uuid, sizeof(uuid)) == 0 && strcmp(uuid, c->a.d.uuid) != 0)
		state_set_top(uuid, c->a.d.uuid);
	if (c->a.is_served)
		state_set_image(c->a.serving.name, c->chain.list[1].path);
}

/* Nobody uses the device. */
static int delete(struct change *c, size_t overlay)
{
	const char *name = c->a.d.name;
	bool is_out = false;
	int err, ret = VBLK_OK;

	err = c->a.d.is_suspended ? 0 : dmdev_suspend(name, c->a.is_served);
	if (err)
		return err_errno(-err, name, "cannot suspend it");
	ret = commit(c, overlay);
	if (!ret && overlay)
		ret = rebase(c, overlay);
	if (!ret)
		is_out = overlay || snapshot_remove_image(&c->chain.list[overlay], NULL);
	if (!ret && !is_out)
		ret = VBLK_FAILED;
	err = load_and_resume(c, overlay, is_out);
	if (err) {
		ret = err_errno(-err, name, "suspended: its chain cannot be put in place");
		err_hint_command("vblk-detach", name, NULL);
	} else if (is_out && !overlay) {
		note_top(c);
	} else if (is_out) {
		snapshot_remove_image(&c->chain.list[overlay], NULL);
	}
	return ret;
}

/**
 * snapshot_delete() - forget a snapshot of a disk that nobody uses
 * @c: @a is locked
 * @arg: the snapshot
 *
 * Return: an exit code; what is wrong has been reported.
 */
int snapshot_delete(struct change *c, const char *arg)
{
	struct layers layers;
	uint64_t bytes;
	size_t overlay;
	int err, ret;

	err = layers_of_device(c->a.d.name, &bytes, &layers);
	ret = err ? err_errno(-err, c->a.d.name, "cannot tell its images") :
		    snapshot_find(&c->a, &layers, arg, &overlay);
	layers_free(&layers);
	c->may_be_suspended = true;
	if (!ret)
		ret = change_begin(c);
	if (ret)
		return ret;
	snapshot_set_paused(&c->a, true);
	ret = snapshot_check_unused(&c->a);
	if (!ret)
		ret = check_delete(c, overlay);
	if (!ret)
		ret = delete(c, overlay);
	snapshot_set_paused(&c->a, false);
	return ret;
}
