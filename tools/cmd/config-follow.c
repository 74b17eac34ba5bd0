// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configurations of disks whose top is another image now: what a service attaches behind the next boot has to be
 * that one. Each file is replaced as a whole, its other lines as they were.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "disk/image.h"
#include "err.h"

/**
 * struct follow - one configuration
 * @dir: of all of them
 * @name: of the file
 * @path: of the file
 * @old: path of the image that the disk has had
 * @new: path of the image that it has
 * @changes: some line has changed
 */
struct follow {
	int dir;
	const char *name;
	char path[PATH_MAX];
	const char *old;
	const char *new;
	bool changes;
};

/* By its name, or by another one that it has; it may be gone. */
static bool is_old(const struct follow *f, const char *image)
{
	struct stat a, b;

	return !strcmp(image, f->old) ||
	       (stat(image, &a) == 0 && stat(f->old, &b) == 0 && image_is_same(&a, &b));
}

/* image = PATH, of the old one */
static bool names_old(const struct follow *f, const char *line)
{
	char *copy = strdup(line), *value, *key;
	bool result = false;

	if (!copy)
		return false;
	key = config_trim(copy);
	value = strchr(key, '=');
	if (*key != '#' && value) {
		*value = '\0';
		result = !strcmp(config_trim(key), "image") && is_old(f, config_trim(value + 1));
	}
	free(copy);
	return result;
}

/* Return: the new text, or NULL when there is no memory. */
static char *change_lines(struct follow *f, char *text)
{
	char *to = NULL, *line;
	size_t size;
	FILE *out;

	out = open_memstream(&to, &size);
	while (out && (line = strsep(&text, "\n"))) {
		if (names_old(f, line)) {
			fprintf(out, "image=%s", f->new);
			f->changes = true;
		} else {
			fputs(line, out);
		}
		if (text)
			fputc('\n', out);
	}
	if (out && fclose(out)) {
		free(to);
		to = NULL;
	}
	return to;
}

static int write_new(int fd, const struct stat *st, const char *text)
{
	size_t bytes = strlen(text);

	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0)
		return -errno;
	if (write(fd, text, bytes) != (ssize_t)bytes)
		return -EIO;
	return fsync(fd) < 0 ? -errno : 0;
}

static int replace(const struct follow *f, const char *text)
{
	char new[NAME_MAX + 8];
	struct stat st;
	int fd, err;

	if (snprintf(new, sizeof(new), ".%s.new", f->name) > NAME_MAX)
		return -ENAMETOOLONG;
	if (fstatat(f->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* A link is somebody's way to have the file elsewhere, and is theirs to change. */
	if (!S_ISREG(st.st_mode))
		return -ELOOP;
	if (unlinkat(f->dir, new, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(f->dir, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_new(fd, &st, text);
	close(fd);
	if (!err && renameat(f->dir, new, f->dir, f->name) < 0)
		err = -errno;
	if (err)
		unlinkat(f->dir, new, 0);
	else if (fsync(f->dir) < 0)
		err = -errno;
	return err;
}

static void follow(struct follow *f)
{
	char *text, *changed;
	int err;

	if (config_read(f->path, &text))
		return;
	changed = change_lines(f, text);
	free(text);
	if (changed && !f->changes) {
		free(changed);
		return;
	}
	err = changed ? replace(f, changed) : -ENOMEM;
	free(changed);
	if (!err)
		fprintf(stderr, "%s: image=%s from now on\n", f->path, f->new);
	else
		err_errno(-err, f->path, "cannot change it to image=%s", f->new);
}

static bool is_config(const struct dirent *e)
{
	size_t length = strlen(e->d_name);

	return *e->d_name != '.' && length > strlen(CONFIG_SUFFIX) &&
	       !strcmp(e->d_name + length - strlen(CONFIG_SUFFIX), CONFIG_SUFFIX);
}

/**
 * config_follow() - have configurations that name an image name another one
 * @old: path of the image, absolute
 * @new: path of the other one, likewise
 *
 * What cannot be changed is reported: the disk is as it is.
 */
void config_follow(const char *old, const char *new)
{
	DIR *dir = opendir(CONFIG_DIR);
	const struct dirent *e;

	if (!dir) {
		if (errno != ENOENT)
			err_errno(errno, CONFIG_DIR, "cannot look for image=%s", old);
		return;
	}
	while ((e = readdir(dir))) {
		struct follow f = {
			.dir = dirfd(dir), .name = e->d_name, .old = old, .new = new,
		};

		if (!is_config(e))
			continue;
		snprintf(f.path, sizeof(f.path), CONFIG_DIR "/%s", e->d_name);
		follow(&f);
	}
	closedir(dir);
}
