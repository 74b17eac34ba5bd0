// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the backup of a token is, on this host: Documentation/backup.rst. Written when that backup is durable.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/durable.h"
#include "history.h"

#define VERSION		2
#define SUFFIX		".json"

static int make_path(char path[PATH_MAX], const char *token, const char *suffix)
{
	return snprintf(path, PATH_MAX, HISTORY_DIR "/%s%s", token, suffix) < PATH_MAX ?
	       0 : -ENAMETOOLONG;
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

/* Where it is not there, that of which it would be one. */
static int check_dry(void)
{
	char parent[] = HISTORY_DIR;

	if (access(HISTORY_DIR, W_OK) == 0)
		return 0;
	*strrchr(parent, '/') = '\0';
	return errno == ENOENT && access(parent, W_OK) == 0 ? 0 : -errno;
}

/** history_check() - whether anything can be noted; 0 or -errno. @is_dry: the directory is not to be made */
int history_check(bool is_dry)
{
	if (is_dry)
		return check_dry();
	if (mkdir(HISTORY_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	return access(HISTORY_DIR, W_OK) < 0 ? -errno : 0;
}

static int read_file(const char *path, struct history *h)
{
	uint64_t version;
	json_object *o;
	int err = 0;

	errno = 0;
	o = json_object_from_file(path);
	if (!o)
		return access(path, F_OK) < 0 ? -errno : -EUCLEAN;
	if (!get_number(o, "version", &version) || version != VERSION ||
	    !get_string(o, "target", h->target, sizeof(h->target)) ||
	    !get_number(o, "inode", &h->inode) || !get_number(o, "bytes", &h->bytes) ||
	    !get_number(o, "mtime_ns", &h->mtime_ns))
		err = -EUCLEAN;
	json_object_put(o);
	return err;
}

/**
 * history_read() - where the backup of a token is
 * @h: filled in
 *
 * Return: 0, -ENOENT when that is not known, another -errno.
 */
int history_read(const char *token, struct history *h)
{
	char path[PATH_MAX];
	int err = make_path(path, token, SUFFIX);

	return err ? err : read_file(path, h);
}

/**
 * history_write() - note a backup, durably; 0 or -errno
 */
int history_write(const char *token, const struct history *h)
{
	char path[PATH_MAX], new[PATH_MAX];
	json_object *o;
	int err;

	err = make_path(path, token, SUFFIX) ?: make_path(new, token, ".new");
	if (err)
		return err;
	o = json_object_new_object();
	json_object_object_add(o, "version", json_object_new_int(VERSION));
	json_object_object_add(o, "target", json_object_new_string(h->target));
	json_object_object_add(o, "inode", json_object_new_uint64(h->inode));
	json_object_object_add(o, "bytes", json_object_new_uint64(h->bytes));
	json_object_object_add(o, "mtime_ns", json_object_new_uint64(h->mtime_ns));
	err = durable_replace(HISTORY_DIR, path, new, json_object_to_json_string(o));
	json_object_put(o);
	return err;
}

/**
 * history_forget() - nothing is put on that backup any more; durable
 *
 * Return: 0, also where nothing was noted, or -errno.
 */
int history_forget(const char *token)
{
	char path[PATH_MAX];
	int err = make_path(path, token, SUFFIX);

	if (err)
		return err;
	if (unlink(path) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return durable_directory(HISTORY_DIR);
}

static bool is_in(const char *path, const char *dir, size_t len)
{
	return !strncmp(path, dir, len) && !strchr(path + len, '/');
}

/* It is not there any more, where others are: not just not mounted. */
static bool is_gone(const char *path, const char *dir, size_t len)
{
	struct history h;
	struct stat st;

	return read_file(path, &h) == 0 && is_in(h.target, dir, len) &&
	       (stat(h.target, &st) < 0 ? errno == ENOENT : !history_is_file(&h, &st));
}

/**
 * history_prune() - forget those of the directory of a backup that have been removed or written over
 * @target: absolute path of the backup, which is there
 */
void history_prune(const char *target)
{
	size_t len = strrchr(target, '/') + 1 - target;
	DIR *dir = opendir(HISTORY_DIR);
	char path[PATH_MAX];
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		snprintf(path, sizeof(path), HISTORY_DIR "/%s", de->d_name);
		if (strstr(de->d_name, SUFFIX) && is_gone(path, target, len))
			unlink(path);
	}
	if (dir)
		closedir(dir);
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
