// SPDX-License-Identifier: GPL-2.0-only
/*
 * A backup in a file: it has no name until it is whole and durable, so there is never half a backup of that name, and
 * whatever kills us nothing is left. Where the file system has no files without a name it is called NAME.part meanwhile.
 * A whole one that replaces another has a name of its own for a moment, as only rename() replaces.
 *
 * Nothing that is there is opened for writing, and nothing goes but what was asked for: a file of that name is replaced
 * by force alone, and only if it is the one that was looked at first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/err.h"
#include "disk/lock.h"
#include "disk/loop.h"
#include "disk/open-file.h"
#include "target.h"

/* Names that are somebody's already. */
#define MAX_TRIES	16

static int open_directory(struct target *t)
{
	const char *slash = strrchr(t->name, '/');
	char *dir = slash == t->name ? strdup("/") :
		slash ? strndup(t->name, slash - t->name) : strdup(".");

	if (snprintf(t->base, sizeof(t->base), "%s", slash ? slash + 1 : t->name) >=
	    (int)sizeof(t->base))
		errno = ENAMETOOLONG;
	else if (!*t->base)
		errno = EISDIR;
	else if (dir)
		t->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return t->dir < 0 ? err_errno(errno, t->name, "cannot make it") : VBLK_OK;
}

/* An image that somebody uses: its locks are QEMU's. They are ours from here on, so nobody begins to. */
static int lock_old(const char *name, int fd)
{
	char who[512];

	if (lock_image(fd, false) != -EAGAIN)
		return VBLK_OK;	/* or a file system without locks */
	if (open_file_locker(fd, who, sizeof(who)))
		return err_report(VBLK_BUSY, name, "in use: %s", who);
	return err_report(VBLK_BUSY, name, "in use: somebody has it locked as an image");
}

/* Others have no locks. They would go on with a file that has lost its name. */
static int check_unused(const struct target *t, const struct stat *st)
{
	char kname[LOOP_NAME_SIZE], who[512];
	int err = loop_of_file(st, kname);

	if (!err)
		return err_report(VBLK_BUSY, t->name, "in use: the loop device /dev/%s is on it", kname);
	if (err != -ENXIO)
		return err_errno(-err, t->name, "cannot tell whether /dev/%s is on it", kname);
	if (open_file_opener(t->old_fd, who, sizeof(who)))
		return err_report(VBLK_BUSY, t->name, "in use: %s has it open", who);
	return VBLK_OK;
}

/* The name of such a file stays, too. */
static int check_mutable(const struct target *t)
{
	struct statx stx;

	if (statx(t->old_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) < 0 ||
	    !(stx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)))
		return VBLK_OK;
	return err_report(VBLK_DENIED, t->name, "it is immutable, or append-only");
}

/* Not even --force: what is made lies on it. */
static int check_below(const struct target *t, const struct stat *st)
{
	struct stat below;

	if (!t->below || stat(t->below, &below) < 0 || !image_is_same(&below, st))
		return VBLK_OK;
	return err_report(VBLK_BUSY, t->name, "it is the backup that the new one would lie on");
}

static int claim_old(struct target *t, int path, const struct stat *st)
{
	char self[32];
	int ret;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	t->old_fd = open(self, O_RDONLY | O_CLOEXEC);
	if (t->old_fd < 0)
		return err_errno(errno, t->name, "cannot open what is there");
	ret = check_mutable(t);
	if (!ret)
		ret = lock_old(t->name, t->old_fd);
	if (!ret)
		ret = check_unused(t, st);
	if (!ret)
		ret = check_below(t, st);
	return ret ? ret : target_check_above(t);
}

