// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verbs print on stdout: text for people, JSON for programs, the line
 * for QEMU and the element for libvirt.
 */
#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "out-chain.h"
#include "out.h"

/* The longest has a path. */
#define CELL_BYTES	(PATH_MAX + 32)

/** out_flush() - have what was printed written; an exit code */
int out_flush(void)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return err_errno(errno, "standard output", "cannot write");
	return VBLK_OK;
}

static void print_text(const struct attached *a, const struct layers *layers,
		       enum qemu_reconnect reconnect)
{
	struct qemu_args q;

	printf("device: " DMDEV_DIR "%s\n", a->d.name);
	if (layers->n > 1)
		out_layers(layers);
	if (!a->is_served)
		return;
	qemu_make_args(a, reconnect, &q);
	printf("socket: %s\n", a->serving.socket);
	printf("qemu:   -m RAM -object %s \\\n"
	       "        -machine memory-backend=mem \\\n"
	       "        -chardev %s \\\n"
	       "        -device %s\n", q.object, q.chardev, q.device);
}

static void print_escaped(const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", stdout);
			break;
		case '<':
			fputs("&lt;", stdout);
			break;
		case '\'':
			fputs("&apos;", stdout);
			break;
		default:
			putchar(*text);
		}
	}
}

static void print_libvirt_xml(const struct attached *a)
{
	printf("<disk type='vhostuser' device='disk' snapshot='no'>\n"
	       "  <driver name='qemu' type='raw' queues='%u' queue_size='%u'/>\n"
	       "  <source type='unix' path='",
	       a->serving.queues, a->serving.queue_size);
	print_escaped(a->serving.socket);
	printf("'>\n"
	       "    <reconnect enabled='yes' timeout='1'/>\n"
	       "  </source>\n"
	       "  <target dev='vda' bus='virtio'/>\n"
	       "</disk>\n");
}

static void add_qemu_args(json_object *o, const struct attached *a,
			  enum qemu_reconnect reconnect)
{
	json_object *args = json_object_new_array();
	struct qemu_args q;
	size_t i;

	qemu_make_args(a, reconnect, &q);
	const char *const words[] = {
		"-object", q.object, "-machine", "memory-backend=mem",
		"-chardev", q.chardev, "-device", q.device,
	};
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		json_object_array_add(args, json_object_new_string(words[i]));
	json_object_object_add(o, "qemu_args", args);
}

