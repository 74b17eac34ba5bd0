// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which image has parts of those above it, as they were being merged into it, and are not all there yet.
 *
 * Read alone that is a state that the disk never had. The job's file is gone with the next boot, or with --cancel: so this is
 * one more link among those of overlays. What counts is whether a chain has both images.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "merge-note.h"
#include "overlay-note.h"

/* No path of an image. */
#define KEY_PREFIX	"merged into "
#define DEVICE_PREFIX	"merged into a device, "

/* What the kernel calls a device may be another one behind the next boot: that is found by what is merged. */
static bool make_key(char key[PATH_MAX], const struct live_image *into, const struct live_image *merged)
{
	const char *path = into->path, *prefix = KEY_PREFIX;

	if (S_ISBLK(into->st.st_mode)) {
		path = merged->path;
		prefix = DEVICE_PREFIX;
	}
	return snprintf(key, PATH_MAX, "%s%s", prefix, path) < PATH_MAX;
}

/* Another file of the same name is another image. */
static bool make_value(char value[PATH_MAX], const struct live_image *merged)
{
	return snprintf(value, PATH_MAX, "%ju:%s", (uintmax_t)merged->st.st_ino, merged->path) < PATH_MAX;
}

/**
 * merge_note() - images are about to be written into one below; durable
 * @into: that one
 * @merged: the highest of them
 *
 * Return: 0 or -errno.
 */
int merge_note(const struct live_image *into, const struct live_image *merged)
{
	char key[PATH_MAX], value[PATH_MAX];

	if (!make_key(key, into, merged) || !make_value(value, merged))
		return -ENAMETOOLONG;
	return overlay_note(key, value);
}

/** merge_note_forget() - it has all of them, or nothing */
void merge_note_forget(const struct live_image *into, const struct live_image *merged)
{
	char key[PATH_MAX];

	if (make_key(key, into, merged))
		overlay_note_forget(key);
}

/**
 * merge_note_find() - look for such an image in a chain
 * @merged: set to the highest that is merged into it, counted from the top
 * @into: set to it
 *
 * Return: whether there is one.
 */
bool merge_note_find(const struct live_chain *c, size_t *merged, size_t *into)
{
	char key[PATH_MAX], value[PATH_MAX], noted[PATH_MAX];

	for (*into = 1; *into < c->n; ++*into)
		for (*merged = 0; *merged < *into; ++*merged)
			if (make_key(key, &c->list[*into], &c->list[*merged]) &&
			    overlay_note_read(key, noted) &&
			    make_value(value, &c->list[*merged]) && !strcmp(value, noted))
				return true;
	return false;
}