static int check_old(struct target *t, int path)
{
	struct stat st, named;
	int ret;

	if (fstat(path, &st) < 0 || fstatat(t->dir, t->base, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(errno, t->name, "cannot look at it");
	ret = target_check_own(t, &st);
	if (ret)
		return ret;
	if (S_ISLNK(named.st_mode))
		return err_report(VBLK_BUSY, t->name, "it is a symbolic link to a file");
	if (!t->force) {
		err_report(VBLK_BUSY, t->name, "it is there already");
		err_hint("--force replaces it");
		return VBLK_BUSY;
	}
	return claim_old(t, path, &st);
}

/* Of a backup that runs, or was killed; or of somebody else's. */
static int report_part(const struct target *t)
{
	char *path;
	int fd, ret;

	if (asprintf(&path, "%s.part", t->name) < 0)
		return err_errno(ENOMEM, t->name, "cannot make it");
	fd = openat(t->dir, t->part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ret = fd < 0 ? VBLK_OK : lock_old(path, fd);
	if (!ret) {
		ret = err_report(VBLK_BUSY, path, "it is there already: of a backup that was killed?");
		err_hint_command("rm", path, NULL);
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

/* Whether it could be made. */
static int check_part(const struct target *t)
{
	struct stat st;

	if (fstatat(t->dir, t->part, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return report_part(t);
	return faccessat(t->dir, ".", W_OK | X_OK, AT_EACCESS) < 0 ?
	       err_errno(errno, t->name, "cannot make it") : VBLK_OK;
}

static int make_file(struct target *t)
{
	t->fd = openat(t->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd >= 0)
		return VBLK_OK;
	snprintf(t->part, sizeof(t->part), "%s.part", t->base);
	if (t->is_dry)
		return check_part(t);
	t->fd = openat(t->dir, t->part, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return errno == EEXIST ? report_part(t) :
			err_errno(errno, t->name, "cannot make it");
	t->is_named = true;
	return VBLK_OK;
}

/**
 * target_file_open() - make a file that becomes the target
 * @path: what is there now, opened with O_PATH, or -1
 *
 * Return: an exit code; what is wrong has been reported.
 */
int target_file_open(struct target *t, int path)
{
	struct stat st;
	int ret;

	ret = open_directory(t);
	if (ret)
		return ret;
	if (path >= 0)
		ret = check_old(t, path);
	else if (fstatat(t->dir, t->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		ret = err_report(VBLK_BUSY, t->name, S_ISLNK(st.st_mode) ?
				 "it is a symbolic link to nothing" : "it is there already");
	if (!ret)
		ret = make_file(t);
	t->reads_zero = !t->below;
	return ret;
}

static bool is_file(const struct target *t, const char *name, int fd)
{
	struct stat st, named;

	return fstat(fd, &st) == 0 && fstatat(t->dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == named.st_dev && st.st_ino == named.st_ino;
}

/* A name for what has none. */
static int link_file(const struct target *t, const char *name)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd);
	return linkat(AT_FDCWD, self, t->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* One that nobody has, for the moment before it replaces another. */
static int link_part(struct target *t)
{
	uint64_t number;
	int err = -EEXIST;

	for (int i = 0; i < MAX_TRIES && err == -EEXIST; i++) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EIO;
		snprintf(t->part, sizeof(t->part), ".vblk-backup-%016jx", (uintmax_t)number);
		err = link_file(t, t->part);
	}
	t->is_named = !err;
	return err;
}

/* Not over what has come to be there. Not every file system can promise that. */
static int rename_new(const struct target *t)
{
	struct stat st;

	if (renameat2(t->dir, t->part, t->dir, t->base, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(t->dir, t->part, t->dir, t->base, 0) == 0)
		return unlinkat(t->dir, t->part, 0) < 0 ? -errno : 0;
	if (errno == EEXIST)
		return -errno;
	if (fstatat(t->dir, t->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(t->dir, t->part, t->dir, t->base) < 0 ? -errno : 0;
}

static int give_name(struct target *t)
{
	int err = 0;

	if (t->old_fd >= 0 && !is_file(t, t->base, t->old_fd))
		return -ESTALE;
	if (!t->is_named && t->old_fd < 0)
		return link_file(t, t->base);
	if (!t->is_named)
		err = link_part(t);
	if (err)
		return err;
	if (!is_file(t, t->part, t->fd))
		return -ESTALE;
	if (t->old_fd < 0)
		return rename_new(t);
	return renameat(t->dir, t->part, t->dir, t->base) < 0 ? -errno : 0;
}

/**
 * target_file_name() - the file is whole: make it durable, and give it its name
 *
 * Return: an exit code; what is wrong has been reported.
 */
int target_file_name(struct target *t)
{
	int err;

	if (fsync(t->fd) < 0)
		return err_errno(errno, t->name, "cannot make it durable");
	err = give_name(t);
	if (err == -ESTALE)
		return err_report(VBLK_BUSY, t->name, "somebody has replaced it meanwhile");
	if (err)
		return err_errno(-err, t->name, "cannot give it its name");
	t->is_named = false;
	if (fsync(t->dir) < 0)
		return err_errno(errno, t->name, "it is whole, but its name is not durable");
	return VBLK_OK;
}

/** target_file_close() - let go of it; unless it has its name, it goes */
void target_file_close(struct target *t)
{
	if (t->is_named && is_file(t, t->part, t->fd))
		unlinkat(t->dir, t->part, 0);
	t->is_named = false;
	if (t->old_fd >= 0)
		close(t->old_fd);
	if (t->dir >= 0)
		close(t->dir);
	t->old_fd = -1;
	t->dir = -1;
}
