// SPDX-License-Identifier: GPL-2.0-only
/* Opens backing files as their overlays' owners would: see the header. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing-policy.h"
#include "cmd/err.h"

#define MAX_GROUPS	65536
#define NO_GROUP	65534	/* of a user whom the user database does not know */

/* How far somebody came with a file. */
enum step {
	STEP_BECOME,	/* become its owner */
	STEP_FIND,	/* walk its path */
	STEP_TYPE,	/* it is a file or a block device */
	STEP_PLACE,	/* it is nowhere where nothing is opened */
	STEP_OPEN,	/* open it */
	STEP_DONE,
};

/**
 * struct verdict - what became of an attempt to open a file
 * @step: the one that failed, or STEP_DONE
 * @err: errno of that step
 * @mode: type of the file, from STEP_TYPE on
 * @real: its path without links, from STEP_PLACE on
 */
struct verdict {
	enum step step;
	int err;
	mode_t mode;
	char real[PATH_MAX];
};

/* As whom a file is opened. */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	int nr_groups;
};

/* What one attempt may open. */
struct attempt {
	const char *path;
	enum backing_kind kind;
	bool allows_devices;
};

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

/* Files there are the kernel's, and opening one may do anything. */
static bool is_in_forbidden_place(int at, const struct verdict *v, bool allows_devices)
{
	struct statfs fs;

	if (is_below(v->real, "/proc") || is_below(v->real, "/sys"))
		return true;
	if (is_below(v->real, "/dev"))
		return !S_ISBLK(v->mode) || !allows_devices;
	/* They can be mounted elsewhere. */
	return fstatfs(at, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC;
}

static bool has_kind(mode_t mode, enum backing_kind kind)
{
	return (S_ISREG(mode) && kind != BACKING_DEVICE) ||
	       (S_ISBLK(mode) && kind != BACKING_FILE);
}

static int stop(struct verdict *v, enum step step, int err)
{
	v->step = step;
	v->err = err;
	return -1;
}

/* @at was found and not yet opened, so there is no second look at the path. */
static int open_found(int at, const struct attempt *a, struct verdict *v)
{
	const int flags = O_RDONLY | O_DIRECT | O_CLOEXEC;
	char link[32];
	struct stat st;
	ssize_t n;
	int fd;

	if (fstat(at, &st) < 0)
		return stop(v, STEP_FIND, errno);
	v->mode = st.st_mode;
	if (!has_kind(st.st_mode, a->kind))
		return stop(v, STEP_TYPE, 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	n = readlink(link, v->real, sizeof(v->real) - 1);
	if (n < 0)
		return stop(v, STEP_FIND, errno);
	v->real[n] = '\0';
	if (is_in_forbidden_place(at, v, a->allows_devices))
		return stop(v, STEP_PLACE, 0);
	fd = open(link, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = open(link, flags);
	return fd < 0 ? stop(v, STEP_OPEN, errno) : fd;
}

static int try_open(const struct attempt *a, struct verdict *v)
{
	int at, fd;

	*v = (struct verdict){ .step = STEP_DONE };
	at = open(a->path, O_PATH | O_CLOEXEC);
	if (at < 0)
		return stop(v, STEP_FIND, errno);
	fd = open_found(at, a, v);
	close(at);
	return fd;
}

/* The child */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	return syscall(SYS_capset, &header, none);
}

/*
 * For file systems only: of a process with the user's own ids the user could have a
 * hand in it. What is left of root is what root's capabilities allow: none.
 */
static int become(const struct user *user)
{
	if (geteuid() == 0) {
		if (setgroups(user->nr_groups, user->groups) < 0)
			return -1;
		setfsgid(user->gid);
		setfsuid(user->uid);
		/* They fail silently, and return what was there before. */
		errno = EPERM;
		if ((gid_t)setfsgid(-1) != user->gid || (uid_t)setfsuid(-1) != user->uid)
			return -1;
	}
	return drop_capabilities();
}

static bool send_verdict(int to, const struct verdict *v, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)v, sizeof(*v) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) == sizeof(*v);
}

static void run_child(const struct user *user, const struct attempt *a, int to)
{
	struct verdict v = {};
	int fd;

	fd = become(user) < 0 ? stop(&v, STEP_BECOME, errno) : try_open(a, &v);
	_exit(!send_verdict(to, &v, fd));
}