/** out_json() - print an object, and forget it */
void out_json(json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

enum column_id {
	COL_NAME,
	COL_DEVICE,
	COL_IMAGE,
	COL_SIZE,
	COL_USED,
	COL_RO,
	COL_SOCKET,
	COL_SERVER,
	COL_STATE,
	COL_PROBLEM,
	COL_DEPTH,
	COL_BASE,
	COL_LEFT,
	COL_LOW,
	COL_SERIAL,
	COL_GUEST,
	COL_LOW_SPACE,
	COL_JOB,
	NR_COLUMNS,
};

/**
 * struct column - a property of a disk, for people and for programs
 * @name: for people; the order is that of `vblk-list` without -o
 * @key: its name in JSON, whichever verb prints it: vblk.schema.json
 * @old_key: the name that `vblk-list --json` had for it, which stays
 * @on_request: not in a table unless -o names it
 */
static const struct column {
	const char *name;
	double width;
	int flags;
	const char *key;
	const char *old_key;
	bool on_request;
} columns[NR_COLUMNS] = {
	[COL_NAME] = { "NAME", 10, 0, "name" },
	[COL_DEVICE] = { "DEVICE", 20, 0, "device" },
	[COL_IMAGE] = { "IMAGE", 20, SCOLS_FL_TRUNC, "image" },
	[COL_SIZE] = { "SIZE", 6, SCOLS_FL_RIGHT, "size_bytes", "size" },
	[COL_USED] = { "USED", 6, SCOLS_FL_RIGHT, "used_bytes", "used" },
	[COL_RO] = { "RO", 1, SCOLS_FL_RIGHT, "read_only", "ro" },
	[COL_SOCKET] = { "SOCKET", 20, 0, "socket" },
	[COL_SERVER] = { "SERVER", 6, SCOLS_FL_RIGHT, "server_pid", "server" },
	[COL_STATE] = { "STATE", 8, 0, "state" },
	[COL_PROBLEM] = { "PROBLEM", 7, 0, "problem" },
	[COL_DEPTH] = { "DEPTH", 1, SCOLS_FL_RIGHT, "depth" },
	[COL_BASE] = { "BASE", 20, SCOLS_FL_TRUNC, "base" },
	[COL_LEFT] = { "LEFT", 6, SCOLS_FL_RIGHT, "left_bytes" },
	[COL_LOW] = { "LOW", 1, SCOLS_FL_RIGHT, "is_low" },
	[COL_SERIAL] = { "SERIAL", 10, 0, "serial", NULL, true },
	[COL_GUEST] = { "GUEST", 6, SCOLS_FL_RIGHT, "guest_pid", NULL, true },
	[COL_LOW_SPACE] = { "LOW_SPACE", 6, SCOLS_FL_RIGHT, "low_space_bytes", NULL, true },
	[COL_JOB] = { "JOB", 3, 0, "job" },
};

/** out_format_bytes() - a size for people, like 3.2G */
void out_format_bytes(uint64_t bytes, char *text, size_t size)
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;
	uint64_t rest = 0;

	while (bytes >= 1024) {
		rest = bytes % 1024;
		bytes /= 1024;
		unit++;
	}
	if (rest * 10 / 1024)
		snprintf(text, size, "%ju.%ju%c", (uintmax_t)bytes,
			 (uintmax_t)rest * 10 / 1024, units[unit]);
	else
		snprintf(text, size, "%ju%c", (uintmax_t)bytes, units[unit]);
}

/* The text of one cell; empty where there is nothing to say. */
static void format_cell(const struct attached *a, enum column_id id,
			char *text, size_t size)
{
	text[0] = '\0';
	switch (id) {
	case COL_NAME:
		snprintf(text, size, "%s", a->d.name);
		break;
	case COL_DEVICE:
		snprintf(text, size, DMDEV_DIR "%s", a->d.name);
		break;
	case COL_IMAGE:
		snprintf(text, size, "%s", a->image);
		break;
	case COL_SIZE:
		out_format_bytes(a->bytes, text, size);
		break;
	case COL_USED:
		if (a->has_usage)
			out_format_bytes(a->used_bytes, text, size);
		break;
	case COL_RO:
		snprintf(text, size, "%d", a->d.is_read_only);
		break;
	case COL_SOCKET:
		if (a->is_served)
			snprintf(text, size, "%s", a->serving.socket);
		break;
	case COL_SERVER:
		if (a->server)
			snprintf(text, size, "%d", a->server);
		break;
	case COL_STATE:
		snprintf(text, size, "%s", attached_state(a));
		break;
	case COL_PROBLEM:
		snprintf(text, size, "%s", a->problem);
		break;
	case COL_DEPTH:
		snprintf(text, size, "%u", a->depth);
		break;
	case COL_BASE:
		snprintf(text, size, "%s", a->base);
		break;
	case COL_LEFT:
		if (a->has_left)
			out_format_bytes(a->left_bytes, text, size);
		break;
	case COL_LOW:
		if (a->has_left)
			snprintf(text, size, "%d", attached_is_low(a));
		break;
	case COL_LOW_SPACE:
		if (a->low_space_bytes)
			out_format_bytes(a->low_space_bytes, text, size);
		break;
	case COL_SERIAL:
		if (a->is_served)
			snprintf(text, size, "%s", a->serving.serial);
		break;
	case COL_GUEST:
		if (a->guest > 0)
			snprintf(text, size, "%d", a->guest);
		break;
	case COL_JOB:
		if (a->has_job)
			snprintf(text, size, "%s %u%%%s", *a->job.verb ? a->job.verb : "?",
				 a->job.percent, a->job.is_running ? "" : ", stopped");
		break;
	case NR_COLUMNS:
		break;
	}
}

