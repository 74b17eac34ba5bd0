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
#include "out.h"

#define ARG_BYTES	512

/** out_flush() - have what was printed written; an exit code */
int out_flush(void)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return err_errno(errno, "standard output", "cannot write");
	return VBLK_OK;
}

static void print_text(const struct attached *a, enum qemu_reconnect reconnect)
{
	struct qemu_args q;

	printf("device: " DMDEV_DIR "%s\n", a->d.name);
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

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, *value ? json_object_new_string(value) :
			       NULL);
}

static void add_pid(json_object *o, const char *key, pid_t pid)
{
	json_object_object_add(o, key, pid ? json_object_new_int(pid) : NULL);
}

static json_object *disk_to_json(const struct attached *a)
{
	json_object *o = json_object_new_object();
	char device[ARG_BYTES];

	snprintf(device, sizeof(device), DMDEV_DIR "%s", a->d.name);
	add_string(o, "name", a->d.name);
	add_string(o, "device", device);
	add_string(o, "image", a->image);
	json_object_object_add(o, "size_bytes", json_object_new_int64(a->bytes));
	json_object_object_add(o, "read_only",
			       json_object_new_boolean(a->d.is_read_only));
	add_string(o, "state", attached_state(a));
	add_string(o, "socket", a->is_served ? a->serving.socket : "");
	add_string(o, "serial", a->is_served ? a->serving.serial : "");
	add_pid(o, "server_pid", a->server);
	add_pid(o, "guest_pid", a->guest);
	return o;
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

static void print_json(json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/**
 * out_attached() - print what an attach made
 * @a: the disk
 * @format: JSON, libvirt's XML, or text
 * @reconnect: of the QEMU that the line is for
 */
void out_attached(const struct attached *a, enum out_format format,
		  enum qemu_reconnect reconnect)
{
	json_object *o;

	switch (format) {
	case OUT_TEXT:
		print_text(a, reconnect);
		break;
	case OUT_LIBVIRT_XML:
		print_libvirt_xml(a);
		break;
	case OUT_JSON:
		o = disk_to_json(a);
		if (a->is_served)
			add_qemu_args(o, a, reconnect);
		print_json(o);
		break;
	}
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
	NR_COLUMNS,
};

/* The order of `vblk-list` without -o; JSON has the same keys in lower case. */
static const struct column {
	const char *name;
	double width;
	int flags;
	int json_type;
} columns[NR_COLUMNS] = {
	[COL_NAME] = { "NAME", 10, 0, SCOLS_JSON_STRING },
	[COL_DEVICE] = { "DEVICE", 20, 0, SCOLS_JSON_STRING },
	[COL_IMAGE] = { "IMAGE", 20, SCOLS_FL_TRUNC, SCOLS_JSON_STRING },
	[COL_SIZE] = { "SIZE", 6, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_USED] = { "USED", 6, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_RO] = { "RO", 1, SCOLS_FL_RIGHT, SCOLS_JSON_BOOLEAN },
	[COL_SOCKET] = { "SOCKET", 20, 0, SCOLS_JSON_STRING },
	[COL_SERVER] = { "SERVER", 6, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_STATE] = { "STATE", 8, 0, SCOLS_JSON_STRING },
};

static void format_bytes(uint64_t bytes, bool as_json, char *text, size_t size)
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;
	uint64_t rest = 0;

	if (as_json) {
		snprintf(text, size, "%ju", (uintmax_t)bytes);
		return;
	}
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
			bool as_json, char *text, size_t size)
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
		format_bytes(a->bytes, as_json, text, size);
		break;
	case COL_USED:
		if (a->has_usage)
			format_bytes(a->used_bytes, as_json, text, size);
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
	case NR_COLUMNS:
		break;
	}
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

/* "NAME,STATE" into ids; all columns for NULL. */
static int parse_columns(const char *list, enum column_id *ids, size_t *n)
{
	size_t len;
	int id;

	*n = 0;
	if (!list) {
		for (id = 0; id < NR_COLUMNS; id++)
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
		scols_column_set_json_type(cl, c->json_type);
	}
	return 0;
}

static int add_disk(struct libscols_table *tb, const struct attached *a,
		    const enum column_id *ids, size_t n, bool as_json)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	char text[PATH_MAX + 32];
	size_t i;

	if (!ln)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		format_cell(a, ids[i], as_json, text, sizeof(text));
		if (*text && scols_line_set_data(ln, i, text))
			return -ENOMEM;
	}
	return 0;
}

static int print_table(const struct attached *disks, size_t nr_disks,
		       const enum column_id *ids, size_t nr_ids, bool as_json)
{
	struct libscols_table *tb = scols_new_table();
	size_t i;
	int err;

	if (!tb)
		return -ENOMEM;
	scols_table_enable_json(tb, as_json);
	scols_table_set_name(tb, "disks");
	err = add_columns(tb, ids, nr_ids);
	for (i = 0; !err && i < nr_disks; i++)
		err = add_disk(tb, &disks[i], ids, nr_ids, as_json);
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

/**
 * out_list() - print a table of disks
 * @disks: the disks
 * @n: how many
 * @column_list: names separated by commas, or NULL for all
 * @as_json: print JSON
 *
 * Return: an exit code; what is wrong has been reported.
 */
int out_list(const struct attached *disks, size_t n, const char *column_list,
	     bool as_json)
{
	enum column_id ids[NR_COLUMNS];
	size_t nr_ids;
	int err, ret;

	ret = parse_columns(column_list, ids, &nr_ids);
	if (ret)
		return ret;
	err = print_table(disks, n, ids, nr_ids, as_json);
	return err ? err_errno(-err, NULL, "cannot print the list") : out_flush();
}
