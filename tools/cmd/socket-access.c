// SPDX-License-Identifier: GPL-2.0-only
/* Options that say whose a socket is. */
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>

#include "err.h"
#include "size.h"
#include "socket-access.h"

#define MAX_ID	(UINT_MAX - 1)	/* the last one means none */

/**
 * socket_parse_owner() - the value of --socket-owner
 *
 * A number is one even if some user has it for a name: there is no such thing. Return: an exit
 * code; what is wrong has been reported.
 */
int socket_parse_owner(const char *text, uid_t *uid)
{
	const struct passwd *user = getpwnam(text);

	if (!user)
		return number_parse("--socket-owner", text, 0, MAX_ID, uid);
	*uid = user->pw_uid;
	return VBLK_OK;
}

/** socket_parse_group() - of --socket-group */
int socket_parse_group(const char *text, gid_t *gid)
{
	const struct group *group = getgrnam(text);

	if (!group)
		return number_parse("--socket-group", text, 0, MAX_ID, gid);
	*gid = group->gr_gid;
	return VBLK_OK;
}

/** socket_parse_mode() - of --socket-mode */
int socket_parse_mode(const char *text, unsigned int *mode)
{
	unsigned long n;
	char *end;

	n = strtoul(text, &end, 8);
	if (*end || *text < '0' || *text > '7' || n > 0777)
		return err_report(VBLK_USAGE, "--socket-mode",
				  "'%s' is not an octal number from 0 to 0777",
				  text);
	*mode = n;
	return VBLK_OK;
}
