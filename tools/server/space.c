// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that wait for space on the host: told of, and ended by vblk-detach --force
 * for as long as it needs to.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/err.h"
#include "disk/dm.h"
#include "space.h"
#include "vhost-user/stall.h"

/* Documentation/dm-qcow2.rst, Status: the fourth word. */
static bool waits_for_space(const char *disk)
{
	unsigned int waiting = 0;
	uint64_t sectors;
	char *params;

	if (dmdev_status(disk, &sectors, &params))
		return false;
	if (sscanf(params, "%*s %*s %*s %u", &waiting) != 1)
		waiting = 0;
	free(params);
	return waiting;
}

/**
 * space_say_awaited() - report that a disk's requests wait for space, if they do
 * @disk: name of its device
 *
 * Return: whether they do.
 */
bool space_say_awaited(const char *disk)
{
	if (!waits_for_space(disk))
		return false;
	err_report(VBLK_FAILED, disk,
		   "writes of the guest wait for space on the host, and a stop of the disk with them");
	err_hint("make space, or dmsetup message %s 0 no_space error", disk);
	return true;
}

/* Features come last; a path may hold any words. */
static bool says_queue(const char *params)
{
	const char *last = NULL, *p = params;

	while ((p = strstr(p, " no_space=")))
		last = p++;
	return last && !strncmp(last, " no_space=queue", strlen(" no_space=queue"));
}

/**
 * space_fail_writes() - fail a disk's requests if they wait for space
 * @disk: name of its device
 * @was_queue: set if others would have waited, too: space_queue_writes() is due
 *
 * Return: whether any waited.
 */
bool space_fail_writes(const char *disk, bool *was_queue)
{
	uint64_t sectors;
	char *params;
	int err;

	if (!waits_for_space(disk) || dmdev_table(disk, &sectors, &params))
		return false;
	*was_queue = says_queue(params);
	free(params);
	err = dmdev_message(disk, "no_space error");
	if (err)
		err_errno(-err, disk, "cannot fail writes that wait for space");
	else
		err_report(VBLK_FAILED, disk,
			   "writes waited %d s for space on the host: they fail now", STALL_SECS);
	return true;
}

/**
 * space_queue_writes() - from now on a disk's requests wait for space again
 * @disk: name of its device
 */
void space_queue_writes(const char *disk)
{
	int err = dmdev_message(disk, "no_space queue");

	if (err)
		err_errno(-err, disk, "cannot let writes wait for space again");
}
