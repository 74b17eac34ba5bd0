// SPDX-License-Identifier: GPL-2.0-only
/* The snapshots of a disk: the images below its top, and what they are called. */
#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "out-chain.h"
#include "out.h"
#include "snapshot.h"

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Length of a file's name up to its last dot */
static size_t stem_bytes(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot > name ? (size_t)(dot - name) : strlen(name);
}

/**
 * snapshot_name() - what a snapshot is called
 * @image: path of the image that has the state
 * @overlay: path of the image over that
 *
 * Return: what @overlay has in the place of what is behind the last dot of @image; "" when it
 * is not called so.
 */
const char *snapshot_name(const char *image, const char *overlay)
{
	const char *name = file_name(overlay), *below = file_name(image);
	size_t stem = stem_bytes(below);

	return !strncmp(name, below, stem) && name[stem] == '.' ? name + stem + 1 : "";
}

/**
 * snapshot_of_layer() - the snapshot that an image of a chain is the overlay of
 * @overlay: which image, counted from the top; there is another one below it
 * @s: filled in; points into @layers
 */
void snapshot_of_layer(const struct layers *layers, size_t overlay, struct snapshot *s)
{
	s->overlay = layers->list[overlay].path;
	s->image = layers->list[overlay + 1].path;
	s->name = snapshot_name(s->image, s->overlay);
}

static json_object *to_json(const struct snapshot *s)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "snapshot", *s->name ? json_object_new_string(s->name) : NULL);
	json_object_object_add(o, "image", json_object_new_string(s->image));
	json_object_object_add(o, "overlay", json_object_new_string(s->overlay));
	return o;
}

static void print_json(const struct attached *a, const struct layers *layers)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct snapshot s;

	for (size_t i = 0; i + 1 < layers->n; i++) {
		snapshot_of_layer(layers, i, &s);
		json_object_array_add(list, to_json(&s));
	}
	json_object_object_add(o, "name", json_object_new_string(a->d.name));
	json_object_object_add(o, "snapshots", list);
	out_json(o);
}

static int add_line(struct libscols_table *tb, const struct snapshot *s)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);

	if (!ln || (*s->name && scols_line_set_data(ln, 0, s->name)) ||
	    scols_line_set_data(ln, 1, s->image) || scols_line_set_data(ln, 2, s->overlay))
		return -ENOMEM;
	return 0;
}

static int print_table(const struct layers *layers)
{
	struct libscols_table *tb = scols_new_table();
	struct snapshot s;
	int err = 0;

	if (!tb)
		return -ENOMEM;
	if (!scols_table_new_column(tb, "SNAPSHOT", 8, 0) ||
	    !scols_table_new_column(tb, "IMAGE", 20, 0) ||
	    !scols_table_new_column(tb, "OVERLAY", 20, 0))
		err = -ENOMEM;
	for (size_t i = 0; i + 1 < layers->n && !err; i++) {
		snapshot_of_layer(layers, i, &s);
		err = add_line(tb, &s);
	}
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

/** snapshot_list() - print the snapshots of a disk, the newest first; an exit code */
int snapshot_list(const struct attached *a, bool as_json)
{
	struct layers layers;
	uint64_t bytes;
	int err;

	err = layers_of_device(a->d.name, &bytes, &layers);
	if (!err && as_json)
		print_json(a, &layers);
	else if (!err)
		err = print_table(&layers);
	layers_free(&layers);
	return err ? err_errno(-err, a->d.name, "cannot tell its images") : out_flush();
}

static bool is_meant(const struct snapshot *s, const char *arg)
{
	char real[PATH_MAX];

	if (!strchr(arg, '/'))
		return !strcmp(s->name, arg);
	return realpath(arg, real) && !strcmp(s->image, real);
}

/**
 * snapshot_find() - find a snapshot by its name, or by the path of its image
 * @layers: set to the images of the disk; layers_free() is due in either case
 * @overlay: set to the overlay of it, counted from the top
 *
 * Return: an exit code; what is wrong has been reported.
 */
int snapshot_find(const struct attached *a, const char *arg, struct layers *layers,
		  size_t *overlay)
{
	struct snapshot s;
	size_t found = 0;
	uint64_t bytes;
	int err;

	err = layers_of_device(a->d.name, &bytes, layers);
	if (err)
		return err_errno(-err, a->d.name, "cannot tell its images");
	for (size_t i = 0; i + 1 < layers->n; i++) {
		snapshot_of_layer(layers, i, &s);
		if (!is_meant(&s, arg))
			continue;
		*overlay = i;
		found++;
	}
	if (found == 1)
		return VBLK_OK;
	err_report(found ? VBLK_USAGE : VBLK_NOT_FOUND, arg,
		   found ? "several snapshots of %s are called so: name one by its image" :
			   "%s has no such snapshot", a->d.name);
	err_hint_command("vblk-snapshot", "--list", a->d.name, NULL);
	return found ? VBLK_USAGE : VBLK_NOT_FOUND;
}

/** snapshot_print() - print what was made; an exit code */
int snapshot_print(const struct attached *a, const struct snapshot *s, bool as_json)
{
	json_object *o;

	if (as_json) {
		o = to_json(s);
		json_object_object_add(o, "name", json_object_new_string(a->d.name));
		out_json(o);
	} else {
		if (*s->name)
			out_path("snapshot: ", s->name);
		out_path("image:    ", s->image);
		out_path("overlay:  ", s->overlay);
	}
	return out_flush();
}
