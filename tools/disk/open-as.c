// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opens a file as somebody else would: found first, then judged, then opened, with no
 * second look at its path; by a child that has the user's rights to files, and no others.
 */
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "open-as.h"

#define MAX_GROUPS	65536
#define NO_GROUP	65534	/* of a user whom the user database does not know */

/* As whom a file is opened. */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	int nr_groups;
};

/** path_is_below() - is a path, without links, a directory's or in it? */
bool path_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

/* Files there are the kernel's, and opening one may do anything. */
static bool is_in_forbidden_place(int at, const struct verdict *v, bool allows_devices)
{
	struct statfs fs;

	if (path_is_below(v->real, "/proc") || path_is_below(v->real, "/sys"))
		return true;
	if (path_is_below(v->real, "/dev"))
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

static bool is_in(const char *path, const char *dir)
{
	size_t len = strrchr(path, '/') - path;

	return len == strlen(dir) && !strncmp(path, dir, len);
}

/* Reading is no news of a file; only its owner may say so. */
static int open_quietly(const char *path, int flags)
{
	int fd = open(path, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? open(path, flags) : fd;
}

/* @at was found and not yet opened, so there is no second look at the path. */
static int open_found(int at, const struct attempt *a, struct verdict *v)
{
	const int flags = (a->is_writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
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
	if (a->dir && !is_in(v->real, a->dir))
		return stop(v, STEP_DIR, 0);
	fd = open_quietly(link, flags | O_DIRECT);
	if (fd < 0 && errno == EINVAL && a->may_be_cached)
		fd = open_quietly(link, flags);
	return fd < 0 ? stop(v, STEP_OPEN, errno) : fd;
}

/**
 * open_here() - open a file as who we are
 * @a: the file, and what it may be
 * @v: set to what became of it
 *
 * Return: a descriptor, or -1.
 */
int open_here(const struct attempt *a, struct verdict *v)
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

	fd = become(user) < 0 ? stop(&v, STEP_BECOME, errno) : open_here(a, &v);
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

static int open_in_child(const struct user *user, const struct attempt *a, struct verdict *v)
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

/**
 * open_as_user() - open a file as a user could
 * @uid: the user
 * @a: the file, and what it may be
 * @v: set to what became of it
 *
 * Who is not root can become nobody else, and opens what it may without capabilities.
 *
 * Return: a descriptor, or -1.
 */
int open_as_user(uid_t uid, const struct attempt *a, struct verdict *v)
{
	struct user user;
	int fd;

	if (geteuid() == 0 && uid == 0)
		return open_here(a, v);
	*v = (struct verdict){};
	if (find_user(uid, &user) < 0)
		fd = stop(v, STEP_BECOME, ENOMEM);
	else
		fd = open_in_child(&user, a, v);
	free(user.groups);
	return fd;
}
