// SPDX-License-Identifier: GPL-2.0-only
/*
 * What jobs of disks have left that are not there any more.
 *
 * A detach removes the disk first, then NAME-below, which keeps images locked, then the file of the job. If it is killed in
 * between, the file says which device to look for: nothing else does, as the disk may be attached by another image, or never.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk/lower.h"
#include "err.h"
#include "job-left.h"
#include "server/job.h"
#include "server/job-request.h"
#include "server/state.h"

static bool is_gone(const char *uuid)
{
	struct dmdev d;

	return dmdev_find_uuid(uuid, &d) == -ENXIO;
}

/* One that somebody is at, or has open, is left to him. */
static void clean(const char *uuid)
{
	struct dmdev disk = {};
	int lock;

	if (strncmp(uuid, DMDEV_PREFIX, strlen(DMDEV_PREFIX)) != 0 || !is_gone(uuid))
		return;
	lock = state_lock(uuid);
	if (lock < 0)
		return;
	/* Who has detached it may have done that meanwhile. */
	strcpy(disk.uuid, uuid);
	if (is_gone(uuid) && !job_is_running(uuid) && !lower_remove(&disk))
		job_forget(uuid);
	state_unlock(uuid, lock);
}

/** job_left_clean() - remove it; no disk is locked by the caller */
void job_left_clean(void)
{
	static const char suffix[] = ".job";
	char uuid[sizeof(((struct dmdev *)0)->uuid)];
	DIR *dir = opendir(STATE_DIR);
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		size_t len = strlen(de->d_name);

		if (len < sizeof(suffix) || len - strlen(suffix) >= sizeof(uuid) ||
		    strcmp(de->d_name + len - strlen(suffix), suffix) != 0)
			continue;
		snprintf(uuid, sizeof(uuid), "%.*s", (int)(len - strlen(suffix)), de->d_name);
		clean(uuid);
	}
	if (dir)
		closedir(dir);
}

/** job_left_tell() - say that a disk, which has just been attached, has a job that the host's end has cut short */
void job_left_tell(const char *disk)
{
	struct job_request r;

	if (job_request_load(disk, &r))
		return;
	fprintf(stderr, "vblk-attach: %s: its %s has not ended\n", disk, r.verb);
	err_hint_command("vblk-resume", disk, NULL);
}