/* Of the child's words only the descriptor counts; it may have been killed. */
static int receive_verdict(int from, struct verdict *v)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { v, sizeof(*v) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*v))
		return stop(v, STEP_BECOME, n < 0 ? errno : EIO);
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return v->step == STEP_DONE ? stop(v, STEP_BECOME, EIO) : -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int open_as(const struct user *user, const struct attempt *a, struct verdict *v)
{
	int pair[2], fd;
	pid_t pid;

	*v = (struct verdict){};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return stop(v, STEP_BECOME, errno);
	pid = fork();
	if (pid == 0)
		run_child(user, a, pair[1]);
	close(pair[1]);
	fd = pid < 0 ? stop(v, STEP_BECOME, errno) : receive_verdict(pair[0], v);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

/*
 * Not the group of the file: in some directories a user's files get one that the user
 * is not in.
 */
static int find_user(uid_t uid, struct user *user)
{
	const struct passwd *pw = getpwuid(uid);
	int n = MAX_GROUPS;

	*user = (struct user){ .uid = uid, .gid = NO_GROUP };
	if (!pw)
		return 0;
	user->gid = pw->pw_gid;
	user->groups = calloc(n, sizeof(*user->groups));
	if (!user->groups || getgrouplist(pw->pw_name, pw->pw_gid, user->groups, &n) < 0)
		return -1;
	user->nr_groups = n;
	return 0;
}

/* Who is not root can become nobody else, and opens what it may without capabilities. */
static int open_for(uid_t uid, const struct attempt *a, struct verdict *v)
{
	struct user user;
	int fd;

	if (geteuid() == 0 && uid == 0)
		return try_open(a, v);
	*v = (struct verdict){};
	if (find_user(uid, &user) < 0)
		fd = stop(v, STEP_BECOME, ENOMEM);
	else
		fd = open_as(&user, a, v);
	free(user.groups);
	return fd;
}

/* Reports */

static void name_owner(uid_t uid, char *text, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		snprintf(text, size, "%s", pw->pw_name);
	else
		snprintf(text, size, "uid %u", uid);
}

static void hint_allow(const struct backing_request *r, const struct verdict *v)
{
	err_hint_command("vblk-attach", "--backing", *v->real ? v->real : r->name->path,
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
	return err_report(VBLK_UNSUPPORTED, r->namer->arg, "backing file %s: %s", r->name->path,
			  is);
}

static int report_place(const struct backing_request *r, const struct verdict *v,
			const char *what)
{
	if (S_ISBLK(v->mode) && is_below(v->real, "/dev")) {
		err_report(VBLK_DENIED, r->namer->arg,
			   "backing file %s: a block device below /dev is opened only if it is named with --backing",
			   what);
		hint_allow(r, v);
		return VBLK_DENIED;
	}
	return err_report(VBLK_DENIED, r->namer->arg,
			  "backing file %s: nothing below /proc, /sys and /dev is opened", what);
}

static int report_denied(const struct backing_request *r, const struct verdict *v,
			 const char *what, uid_t owner)
{
	char who[64];

	name_owner(owner, who, sizeof(who));
	err_errno(v->err, r->namer->arg,
		  "backing file %s: %s, who owns an image above it, may not open it", what, who);
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
	if (v->step == STEP_BECOME)
		return err_errno(v->err, r->namer->arg,
				 "backing file %s: cannot open it as its overlay's owner", what);
	if (is_denied && owner != 0 && geteuid() == 0)
		return report_denied(r, v, what, owner);
	if (v->step == STEP_OPEN && v->err == EINVAL)
		return err_report(VBLK_UNSUPPORTED, r->namer->arg,
				  "backing file %s: its file system has no direct I/O", what);
	return err_errno(v->err, r->namer->arg, "backing file %s", what);
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

/* What was found by a path is looked at again once it is open: it may be another file. */
static int open_named(const struct backing_request *r, const struct attempt *a, struct verdict *v)
{
	struct attempt as_named = *a;
	struct stat st;
	int fd;

	if (!r->policy->nr_allowed || stat(a->path, &st) < 0 || !is_allowed(r->policy, &st))
		return -1;
	as_named.allows_devices = true;
	fd = try_open(&as_named, v);
	if (fd < 0 || (fstat(fd, &st) == 0 && is_allowed(r->policy, &st)))
		return fd;
	close(fd);
	return stop(v, STEP_OPEN, EAGAIN);
}

/* All owners get the same file, or none gets it. */
static int open_for_all(const struct backing_request *r, const struct attempt *a, int *fd)
{
	struct stat first, st;
	struct verdict v;
	int other;

	*fd = open_for(r->owners[0], a, &v);
	if (*fd < 0)
		return report(r, &v, r->owners[0]);
	for (size_t i = 1; i < r->nr_owners; i++) {
		other = open_for(r->owners[i], a, &v);
		if (other < 0)
			return report(r, &v, r->owners[i]);
		if (fstat(*fd, &first) < 0 || fstat(other, &st) < 0 || !image_is_same(&first, &st))
			v.step = STEP_FIND;
		close(other);
		if (v.step != STEP_DONE)
			return err_report(VBLK_FAILED, r->namer->arg,
					  "backing file %s: replaced while it was opened",
					  a->path);
	}
	return VBLK_OK;
}

/**
 * backing_open() - open a backing file, if its name may be followed
 * @r: what, and for whom
 * @fd: set to a descriptor for reading with O_DIRECT, on success
 *
 * Return: an exit code; what is wrong has been reported.
 */
int backing_open(const struct backing_request *r, int *fd)
{
	struct attempt a = { .path = r->name->path, .kind = r->name->kind };
	struct verdict v = { .step = STEP_DONE };
	int ret;

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