/** out_bytes_json() - a size for JSON */
json_object *out_bytes_json(uint64_t bytes)
{
	return json_object_new_int64(bytes < INT64_MAX ? bytes : INT64_MAX);
}

static json_object *pid_to_json(pid_t pid)
{
	return pid > 0 ? json_object_new_int(pid) : NULL;
}

static json_object *job_to_json(const struct job *job)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "verb", json_object_new_string(job->verb));
	json_object_object_add(o, "percent", json_object_new_int(job->percent));
	json_object_object_add(o, "pid", pid_to_json(job->pid));
	return o;
}

/* NULL, which is null in JSON, where there is nothing to say. */
static json_object *cell_to_json(const struct attached *a, enum column_id id)
{
	char text[CELL_BYTES];

	switch (id) {
	case COL_SIZE:
		return out_bytes_json(a->bytes);
	case COL_USED:
		return a->has_usage ? out_bytes_json(a->used_bytes) : NULL;
	case COL_LEFT:
		return a->has_left ? out_bytes_json(a->left_bytes) : NULL;
	case COL_LOW:
		return a->has_left ? json_object_new_boolean(attached_is_low(a)) : NULL;
	case COL_LOW_SPACE:
		return a->low_space_bytes ? out_bytes_json(a->low_space_bytes) : NULL;
	case COL_DEPTH:
		return json_object_new_int(a->depth);
	case COL_RO:
		return json_object_new_boolean(a->d.is_read_only);
	case COL_SERVER:
		return pid_to_json(a->server);
	case COL_GUEST:
		return pid_to_json(a->guest);
	case COL_JOB:
		return a->has_job ? job_to_json(&a->job) : NULL;
	default:
		format_cell(a, id, text, sizeof(text));
		return *text ? json_object_new_string(text) : NULL;
	}
}

static json_object *disk_to_json(const struct attached *a,
				 const enum column_id *ids, size_t n,
				 bool with_old_keys)
{
	json_object *o = json_object_new_object();
	const struct column *c;
	size_t i;

	for (i = 0; i < n; i++) {
		c = &columns[ids[i]];
		json_object_object_add(o, c->key, cell_to_json(a, ids[i]));
		if (with_old_keys && c->old_key)
			json_object_object_add(o, c->old_key,
					       cell_to_json(a, ids[i]));
	}
	return o;
}

static int find_column(const char *name, size_t len)
{
	int id;

	for (id = 0; id < NR_COLUMNS; id++)
		if (strlen(columns[id].name) == len &&
		    !strncasecmp(columns[id].name, name, len))
			return id;
	return -1;
}

/* "NAME,STATE" into ids; for NULL those of a table, or all. */
static int parse_columns(const char *list, bool all, enum column_id *ids,
			 size_t *n)
{
	size_t len;
	int id;

	*n = 0;
	if (!list) {
		for (id = 0; id < NR_COLUMNS; id++)
			if (all || !columns[id].on_request)
				ids[(*n)++] = id;
		return VBLK_OK;
	}
	for (;; list += len + 1) {
		len = strcspn(list, ",");
		id = find_column(list, len);
		if (id < 0 || *n == NR_COLUMNS)
			return err_report(VBLK_USAGE, "-o",
					  "'%.*s': no such column, or too many",
					  (int)len, list);
		ids[(*n)++] = id;
		if (!list[len])
			return VBLK_OK;
	}
}

