// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which backup a bitmap says the changes since.
 *
 * Written when that backup is durable, and before the kernel is told that it is: whoever is killed in between
 * has a bitmap that says more than has changed since. Taken away before a bitmap is cleared or made anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "history.h"

#define VERSION		1
#define NAME_SIZE	(6 * NAME_MAX)

/* Of what a name may be, but nothing that means something in a path. */
static void encode(char *to, const char *name)
{
	for (; *name; name++) {
		unsigned char c = *name;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '_')
			*to++ = c;
		else
			to += sprintf(to, "%%%02x", c);
	}
	*to = '\0';
}

static int make_path(char *path, const char *disk, const char *bitmap, const char *suffix)
{
	char a[NAME_SIZE], b[NAME_SIZE];

	if (strlen(disk) >= NAME_MAX || strlen(bitmap) >= NAME_MAX)
		return -ENAMETOOLONG;
	encode(a, disk);
	encode(b, bitmap);
	if (strlen(a) + strlen(b) + strlen(suffix) + 1 > NAME_MAX)
		return -ENAMETOOLONG;
	snprintf(path, PATH_MAX, HISTORY_DIR "/%s.%s%s", a, b, suffix);
	return 0;
}

static bool get_string(json_object *o, const char *key, char *to, size_t size)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string) ||
	    (size_t)json_object_get_string_len(v) >= size)
		return false;
	strcpy(to, json_object_get_string(v));
	return true;
}

static bool get_number(json_object *o, const char *key, uint64_t *number)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return false;
	*number = json_object_get_uint64(v);
	return true;
}

/** history_check() - whether anything can be noted; 0 or -errno */
int history_check(void)
{
	if (mkdir(HISTORY_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	return access(HISTORY_DIR, W_OK) < 0 ? -errno : 0;
}

/**
 * history_read() - the last backup that was made by a bitmap
 * @disk: name of the disk
 * @h: filled in
 *
 * Return: 0, -ENOENT when there is none, another -errno.
 */
int history_read(const char *disk, const char *bitmap, struct history *h)
{
	char path[PATH_MAX];
	uint64_t version;
	json_object *o;
	int err;

	err = make_path(path, disk, bitmap, ".json");
	if (err)
		return err;
	errno = 0;
	o = json_object_from_file(path);
	if (!o)
		return access(path, F_OK) < 0 ? -errno : -EUCLEAN;
	if (!get_number(o, "version", &version) || version != VERSION ||
	    !get_string(o, "target", h->target, sizeof(h->target)) ||
	    !get_string(o, "image", h->image, sizeof(h->image)) ||
	    !get_number(o, "inode", &h->inode) || !get_number(o, "bytes", &h->bytes) ||
	    !get_number(o, "mtime_ns", &h->mtime_ns))
		err = -EUCLEAN;
	json_object_put(o);
	return err;
}

static int sync_directory(void)
{
	int fd = open(HISTORY_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int write_file(const char *path, const char *text)
{
	size_t bytes = strlen(text);
	int fd, err = 0;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, bytes) != (ssize_t)bytes)
		err = -EIO;
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

/**
 * history_write() - note a backup, durably
 * @disk: name of the disk
 *
 * Return: 0 or -errno: what was noted before is.
 */
int history_write(const char *disk, const char *bitmap, const struct history *h)
{
	char path[PATH_MAX], new[PATH_MAX];
	json_object *o;
	int err;

	err = make_path(path, disk, bitmap, ".json") ?: make_path(new, disk, bitmap, ".new");
	if (err)
		return err;
	o = json_object_new_object();
	json_object_object_add(o, "version", json_object_new_int(VERSION));
	json_object_object_add(o, "target", json_object_new_string(h->target));
	json_object_object_add(o, "image", json_object_new_string(h->image));
	json_object_object_add(o, "inode", json_object_new_uint64(h->inode));
	json_object_object_add(o, "bytes", json_object_new_uint64(h->bytes));
	json_object_object_add(o, "mtime_ns", json_object_new_uint64(h->mtime_ns));
	err = write_file(new, json_object_to_json_string(o));
	json_object_put(o);
	if (!err && rename(new, path) < 0)
		err = -errno;
	return err ? err : sync_directory();
}

/**
 * history_forget() - a bitmap says nothing about a backup any more; durable
 *
 * Return: 0, also where nothing was noted, or -errno.
 */
int history_forget(const char *disk, const char *bitmap)
{
	char path[PATH_MAX];

	/* What has no place was never noted. */
	if (make_path(path, disk, bitmap, ".json"))
		return 0;
	if (unlink(path) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return sync_directory();
}

static uint64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000000ULL + st->st_mtim.tv_nsec;
}

/** history_take_file() - it is this one */
void history_take_file(struct history *h, const struct stat *st)
{
	h->inode = st->st_ino;
	h->bytes = st->st_size;
	h->mtime_ns = mtime_ns(st);
}

/** history_is_file() - whether it still is, and nobody has written to it */
bool history_is_file(const struct history *h, const struct stat *st)
{
	return S_ISREG(st->st_mode) && h->inode == st->st_ino &&
	       h->bytes == (uint64_t)st->st_size && h->mtime_ns == mtime_ns(st);
}
