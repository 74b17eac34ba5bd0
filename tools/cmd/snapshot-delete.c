// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-snapshot --delete: what the overlay of a snapshot took is written into the snapshot's image, which is none
 * any more, and the overlay is removed.
 *
 * The device is suspended meanwhile, so nobody may use it. QEMU copies. Until the overlay is gone it hides
 * what is written below it, so the chain reads the same at each instant. The kernel has the new table before that:
 * it may refuse the image below as a top. And the overlay is gone before that image takes its first write as the top,
 * as it would hide this, too.
 *
 * A writer's locks keep new readers from the images that are written to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/child.h"
#include "disk/backing-name.h"
#include "disk/grow.h"
#include "disk/lockers.h"
#include "disk/overlay-note.h"
#include "disk/qemu-img.h"
#include "bitmap-change.h"
#include "err.h"
#include "out.h"
#include "server/state.h"
#include "snapshot.h"

/* The kernel's, and two of our own */
#define OWN_DESCRIPTIONS	3

/* The overlay, the images below and above it */
#define MAX_HELD		3

/**
 * struct deletion - a snapshot that is about to be forgotten
 * @c: the disk
 * @overlay: what the snapshot's image is the backing file of, counted from the top
 * @held: images that nobody else may read, with a writer's locks
 * @n_held: how many
 */
struct deletion {
	struct change *c;
	size_t overlay;
	int held[MAX_HELD];
	size_t n_held;
};

/* Locked first, then looked: who comes in between is refused, or seen. */
static int hold_image(struct deletion *del, size_t i)
{
	const struct change *c = del->c;
	const struct live_image *img = &c->chain.list[i];
	const char *name = c->a.d.name;
	struct dmdev other;
	int found;

	found = live_open_top(&c->chain, i, &del->held[del->n_held]);
	if (found)
		return err_errno(-found, name, "cannot lock %s", img->path);
	del->n_held++;
	found = live_find_other(&c->a.d, &img->st, &other);
	if (found < 0)
		return err_errno(-found, name, "cannot tell whether %s is in use", img->path);
	if (found)
		return err_report(VBLK_BUSY, name, "%s is in use: by " DMDEV_DIR "%s", img->path,
				  other.name);
	if (lockers_count(&img->st) > OWN_DESCRIPTIONS)
		return err_report(VBLK_BUSY, name, "%s is in use: somebody else has it locked",
				  img->path);
	return VBLK_OK;
}

static int hold_images(struct deletion *del)
{
	size_t overlay = del->overlay;
	int ret;

	ret = hold_image(del, overlay + 1);
	if (!ret)
		ret = hold_image(del, overlay);
	/* Its header is going to name another image. */
	if (!ret && overlay)
		ret = hold_image(del, overlay - 1);
	return ret;
}

static void let_go(struct deletion *del)
{
	while (del->n_held)
		close(del->held[--del->n_held]);
}

/*
 * What is behind the end of the overlay reads as zeroes above it, whatever is below: that would show
 * if the image above lay on a longer one. And a top must be as long as the disk.
 */
static int check_sizes(const struct change *c, size_t overlay)
{
	const struct live_image *img = &c->chain.list[overlay];
	uint64_t bytes, below_bytes;
	int err;

	err = grow_read_size(img, &bytes) ?: grow_read_size(img + 1, &below_bytes);
	if (err)
		return err_errno(-err, c->a.d.name, "cannot read the headers of its images");
	if (below_bytes <= bytes)
		return VBLK_OK;
	return err_report(VBLK_UNSUPPORTED, c->a.d.name,
			  "%s is longer than its overlay: what that hides would show", img[1].path);
}

static int check_delete(const struct change *c, size_t overlay)
{
	const struct live_image *image = &c->chain.list[overlay + 1];
	const char *why;
	int err;

	if (!S_ISREG(c->chain.list[overlay].st.st_mode))
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "%s is a block device, and cannot be removed",
				  c->chain.list[overlay].path);
	if (image->format != IMAGE_QCOW2)
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "%s is a raw image, and stays below", image->path);
	err = overlay ? 0 : live_check_top(image, &why);
	if (err)
		return err_report(VBLK_UNSUPPORTED, c->a.d.name,
				  "%s cannot be its image: %s", image->path, why);
	return check_sizes(c, overlay);
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
static int load(struct change *c, size_t overlay, bool is_without)
{
	const size_t top = is_without && !overlay;
	char *params;
	int fd, err;

	err = live_open_top(&c->chain, top, &fd);
	if (err)
		return err;
	params = live_table_without(&c->chain, top + 1, fd, is_without ? overlay : SIZE_MAX);
	err = params ? dmdev_load(c->a.d.name, c->chain.sectors, params, false) : -ENOMEM;
	free(params);
	close(fd);
	return err;
}

