// SPDX-License-Identifier: GPL-2.0-only
/* Opens backing files and data files as those who own the images would: see the header. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing-policy.h"
#include "cmd/err.h"
#include "open-as.h"

/* Reports */

static void name_owner(uid_t uid, char *text, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		snprintf(text, size, "%s", pw->pw_name);
	else
		snprintf(text, size, "uid %u", uid);
}

static const char *what_it_is(const struct backing_request *r)
{
	return r->is_data ? "data file" : "backing file";
}

/* That allows it. */
static const char *option(const struct backing_request *r)
{
	return r->is_data && r->namer == r->top ? "--data-file" : "--backing";
}

static void hint_allow(const struct backing_request *r, const struct verdict *v)
{
	err_hint_command(r->policy->program ?: "vblk-attach", option(r), *v->real ? v->real : r->name->path,
			 r->top->arg, r->top->name, NULL);
}

/* The end of it, from a slash on. */
static bool ends_with_path(const char *real, const char *path)
{
	size_t len = strlen(real), end = strlen(path);

	return len >= end && !strcmp(real + len - end, path) &&
	       (*path == '/' || (len > end && real[len - end - 1] == '/'));
}

/* "PATH", or "PATH, which is REAL" where links or dots lead elsewhere. */
static void describe(const struct backing_request *r, const struct verdict *v, char *text,
		     size_t size)
{
	const char *path = r->name->path;

	if (*v->real && !ends_with_path(v->real, path))
		snprintf(text, size, "%s, which is %s", path, v->real);
	else
		snprintf(text, size, "%s", path);
}

static int report_type(const struct backing_request *r, const struct verdict *v)
{
	const char *is = "neither a file nor a block device";

	if (S_ISDIR(v->mode))
		is = "it is a directory";
	else if (S_ISREG(v->mode))
		is = "its name asks for a device, and it is a regular file";
	else if (S_ISBLK(v->mode))
		is = "its name asks for a regular file, and it is a block device";
	return err_report(VBLK_UNSUPPORTED, r->namer->arg, "%s %s: %s", what_it_is(r),
			  r->name->path, is);
}

static int report_place(const struct backing_request *r, const struct verdict *v,
			const char *what)
{
	if (S_ISBLK(v->mode) && path_is_below(v->real, "/dev")) {
		err_report(VBLK_DENIED, r->namer->arg,
			   "%s %s: a block device below /dev is opened only if it is named with %s",
			   what_it_is(r), what, option(r));
		hint_allow(r, v);
		return VBLK_DENIED;
	}
	return err_report(VBLK_DENIED, r->namer->arg,
			  "%s %s: nothing below /proc, /sys and /dev is opened", what_it_is(r),
			  what);
}

static int report_dir(const struct backing_request *r, const struct verdict *v, const char *what)
{
	err_report(VBLK_DENIED, r->namer->arg,
		   "%s %s: outside of the directory of %s, it is written only if it is named with %s",
		   what_it_is(r), what,
		   S_ISBLK(r->namer->st.st_mode) ? "an image on a device" : "root's image",
		   option(r));
	hint_allow(r, v);
	return VBLK_DENIED;
}

static int report_denied(const struct backing_request *r, const struct verdict *v,
			 const char *what, uid_t owner)
{
	char who[64];

	name_owner(owner, who, sizeof(who));
	err_errno(v->err, r->namer->arg,
		  "%s %s: %s, who owns %s, may not open it%s", what_it_is(r), what, who,
		  r->is_data ? "the image or one above" : "an image above it",
		  r->is_data && !r->namer->is_read_only ? " for writing" : "");
	hint_allow(r, v);
	return VBLK_DENIED;
}

static int report(const struct backing_request *r, const struct verdict *v, uid_t owner)
{
	bool is_denied = v->err == EACCES || v->err == EPERM;
	char what[2 * PATH_MAX + 16];

	describe(r, v, what, sizeof(what));
	if (v->step == STEP_TYPE)
		return report_type(r, v);
	if (v->step == STEP_PLACE)
		return report_place(r, v, what);
	if (v->step == STEP_DIR)
		return report_dir(r, v, what);
	if (v->step == STEP_BECOME)
		return err_errno(v->err, r->namer->arg,
				 "%s %s: cannot open it as its %s owner", what_it_is(r), what,
				 r->is_data ? "image's" : "overlay's");
	if (is_denied && owner != 0 && geteuid() == 0)
		return report_denied(r, v, what, owner);
	if (v->step == STEP_OPEN && v->err == EINVAL)
		return err_report(VBLK_UNSUPPORTED, r->namer->arg,
				  "%s %s: its file system has no direct I/O", what_it_is(r), what);
	err_errno(v->err, r->namer->arg, "%s %s", what_it_is(r), what);
	if (r->is_data && v->err == ENOENT && r->namer == r->top)
		err_hint_command("vblk-attach", "--data-file", "PATH", r->top->arg, r->top->name,
				 NULL);
	return err_code(v->err);
}

