// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may use a file that is replaced may use the one that replaces it, and nobody else: owner, mode, access control list, and label
 * of SELinux. Whose a file without a name is, is settled before anything is copied, as that may fail; nobody else may read it before
 * it is whole. One that has a name its owner could open and write to: he gets it when it is whole.
 */
#include <errno.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd/err.h"
#include "target.h"

#define LABEL	"security.selinux"
#define ACL	"system.posix_acl_access"

/* Of a file with a list these are not what its group may. */
#define GROUP_MODE	(S_IRWXG)

static bool replaces(const struct target *t)
{
	return t->kind == TARGET_FILE && t->old_fd >= 0;
}

/* Return: 1 if it has such an attribute now, 0 if there is none, or -errno. */
static int take_attribute(const struct target *t, const char *name)
{
	char value[XATTR_SIZE_MAX];
	ssize_t n = fgetxattr(t->old_fd, name, value, sizeof(value));

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	return fsetxattr(t->fd, name, value, n, 0) < 0 ? -errno : 1;
}

static int report(const struct target *t, int err)
{
	return err_errno(err, t->name, "cannot give it the owner of what it replaces");
}

static int give_owner(const struct target *t)
{
	struct stat st;
	int err;

	if (fstat(t->old_fd, &st) < 0 || fchown(t->fd, st.st_uid, st.st_gid) < 0)
		return report(t, errno);
	err = take_attribute(t, LABEL);
	if (err == -EPERM)
		err_warn(t->name, "it has not got the label of what it replaces");
	else if (err < 0 && err != -EOPNOTSUPP)
		return report(t, -err);
	return VBLK_OK;
}

/**
 * target_take_owner() - give the file the owner of the one that it replaces, if it does, and if it has no name yet
 *
 * Return: an exit code; what is wrong has been reported.
 */
int target_take_owner(const struct target *t)
{
	return replaces(t) && !t->is_named ? give_owner(t) : VBLK_OK;
}

/* What it has from its directory. */
static int drop_acl(const struct target *t)
{
	return fremovexattr(t->fd, ACL) < 0 && errno != ENODATA && errno != EOPNOTSUPP ? -errno : 0;
}

/**
 * target_take_mode() - let others use the file who might use the one that it replaces
 *
 * When it is whole. Return: an exit code; what is wrong has been reported.
 */
int target_take_mode(const struct target *t)
{
	mode_t mode;
	struct stat st;
	int has_acl, ret;

	if (!replaces(t))
		return VBLK_OK;
	ret = t->is_named ? give_owner(t) : VBLK_OK;
	if (ret)
		return ret;
	if (fstat(t->old_fd, &st) < 0)
		return report(t, errno);
	/* It has the mode in it. */
	has_acl = take_attribute(t, ACL);
	if (has_acl > 0)
		return VBLK_OK;
	mode = st.st_mode & (has_acl < 0 ? 07777 & ~GROUP_MODE : 07777);
	if (has_acl < 0)
		err_warn(t->name, "it has not got the access control list of what it replaces");
	ret = drop_acl(t);
	if (ret)
		return report(t, -ret);
	return fchmod(t->fd, mode) < 0 ? report(t, errno) : VBLK_OK;
}