static void note_top(const struct change *c)
{
	char uuid[STATE_UUID_SIZE];

	change_forget_top(c);
	if (live_top_uuid(c->a.d.name, uuid, sizeof(uuid)) == 0 && strcmp(uuid, c->a.d.uuid) != 0)
		state_set_top(uuid, c->a.d.uuid);
	overlay_note_forget(c->chain.list[1].path);
	change_tell_top(c, c->chain.list[0].path, c->chain.list[1].path);
}

static int take_bitmaps(struct change *c)
{
	int ret = bitmap_take_over(c);

	return ret ? ret : sync_image(&c->chain.list[1], c->a.d.name);
}

/* Return: an exit code; else the images are those of the shorter chain, which is loaded. */
static int shorten(struct change *c, size_t overlay)
{
	const char *name = c->a.d.name;
	int err, ret;

	ret = commit(c, overlay);
	if (!ret)
		ret = overlay ? rebase(c, overlay) : take_bitmaps(c);
	if (ret)
		return ret;
	err = load(c, overlay, true);
	if (err) {
		ret = err_errno(-err, name, "the kernel refused the shorter chain");
		err_hint("dmesg | grep qcow2");
		return ret;
	}
	err = overlay ? 0 : snapshot_remove_image(&c->chain.list[overlay], NULL);
	if (err)
		return err_errno(-err, name, "cannot remove %s, which stays its image",
				 c->chain.list[overlay].path);
	return VBLK_OK;
}

/* Nobody uses the device. */
static int delete(struct change *c, size_t overlay)
{
	const char *name = c->a.d.name;
	int err, ret;

	err = c->a.d.is_suspended ? 0 : dmdev_suspend(name, c->a.is_served);
	if (err)
		return err_errno(-err, name, "cannot suspend it");
	ret = shorten(c, overlay);
	err = ret ? load(c, overlay, false) : 0;
	if (!err)
		err = dmdev_switch(name, c->a.is_served);
	if (err) {
		ret = err_errno(-err, name, "suspended: its chain cannot be put in place");
		err_hint_command("vblk-detach", name, NULL);
		return ret;
	}
	if (ret)
		return ret;
	if (!overlay) {
		note_top(c);
		return VBLK_OK;
	}
	err = overlay_note(c->chain.list[overlay + 1].path, c->chain.list[overlay - 1].path);
	if (err)
		err_errno(-err, OVERLAY_NOTE_DIR, "cannot write");
	err = snapshot_remove_image(&c->chain.list[overlay], NULL);
	if (err)
		snapshot_say_left(&c->chain.list[overlay], err);
	return VBLK_OK;
}

static int delete_held(struct change *c, size_t overlay)
{
	struct deletion del = { .c = c, .overlay = overlay };
	int ret;

	ret = hold_images(&del);
	if (!ret && !c->is_dry)
		ret = delete(c, overlay);
	let_go(&del);
	return ret;
}

static int say_plan(const struct change *c, const struct layers *layers, size_t overlay, bool as_json)
{
	struct snapshot s;

	snapshot_of_layer(layers, overlay, &s);
	if (as_json)
		return snapshot_print(&c->a, &s, true);
	printf("%s: %s would be written into %s, and removed\n", c->a.d.name, s.overlay, s.image);
	return out_flush();
}

/**
 * snapshot_delete() - forget a snapshot of a disk that nobody uses
 * @c: @a is locked
 * @arg: the snapshot
 * @as_json: what is printed where nothing is to be changed
 *
 * Return: an exit code; what is wrong has been reported.
 */
int snapshot_delete(struct change *c, const char *arg, bool as_json)
{
	struct layers layers;
	size_t overlay;
	int ret;

	ret = snapshot_find(&c->a, arg, &layers, &overlay);
	c->may_be_suspended = true;
	if (!ret)
		ret = change_begin(c);
	if (!ret)
		ret = snapshot_check_whole(c);
	if (!ret)
		ret = change_claim_disk(c);
	if (!ret)
		ret = check_delete(c, overlay);
	if (!ret && c->is_dry)
		ret = child_check("qemu-img");
	if (!ret)
		ret = delete_held(c, overlay);
	if (!ret && c->is_dry)
		ret = say_plan(c, &layers, overlay, as_json);
	layers_free(&layers);
	return ret;
}
