// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether others lie on a file that is to be replaced: overlays of snapshots, later backups, disks of a common base. They would read
 * what is written now where they have nothing of their own. Known are those in its directory, and what vblk-snapshot has noted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/err.h"
#include "disk/image.h"
#include "disk/overlay-note.h"
#include "target.h"

static bool read_path(int fd, char path[PATH_MAX])
{
	char self[32];
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool find_noted(const struct target *t, const struct stat *st, char above[PATH_MAX])
{
	struct image img = { .st = *st };

	return read_path(t->old_fd, img.path) && overlay_note_find(&img, above);
}

static bool is_above(const char *dir, const char *name, const struct stat *st, char above[PATH_MAX])
{
	return snprintf(above, PATH_MAX, "%s/%s", strcmp(dir, "/") != 0 ? dir : "", name) < PATH_MAX &&
	       overlay_lies_on(above, st);
}

static bool find_beside(const struct target *t, const struct stat *st, char above[PATH_MAX])
{
	char path[PATH_MAX];
	bool found = false;
	struct dirent *de;
	DIR *dir;

	dir = read_path(t->dir, path) ? opendir(path) : NULL;
	while (dir && !found && (de = readdir(dir)))
		found = (de->d_type == DT_REG || de->d_type == DT_UNKNOWN) &&
			is_above(path, de->d_name, st, above);
	if (dir)
		closedir(dir);
	return found;
}

/**
 * target_check_above() - whether the file that is to be replaced has others on it
 *
 * Return: an exit code; which one has been reported.
 */
int target_check_above(const struct target *t)
{
	char above[PATH_MAX];
	struct stat st;

	if (fstat(t->old_fd, &st) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	if (!find_noted(t, &st, above) && !find_beside(t, &st, above))
		return VBLK_OK;
	return err_report(VBLK_BUSY, t->name, "%s lies on it, and would be ruined", above);
}