/* Interface */

/**
 * backing_allow() - allow what --backing names, MAX_CHAIN times at most
 *
 * Return: an exit code; what is wrong has been reported.
 */
int backing_allow(struct backing_policy *policy, const char *path)
{
	struct stat *st = &policy->allowed[policy->nr_allowed];

	if (stat(path, st) < 0)
		return err_errno(errno, path, "cannot find what --backing names");
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return err_report(VBLK_USAGE, path,
				  "not for --backing: neither a file nor a block device");
	policy->nr_allowed++;
	return VBLK_OK;
}

static bool is_allowed(const struct backing_policy *policy, const struct stat *st)
{
	for (size_t i = 0; i < policy->nr_allowed; i++)
		if (image_is_same(&policy->allowed[i], st))
			return true;
	return false;
}

/*
 * For reading only. What was found by a path is looked at again once it is open: it may be another
 * file.
 */
static int open_named(const struct backing_request *r, const struct attempt *a, struct verdict *v)
{
	struct attempt as_named = *a;
	struct stat st;
	int fd;

	if (a->is_writable || !r->policy->nr_allowed || stat(a->path, &st) < 0 || !is_allowed(r->policy, &st))
		return -1;
	as_named.allows_devices = true;
	fd = open_here(&as_named, v);
	if (fd < 0 || (fstat(fd, &st) == 0 && is_allowed(r->policy, &st)))
		return fd;
	close(fd);
	v->step = STEP_OPEN;
	v->err = EAGAIN;
	return -1;
}

/* All owners get the same file, or none gets it. */
static int open_for_all(const struct backing_request *r, const struct attempt *a, int *fd)
{
	struct stat first, st;
	struct verdict v;
	int other;

	*fd = open_as_user(r->owners[0], a, &v);
	if (*fd < 0)
		return report(r, &v, r->owners[0]);
	for (size_t i = 1; i < r->nr_owners; i++) {
		other = open_as_user(r->owners[i], a, &v);
		if (other < 0)
			return report(r, &v, r->owners[i]);
		if (fstat(*fd, &first) < 0 || fstat(other, &st) < 0 || !image_is_same(&first, &st))
			v.step = STEP_FIND;
		close(other);
		if (v.step != STEP_DONE)
			return err_report(VBLK_FAILED, r->namer->arg,
					  "%s %s: replaced while it was opened", what_it_is(r),
					  a->path);
	}
	return VBLK_OK;
}

/* The directory of the image. Return: false when its owner's rights are enough of a limit. */
static bool is_kept_in_dir(const struct backing_request *r, char *dir)
{
	const struct image *img = r->namer;

	if (img->st.st_uid != 0 && !S_ISBLK(img->st.st_mode))
		return false;
	snprintf(dir, PATH_MAX, "%.*s", (int)(strrchr(img->path, '/') - img->path), img->path);
	return true;
}

/* What is written to is the top's data file. */
static struct attempt attempt(const struct backing_request *r)
{
	return (struct attempt){
		.path = r->name->path,
		.kind = r->name->kind,
		.is_writable = r->is_data && !r->namer->is_read_only,
		.may_be_cached = r->policy->is_for_program,
	};
}

/**
 * backing_open_named() - open what the user has named, as who we are
 * @r: what
 * @fd: as for backing_open()
 *
 * Return: an exit code; what is wrong has been reported.
 */
int backing_open_named(const struct backing_request *r, int *fd)
{
	struct attempt a = attempt(r);
	struct verdict v;

	a.allows_devices = true;
	*fd = open_here(&a, &v);
	return *fd < 0 ? report(r, &v, 0) : VBLK_OK;
}

/**
 * backing_open() - open a backing file or a data file, if its name may be followed
 * @r: what, and for whom
 * @fd: set to a descriptor, with O_DIRECT unless the policy takes others, on success
 *
 * Return: an exit code; what is wrong has been reported.
 */
int backing_open(const struct backing_request *r, int *fd)
{
	struct verdict v = { .step = STEP_DONE };
	struct attempt a = attempt(r);
	char dir[PATH_MAX];
	int ret;

	if (a.is_writable && is_kept_in_dir(r, dir))
		a.dir = dir;
	*fd = open_named(r, &a, &v);
	if (*fd >= 0)
		return VBLK_OK;
	if (v.step != STEP_DONE)
		return report(r, &v, 0);
	ret = open_for_all(r, &a, fd);
	if (ret && *fd >= 0)
		close(*fd);
	return ret;
}
