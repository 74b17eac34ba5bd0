// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether backups that lie on each other belong together, by what each says of itself: Documentation/backup.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/backing-header.h"
#include "disk/backing-name.h"
#include "disk/live.h"
#include "mark-chain.h"

__attribute__((format(printf, 2, 3)))
static bool wrong(char why[MARK_WHY_BYTES], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, MARK_WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/**
 * mark_is_right() - whether an image is the backup that it was, in the place where it was
 * @above: what the image above it says of itself, or NULL for the top
 * @namer: the name of that image
 * @m: what this one says; of one that says nothing all is 0
 * @is_last: it lies on nothing
 * @why: set to why not
 */
bool mark_is_right(const struct mark *above, const char *namer, const struct mark *m, bool is_last,
		   char why[MARK_WHY_BYTES])
{
	if (above && *above->token && !*above->base)
		return wrong(why, "%s was made as a backup that lies on nothing, and now lies on it",
			     namer);
	if (above && *above->token && strcmp(above->base, m->token) != 0)
		return wrong(why, "it is not the backup that %s was made on", namer);
	if (*m->token && m->is_changed)
		return wrong(why, "it was written to since it was made as a backup");
	if (is_last && *m->base)
		return wrong(why, "it was made as a backup that lies on another, and now lies on nothing");
	return true;
}

/* @below: set to the path of what it lies on, or "" */
static bool find_below(int fd, const char *path, char below[PATH_MAX])
{
	struct image img = { .arg = path, .fd = fd };
	char why[BACKING_WHY_BYTES];
	struct backing_name name;
	struct qcow2_header h;
	bool ok;

	*below = '\0';
	ok = !live_read_header(fd, &h) && !backing_header_read(&img, &h);
	if (ok && img.backing) {
		ok = !backing_name_parse(img.backing, path, &name, why);
		strcpy(below, name.path);
	}
	free(img.backing);
	free(img.data_name);
	return ok;
}

/* Return: NULL, or why it is no backup. */
static const char *read_one(const char *path, struct mark *m, char below[PATH_MAX])
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), err;
	const char *why = NULL;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? "it is not there any more" : "it cannot be opened";
	err = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? -ENOENT : mark_read(fd, m);
	if (err)
		why = err == -ENOENT ? "it is no backup by a bitmap" : "it cannot be read";
	else if (!find_below(fd, path, below))
		why = "it cannot be told what it lies on";
	close(fd);
	return why;
}

/**
 * marks_are_right() - whether a backup, and each that it lies on, is what it was made as, so that one more may lie on it
 * @path: of the backup
 * @why: set to why not
 */
bool marks_are_right(const char *path, char why[MARK_WHY_BYTES])
{
	char here[PATH_MAX], namer[PATH_MAX], below[PATH_MAX], what[MARK_WHY_BYTES];
	struct mark above, m;
	const char *no;

	snprintf(here, sizeof(here), "%s", path);
	for (size_t n = 0; n < MARK_MAX_CHAIN; n++, above = m) {
		no = read_one(here, &m, below);
		if (!no && !mark_is_right(n ? &above : NULL, namer, &m, !*below, what))
			no = what;
		if (no)
			return wrong(why, "%s: %s", here, no);
		if (!*below && n + 1 < MARK_MAX_CHAIN)
			return true;
		strcpy(namer, here);
		strcpy(here, below);
	}
	return wrong(why, "%d backups lie on each other", MARK_MAX_CHAIN);
}