static int add_columns(struct libscols_table *tb, const enum column_id *ids,
		       size_t n)
{
	struct libscols_column *cl;
	const struct column *c;
	size_t i;

	for (i = 0; i < n; i++) {
		c = &columns[ids[i]];
		cl = scols_table_new_column(tb, c->name, c->width, c->flags);
		if (!cl)
			return -ENOMEM;
	}
	return 0;
}

/* A size is what JSON has in bytes. */
static void format_bytes_cell(const struct attached *a, enum column_id id, char *text, size_t size)
{
	json_object *o;

	if (!strstr(columns[id].key, "_bytes")) {
		format_cell(a, id, text, size);
		return;
	}
	o = cell_to_json(a, id);
	snprintf(text, size, "%s", o ? json_object_get_string(o) : "");
	json_object_put(o);
}

static int add_disk(struct libscols_table *tb, const struct attached *a,
		    const enum column_id *ids, size_t n, bool in_bytes)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	char text[CELL_BYTES];
	size_t i;

	if (!ln)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		(in_bytes ? format_bytes_cell : format_cell)(a, ids[i], text, sizeof(text));
		if (*text && scols_line_set_data(ln, i, text))
			return -ENOMEM;
	}
	return 0;
}

static int print_table(const struct attached *disks, size_t nr_disks,
		       const enum column_id *ids, size_t nr_ids, const struct out_table *how)
{
	struct libscols_table *tb = scols_new_table();
	size_t i;
	int err;

	if (!tb)
		return -ENOMEM;
	scols_table_enable_noheadings(tb, how->no_headings);
	err = add_columns(tb, ids, nr_ids);
	for (i = 0; !err && i < nr_disks; i++)
		err = add_disk(tb, &disks[i], ids, nr_ids, how->in_bytes);
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

static void print_list_json(const struct attached *disks, size_t nr_disks,
			    const enum column_id *ids, size_t nr_ids)
{
	json_object *list = json_object_new_array();
	json_object *o = json_object_new_object();
	size_t i;

	for (i = 0; i < nr_disks; i++)
		json_object_array_add(list,
				      disk_to_json(&disks[i], ids, nr_ids, true));
	json_object_object_add(o, "disks", list);
	out_json(o);
}

/**
 * out_attached() - print what an attach made
 * @a: the disk
 * @layers: its images
 * @format: JSON, libvirt's XML, or text
 * @reconnect: of the QEMU that the line is for
 */
void out_attached(const struct attached *a, const struct layers *layers, enum out_format format,
		  enum qemu_reconnect reconnect)
{
	static const enum column_id ids[] = {
		COL_NAME, COL_DEVICE, COL_IMAGE, COL_DEPTH, COL_BASE, COL_SIZE, COL_RO, COL_STATE,
		COL_SOCKET, COL_SERIAL, COL_SERVER, COL_GUEST,
	};
	json_object *o;

	switch (format) {
	case OUT_TEXT:
		print_text(a, layers, reconnect);
		break;
	case OUT_LIBVIRT_XML:
		print_libvirt_xml(a);
		break;
	case OUT_JSON:
		o = disk_to_json(a, ids, sizeof(ids) / sizeof(ids[0]), false);
		json_object_object_add(o, "chain", out_layers_json(layers));
		if (a->is_served)
			add_qemu_args(o, a, reconnect);
		out_json(o);
		break;
	}
}

/**
 * out_list() - print a table of disks
 * @disks: the disks
 * @n: how many
 * @how: in which way
 *
 * Return: an exit code; what is wrong has been reported.
 */
int out_list(const struct attached *disks, size_t n, const struct out_table *how)
{
	enum column_id ids[NR_COLUMNS];
	size_t nr_ids;
	int err = 0, ret;

	ret = parse_columns(how->columns, how->as_json, ids, &nr_ids);
	if (ret)
		return ret;
	if (how->as_json)
		print_list_json(disks, n, ids, nr_ids);
	else
		err = print_table(disks, n, ids, nr_ids, how);
	return err ? err_errno(-err, NULL, "cannot print the list") : out_flush();
}
