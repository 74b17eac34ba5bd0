// SPDX-License-Identifier: GPL-2.0-only
/*
 * The forms of a backing file's name, as QEMU reads them:
 *
 *	base.qcow2, ../base.qcow2	in the directory of the image that names it
 *	/images/base.qcow2
 *	file:/images/base.qcow2, host_device:/dev/vg/base
 *	json:{"driver": "qcow2", "file": {"driver": "file", "filename": "/images/base.qcow2"}}
 *	json:{"driver": "qcow2", "file.filename": "/images/base.qcow2"}
 *
 * What is before a colon that no slash precedes is a protocol. A relative name behind
 * file: or json: is to QEMU one in the directory that it was started in, which nobody
 * can mean who wrote it into an image: it is refused.
 */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backing-name.h"
#include "cmd/err.h"

#define MAX_OPTIONS	64
#define MAX_KEY_BYTES	256

/**
 * struct options - the members of a json: name, nested ones with dots between
 * @key: like "file.filename"
 * @value: of a string, NULL of anything else; belongs to the JSON object
 * @is_used: somebody has asked for it
 * @n: how many there are
 */
struct options {
	char key[MAX_OPTIONS][MAX_KEY_BYTES];
	const char *value[MAX_OPTIONS];
	bool is_used[MAX_OPTIONS];
	size_t n;
};

static const char *const format_names[] = {
	[IMAGE_UNKNOWN] = "unknown",
	[IMAGE_RAW] = "raw",
	[IMAGE_QCOW2] = "qcow2",
};

/** image_format_name() - the word that QEMU and the target have for a format */
const char *image_format_name(enum image_format format)
{
	return format_names[format];
}

/** image_format_find() - the format of a word, IMAGE_UNKNOWN of any other */
enum image_format image_format_find(const char *name)
{
	if (!strcmp(name, format_names[IMAGE_RAW]))
		return IMAGE_RAW;
	return strcmp(name, format_names[IMAGE_QCOW2]) ? IMAGE_UNKNOWN : IMAGE_QCOW2;
}

static int refuse(char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(char *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, BACKING_WHY_BYTES, fmt, args);
	va_end(args);
	return VBLK_UNSUPPORTED;
}

static int set_path(struct backing_name *out, const char *dir, size_t dir_bytes,
		    const char *name, char *why)
{
	int n = snprintf(out->path, sizeof(out->path), "%.*s%s", (int)dir_bytes, dir, name);

	return n < (int)sizeof(out->path) ? VBLK_OK : refuse(why, "its name is too long");
}

static int set_absolute(struct backing_name *out, const char *name, char *why)
{
	if (*name != '/')
		return refuse(why, "a relative name behind file: or json: depends on where a program is started");
	return set_path(out, "", 0, name, why);
}

/* JSON */

static int add_option(struct options *o, const char *key, const char *value, char *why)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->key[i], key))
			return refuse(why, "json: '%s' is given twice", key);
	if (o->n == MAX_OPTIONS || strlen(key) >= MAX_KEY_BYTES)
		return refuse(why, "json: too many members, or too long ones");
	strcpy(o->key[o->n], key);
	o->value[o->n++] = value;
	return VBLK_OK;
}

static int flatten(struct options *o, const char *prefix, json_object *object, char *why)
{
	int ret = VBLK_OK;

	json_object_object_foreach(object, name, value) {
		char key[2 * MAX_KEY_BYTES];
		const char *text = NULL;

		snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "", name);
		if (strlen(key) >= MAX_KEY_BYTES)
			return refuse(why, "json: too many members, or too long ones");
		if (json_object_is_type(value, json_type_object)) {
			ret = flatten(o, key, value, why);
		} else {
			if (json_object_is_type(value, json_type_string))
				text = json_object_get_string(value);
			if (text && strlen(text) != (size_t)json_object_get_string_len(value))
				return refuse(why, "json: '%s' has a NUL byte in it", key);
			ret = add_option(o, key, text, why);
		}
		if (ret)
			break;
	}
	return ret;
}

static const char *take(struct options *o, const char *prefix, const char *name)
{
	char key[2 * MAX_KEY_BYTES];

	snprintf(key, sizeof(key), "%s%s", prefix, name);
	for (size_t i = 0; i < o->n; i++) {
		if (strcmp(o->key[i], key) != 0)
			continue;
		o->is_used[i] = o->value[i];
		return o->value[i];
	}
	return NULL;
}

/* They say how QEMU is to open the file, not which. */
static bool is_without_effect(const char *key)
{
	static const char *const names[] = {
		"node-name", "read-only", "auto-read-only", "discard", "detect-zeroes",
		"cache.direct", "cache.no-flush", "aio",
	};

	while (!strncmp(key, "file.", strlen("file.")))
		key += strlen("file.");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(key, names[i]))
			return true;
	return false;
}

