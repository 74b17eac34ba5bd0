// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which backup an image is, and which one a bitmap says the changes since. Both are the names of bitmaps:
 *
 *	NAME.TOKEN			in a disk: what has changed since that backup
 *	vblk-backup:TOKEN:BASE:NAME	in a backup: with a bit set it has been changed
 *
 * Whoever writes to an image and knows bitmaps keeps them true; whoever does not makes them invalid.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "child.h"
#include "cmd/err.h"
#include "mark.h"

#define PREFIX		"vblk-backup:"
#define NO_BASE		"-"
#define TOKEN_LEN	(TOKEN_SIZE - 1)

/* As coarse as can be. */
#define MARK_GRANULARITY	"2147483648"

static const char digits[] = "0123456789abcdef";

/** token_make() - draw one; 0 or -errno */
int token_make(char token[TOKEN_SIZE])
{
	uint64_t number[2];

	if (getrandom(number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(token, TOKEN_SIZE, "%016jx%016jx", (uintmax_t)number[0], (uintmax_t)number[1]);
	return 0;
}

static bool take_token(const char *text, char token[TOKEN_SIZE])
{
	if (strspn(text, digits) != TOKEN_LEN)
		return false;
	memcpy(token, text, TOKEN_LEN);
	token[TOKEN_LEN] = '\0';
	return true;
}

/**
 * token_of_bitmap() - whether a bitmap is one that says the changes since a backup
 * @bitmap: its name
 * @token: set to that of the backup
 */
bool token_of_bitmap(const char *bitmap, char token[TOKEN_SIZE])
{
	const char *dot = strrchr(bitmap, '.');

	return dot && dot > bitmap && take_token(dot + 1, token) && !dot[1 + TOKEN_LEN];
}

/** token_is_of() - the same, since a backup by that name */
bool token_is_of(const char *bitmap, const char *name, char token[TOKEN_SIZE])
{
	size_t len = strlen(name);

	return !strncmp(bitmap, name, len) && bitmap[len] == '.' &&
	       strlen(bitmap) == len + TOKEN_SIZE && token_of_bitmap(bitmap, token);
}

/** token_name_bitmap() - the name of such a bitmap; 0, or -ENAMETOOLONG, also if that in the backup would be too long */
int token_name_bitmap(const char *name, const char *token, char bitmap[BITMAP_NAME_SIZE])
{
	if (strlen(PREFIX) + 2 * TOKEN_SIZE + strlen(name) >= BITMAP_NAME_SIZE)
		return -ENAMETOOLONG;
	snprintf(bitmap, BITMAP_NAME_SIZE, "%s.%s", name, token);
	return 0;
}

static bool parse(const char *text, struct mark *m)
{
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	text += strlen(PREFIX);
	if (!take_token(text, m->token) || text[TOKEN_LEN] != ':')
		return false;
	text += TOKEN_SIZE;
	m->base[0] = '\0';
	if (!strncmp(text, NO_BASE ":", strlen(NO_BASE ":")))
		text += strlen(NO_BASE ":");
	else if (take_token(text, m->base) && text[TOKEN_LEN] == ':')
		text += TOKEN_SIZE;
	else
		return false;
	strcpy(m->name, text);
	return true;
}

/**
 * mark_read() - which backup an image is
 * @fd: of a qcow2 image
 * @m: filled in
 *
 * Return: 0, -ENOENT when it does not say, another -errno.
 */
int mark_read(int fd, struct mark *m)
{
	struct bitmaps b;
	int err, clear = 0;
	size_t i;

	*m = (struct mark){};
	err = bitmaps_read_image(fd, &b);
	for (i = 0; i < b.n && !err; i++)
		if (parse(b.list[i].name, m))
			break;
	if (!err && i == b.n)
		err = -ENOENT;
	if (!err && b.list[i].state == BITMAP_RECORDS)
		clear = bitmap_is_clear(fd, &b.list[i]);
	bitmaps_free(&b);
	m->is_changed = !clear;
	return err ?: clear < 0 ? clear : 0;
}

/* What is below it is not looked at. */
static int add_bitmap(const char *path, const char *granularity, const char *name)
{
	struct stat st = {};
	char image[256];
	const char *const argv[] = {
		"qemu-img", "bitmap", "--add", "-g", granularity, "--", image, name, NULL
	};

	stat(path, &st);
	snprintf(image, sizeof(image), "json:{\"driver\": \"qcow2\", \"backing\": null, "
		 "\"file\": {\"driver\": \"%s\", \"filename\": \"%s\"}}",
		 S_ISBLK(st.st_mode) ? "host_device" : "file", path);
	return child_run(argv);
}

/* qemu-img does not fail if it has no room for it. */
static bool is_written(int fd, const struct mark *m)
{
	struct mark now;

	return !mark_read(fd, &now) && !now.is_changed && !strcmp(now.token, m->token) &&
	       !strcmp(now.base, m->base) && !strcmp(now.name, m->name);
}

/**
 * mark_write() - have an image say which backup it is
 * @fd: of it
 * @path: of it, for qemu-img, without quotes
 * @object: its name, for messages
 *
 * Return: an exit code; what is wrong has been reported.
 */
int mark_write(int fd, const char *path, const char *object, const struct mark *m)
{
	char name[BITMAP_NAME_SIZE + sizeof(PREFIX) + 2 * TOKEN_SIZE];
	int ret;

	snprintf(name, sizeof(name), PREFIX "%s:%s:%s", m->token, *m->base ? m->base : NO_BASE,
		 m->name);
	ret = add_bitmap(path, MARK_GRANULARITY, name);
	return ret || is_written(fd, m) ? ret :
	       err_report(VBLK_FAILED, object, "which backup it is was not stored");
}

static bool records(int fd, const char *name)
{
	const struct bitmap *bitmap;
	struct bitmaps b;
	bool is_so;

	bitmap = bitmaps_read_image(fd, &b) ? NULL : bitmaps_find(&b, name);
	is_so = bitmap && bitmap->state == BITMAP_RECORDS;
	bitmaps_free(&b);
	return is_so;
}

/**
 * mark_begin_bitmap() - have an image that holds what a backup does record what changes from here on
 * @fd: of it
 * @path: of it, for qemu-img, without quotes
 * @object: its name, for messages
 * @m: of the backup
 *
 * Return: an exit code; what is wrong has been reported.
 */
int mark_begin_bitmap(int fd, const char *path, const char *object, const struct mark *m)
{
	char name[BITMAP_NAME_SIZE], granularity[16];
	int ret;

	/* Without one the next backup copies all. */
	if (token_name_bitmap(m->name, m->token, name))
		return 0;
	snprintf(granularity, sizeof(granularity), "%u", BITMAP_GRANULARITY);
	ret = add_bitmap(path, granularity, name);
	return ret || records(fd, name) ? ret :
	       err_report(VBLK_FAILED, object, "bitmap '%s' was not stored", name);
}
