// SPDX-License-Identifier: GPL-2.0-only
/* What the verbs print of the images of a disk, the top first. */
#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>

#include "disk/backing-name.h"
#include "err.h"
#include "out-chain.h"
#include "out.h"

/* A name may have been chosen to look like two lines. */
static void print_path(const char *path)
{
	for (; *path; path++) {
		if ((unsigned char)*path < ' ' || *path == 0x7f)
			printf("\\%03o", (unsigned char)*path);
		else
			putchar(*path);
	}
}

/** out_path() - a line with a path, or another name of somebody's choice */
void out_path(const char *what, const char *path)
{
	fputs(what, stdout);
	print_path(path);
	putchar('\n');
}

/** out_layers() - a line an image, and one for its data file, if it has one */
void out_layers(const struct layers *layers)
{
	char size[16];

	for (size_t i = 0; i < layers->n; i++) {
		const struct layer *l = &layers->list[i];

		fputs("image:  ", stdout);
		print_path(l->path);
		printf(", %s", image_format_name(l->format));
		if (l->bytes) {
			out_format_bytes(l->bytes, size, sizeof(size));
			printf(", %s", size);
		}
		putchar('\n');
		if (l->data) {
			fputs("data:   ", stdout);
			print_path(l->data);
			putchar('\n');
		}
	}
}

static json_object *layer_to_json(const struct layer *l)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "image", json_object_new_string(l->path));
	json_object_object_add(o, "format",
			       json_object_new_string(image_format_name(l->format)));
	json_object_object_add(o, "size_bytes", l->bytes ? out_bytes_json(l->bytes) : NULL);
	json_object_object_add(o, "data_file", l->data ? json_object_new_string(l->data) : NULL);
	return o;
}

/** out_layers_json() - an array of objects, which the caller has */
json_object *out_layers_json(const struct layers *layers)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < layers->n; i++)
		json_object_array_add(list, layer_to_json(&layers->list[i]));
	return list;
}

static void print_plan_json(const struct plan *p)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(p->name));
	json_object_object_add(o, "size_bytes", out_bytes_json(p->bytes));
	json_object_object_add(o, "read_only", json_object_new_boolean(p->is_read_only));
	json_object_object_add(o, "chain", out_layers_json(p->layers));
	json_object_object_add(o, "table", json_object_new_string(p->table));
	out_json(o);
}

/**
 * out_plan() - print what an attach would do
 *
 * Return: an exit code; what is wrong has been reported.
 */
int out_plan(const struct plan *p, bool as_json)
{
	if (as_json) {
		print_plan_json(p);
	} else {
		printf("device: " DMDEV_DIR "%s\n", p->name);
		out_layers(p->layers);
		fputs("table:  ", stdout);
		print_path(p->table);
		putchar('\n');
	}
	return out_flush();
}

static bool have_data_files(const struct layers *layers)
{
	for (size_t i = 0; i < layers->n; i++)
		if (layers->list[i].data)
			return true;
	return false;
}

static int add_line(struct libscols_table *tb, const struct layer *l)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);

	if (!ln || scols_line_set_data(ln, 0, image_format_name(l->format)) ||
	    scols_line_set_data(ln, 1, l->path) ||
	    (l->data && scols_line_set_data(ln, 2, l->data)))
		return -ENOMEM;
	return 0;
}

static int print_table(const struct layers *layers)
{
	struct libscols_table *tb = scols_new_table();
	int err = 0;

	if (!tb)
		return -ENOMEM;
	if (!scols_table_new_column(tb, "FORMAT", 5, 0) ||
	    !scols_table_new_column(tb, "IMAGE", 20, 0) ||
	    (have_data_files(layers) && !scols_table_new_column(tb, "DATA FILE", 20, 0)))
		err = -ENOMEM;
	for (size_t i = 0; i < layers->n && !err; i++)
		err = add_line(tb, &layers->list[i]);
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

/**
 * out_chain() - print the images of an attached disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int out_chain(const struct attached *a, const struct layers *layers, bool as_json)
{
	json_object *o;
	int err = 0;

	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(a->d.name));
		json_object_object_add(o, "chain", out_layers_json(layers));
		out_json(o);
	} else {
		err = print_table(layers);
	}
	return err ? err_errno(-err, NULL, "cannot print the list") : out_flush();
}