static int refuse_unused(const struct options *o, char *why)
{
	for (size_t i = 0; i < o->n; i++)
		if (!o->is_used[i] && !is_without_effect(o->key[i]))
			return refuse(why, "json: '%s' is not supported", o->key[i]);
	return VBLK_OK;
}

static int take_format(struct backing_name *out, enum image_format format, char *why)
{
	/* A raw view of an image is the image. */
	if (format == IMAGE_QCOW2 && out->format == IMAGE_QCOW2)
		return refuse(why, "json: a qcow2 image in a qcow2 image is not supported");
	if (format == IMAGE_QCOW2 || out->format == IMAGE_UNKNOWN)
		out->format = format;
	return VBLK_OK;
}

static int take_file(struct options *o, const char *prefix, struct backing_name *out, char *why)
{
	const char *filename = take(o, prefix, "filename");

	if (!filename)
		return refuse(why, "json: there is no filename in it");
	return set_absolute(out, filename, why);
}

/* One driver; what it is on has the prefix "file." before that of its own. */
static int parse_node(struct options *o, const char *prefix, struct backing_name *out, char *why)
{
	const char *driver = take(o, prefix, "driver");
	char below[MAX_KEY_BYTES];
	int ret;

	if (!driver && *prefix)
		return take_file(o, prefix, out, why);
	if (driver && (!strcmp(driver, "file") || !strcmp(driver, "host_device"))) {
		out->kind = *driver == 'f' ? BACKING_FILE : BACKING_DEVICE;
		/* What no format driver is on is bytes. */
		if (!*prefix)
			out->format = IMAGE_RAW;
		return take_file(o, prefix, out, why);
	}
	if (driver && !image_format_find(driver))
		return refuse(why, "json: driver '%s' is not supported", driver);
	ret = driver ? take_format(out, image_format_find(driver), why) : VBLK_OK;
	if (!ret && snprintf(below, sizeof(below), "%sfile.", prefix) >= (int)sizeof(below))
		ret = refuse(why, "json: nested too deep");
	return ret ? ret : parse_node(o, below, out, why);
}

static int parse_object(json_object *object, struct backing_name *out, char *why)
{
	struct options *o = calloc(1, sizeof(*o));
	int ret;

	if (!o)
		return refuse(why, "out of memory");
	ret = flatten(o, "", object, why);
	if (!ret)
		ret = parse_node(o, "", out, why);
	if (!ret)
		ret = refuse_unused(o, why);
	free(o);
	return ret;
}

static int parse_json(const char *text, struct backing_name *out, char *why)
{
	struct json_tokener *tok = json_tokener_new();
	json_object *object = NULL;
	size_t len = strlen(text), end = 0;
	int ret;

	if (tok) {
		/* With the NUL, or a number might go on. */
		object = json_tokener_parse_ex(tok, text, len + 1);
		if (json_tokener_get_error(tok) == json_tokener_success)
			end = json_tokener_get_parse_end(tok);
		json_tokener_free(tok);
	}
	/* The NUL may have been read as the end of a comment. */
	if (end < len)
		end += strspn(text + end, " \t\r\n");
	if (json_object_is_type(object, json_type_object) && end >= len)
		ret = parse_object(object, out, why);
	else
		ret = refuse(why, "json: what follows is no JSON object");
	json_object_put(object);
	return ret;
}

/* "proto:rest"; "./a:b" has none. Sets the length of "proto". */
static bool has_protocol(const char *name, size_t *bytes)
{
	*bytes = strcspn(name, ":/");
	return name[*bytes] == ':';
}

static bool is_protocol(const char *name, size_t bytes, const char *protocol)
{
	return strlen(protocol) == bytes && !strncmp(name, protocol, bytes);
}

/* The directory part, with its slash. */
static size_t dir_bytes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 - path : 0;
}

/**
 * backing_name_parse() - find out which file the name in a header means
 * @name: as it stands in the header
 * @namer: the name that the image was opened by; its links are not followed
 * @out: filled in
 * @why: on failure a sentence; BACKING_WHY_BYTES
 *
 * Return: an exit code; nothing is reported.
 */
int backing_name_parse(const char *name, const char *namer, struct backing_name *out, char *why)
{
	const char *rest;
	size_t bytes;

	*out = (struct backing_name){};
	if (*name == '/')
		return set_path(out, "", 0, name, why);
	if (!has_protocol(name, &bytes))
		return set_path(out, namer, dir_bytes(namer), name, why);
	rest = name + bytes + 1;
	if (is_protocol(name, bytes, "json"))
		return parse_json(rest, out, why);
	if (is_protocol(name, bytes, "file"))
		out->kind = BACKING_FILE;
	else if (is_protocol(name, bytes, "host_device"))
		out->kind = BACKING_DEVICE;
	else
		return refuse(why, "protocol '%.*s' is not supported", (int)bytes, name);
	return set_absolute(out, rest, why);
}
