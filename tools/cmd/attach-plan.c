// SPDX-License-Identifier: GPL-2.0-only
/* The images of an attach: opened, and with --dry-run told of instead of attached. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "attach.h"
#include "disk/dm.h"
#include "disk/overlay-note.h"
#include "err.h"
#include "out-chain.h"

/* A top has no overlay: what its guest writes would be missing from that, and change what that lies on. */
static int check_overlay(const struct attach *a)
{
	char overlay[PATH_MAX];
	int ret;

	if (a->read_only || !overlay_note_find(&a->img, overlay))
		return VBLK_OK;
	ret = err_report(VBLK_DENIED, a->img.arg,
			 "%s lies on it, since a snapshot, and writes to it would ruin that", overlay);
	err_hint_command("vblk-attach", overlay, a->name, NULL);
	return ret;
}

/** attach_open_images() - the image and all below it; attach_close_images() is due; an exit code */
int attach_open_images(struct attach *a)
{
	int ret = VBLK_OK;

	for (size_t i = 0; i < a->nr_backing && !ret; i++)
		ret = backing_allow(&a->policy, a->backing[i]);
	if (!ret)
		ret = image_open(&a->img, a->read_only);
	if (!ret)
		ret = check_overlay(a);
	if (!ret)
		ret = chain_open(&a->chain, &a->img, &a->policy);
	return ret;
}

/** attach_close_images() - the kernel has them, or nobody */
void attach_close_images(struct attach *a)
{
	chain_close(&a->chain);
	image_close(&a->img);
}

/**
 * attach_keeps_space() - whether discarded clusters stay allocated without being asked for it
 *
 * All blocks of the file are there, so that it shall not need any later: it was preallocated, or
 * it was thin and its disk has been written from end to end.
 */
bool attach_keeps_space(const struct attach *a)
{
	const struct image *img = a->img.data ? a->img.data : &a->img;

	return !a->discard && !a->read_only && S_ISREG(img->st.st_mode) &&
	       (uint64_t)img->st.st_blocks * 512 >= img->virtual_bytes;
}

static const char *discard_mode(const struct attach *a)
{
	if (a->discard)
		return a->discard;
	return attach_keeps_space(a) ? "keep" : NULL;
}

/* What differs from the target's defaults, each behind a space. Return: how many there are. */
static unsigned int add_features(const struct attach *a, char *text, size_t size)
{
	const char *discard = discard_mode(a);
	unsigned int count = 0;
	size_t len = 0;

	if (a->cache_mb) {
		len += snprintf(text + len, size - len, " cache_mb=%u", a->cache_mb);
		count++;
	}
	if (a->low_space) {
		len += snprintf(text + len, size - len, " low_space=%ju", (uintmax_t)a->low_space);
		count++;
	}
	if (discard) {
		snprintf(text + len, size - len, " discard=%s", discard);
		count++;
	}
	return count;
}

/** attach_params() - what follows "qcow2" in the table line; the caller frees it, or it is NULL */
char *attach_params(const struct attach *a, bool with_paths)
{
	char *layers = chain_table(&a->chain, with_paths), *params = NULL;
	char features[96] = "";
	unsigned int count;
	int n;

	count = add_features(a, features, sizeof(features));
	if (!layers || !count)
		return layers;
	n = asprintf(&params, "%s features %u%s", layers, count, features);
	free(layers);
	return n < 0 ? NULL : params;
}

static int print_plan(const struct attach *a, const struct layers *layers)
{
	char *params = attach_params(a, true), *table = NULL;
	int ret = VBLK_OK;

	if (!params || asprintf(&table, "0 %ju " DMDEV_TARGET " %s",
				(uintmax_t)a->img.virtual_bytes >> 9, params) < 0)
		ret = err_errno(ENOMEM, a->img.arg, "cannot print the plan");
	if (!ret)
		ret = out_plan(&(struct plan){
			.name = a->name,
			.bytes = a->img.virtual_bytes,
			.is_read_only = a->read_only,
			.layers = layers,
			.table = table,
		}, a->format == OUT_JSON);
	free(params);
	free(table);
	return ret;
}

/** attach_plan() - all that an attach does before it makes anything, and print it; an exit code */
int attach_plan(struct attach *a)
{
	struct layers layers = {};
	int ret;

	/* It is asked who has a lock, and may not be there. */
	dmdev_be_quiet();
	ret = attach_choose_rest(a);
	if (!ret)
		ret = attach_open_images(a);
	if (!ret && layers_of_chain(&a->chain, &layers))
		ret = err_errno(ENOMEM, a->img.arg, "cannot print the plan");
	if (!ret)
		ret = print_plan(a, &layers);
	layers_free(&layers);
	attach_close_images(a);
	return ret;
}
