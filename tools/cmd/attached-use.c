// SPDX-License-Identifier: GPL-2.0-only
/* Who uses an attached disk. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "attached.h"
#include "disk/holder.h"
#include "disk/view.h"
#include "err.h"

/* Others may look at the device for so long before it counts as in use. */
#define HOLDER_WAIT_MS	3000
#define HOLDER_POLL_MS	50

static int report_busy(const struct attached *a, const char *what)
{
	return err_report(VBLK_BUSY, a->d.name, "in use: %s", what);
}

/*
 * Somebody whom holder_of_device() does not see: a mount in another namespace or
 * by a file system that hides its device, a user in the kernel. The server has
 * the device open, and the kernel for the guest; udev looks for a moment.
 */
static bool has_hidden_holder(const struct attached *a)
{
	struct dmdev d = a->d;
	int expected = (a->server ? 1 : 0) + (a->guest ? 1 : 0);
	int waited_ms;

	for (waited_ms = 0; d.open_count > expected; waited_ms += HOLDER_POLL_MS) {
		if (waited_ms >= HOLDER_WAIT_MS)
			return true;
		poll(NULL, 0, HOLDER_POLL_MS);
		if (dmdev_find_uuid(a->d.uuid, &d))
			return false;
	}
	return false;
}

/**
 * attached_check_unused() - does anybody but the server and its guest have the device?
 * @is_strict: somebody in the kernel counts also without a server
 *
 * Return: an exit code; who has it has been reported.
 */
int attached_check_unused(const struct attached *a, bool is_strict)
{
	char who[512];

	if (holder_of_device(a->d.dev, a->server, who, sizeof(who)))
		return report_busy(a, who);
	/* Without a server nothing is lost when the kernel finds it busy at its removal. */
	if ((a->server || is_strict) && has_hidden_holder(a))
		return report_busy(a, "a mount in another namespace, or the kernel, has it open");
	return VBLK_OK;
}

/** attached_check_sound() - has the disk an image that has not failed? An exit code, reported */
int attached_check_sound(const struct attached *a)
{
	if (!a->d.is_live)
		return err_report(VBLK_FAILED, a->d.name, "it has no table");
	if (!a->has_failed)
		return VBLK_OK;
	err_report(VBLK_DAMAGED, a->d.name, "its image has failed, and needs a check");
	err_hint_command("vblk-detach", a->d.name, NULL);
	return VBLK_DAMAGED;
}

/** attached_check_resumed() - is it not suspended? An exit code, reported */
int attached_check_resumed(const struct attached *a)
{
	if (!a->d.is_suspended)
		return VBLK_OK;
	err_report(VBLK_BUSY, a->d.name, "it is suspended");
	err_hint_command("dmsetup", "resume", a->d.name, NULL);
	return VBLK_BUSY;
}

/**
 * attached_report_frozen() - say that a disk is shown as it was
 * @view: what shows it
 *
 * And who looks at it: a backup that runs thaws the disk by itself when it ends. Return: VBLK_BUSY.
 */
int attached_report_frozen(const struct attached *a, const struct dmdev *view)
{
	char who[512] = "";

	if (!holder_of_device(view->dev, 0, who, sizeof(who)))
		err_report(VBLK_BUSY, a->d.name, "it is frozen: %s shows what it held", view->name);
	else
		err_report(VBLK_BUSY, a->d.name,
			   "it is frozen: %s shows what it held, and is in use: %s", view->name, who);
	if (!strstr(who, "(vblk-backup)"))
		err_hint_command("vblk-thaw", a->d.name, NULL);
	return VBLK_BUSY;
}

static int report_job(const struct attached *a)
{
	const struct job *job = &a->job;

	if (!*job->verb)
		return err_report(VBLK_BUSY, a->d.name,
				  "a job of it %s, and " STATE_DIR "/%s.job is damaged",
				  job->is_running ? "is under way" : "has not ended", a->d.uuid);
	if (job->is_running)
		return err_report(VBLK_BUSY, a->d.name,
				  "a %s of it is under way: %u %%, process %d; --cancel ends it",
				  job->verb, job->percent, job->pid);
	return err_report(VBLK_BUSY, a->d.name,
			  "a %s of it has not ended: it goes on by the same command, or is forgotten with --cancel",
			  job->verb);
}

/**
 * attached_check_no_job() - is nobody changing its chain, or has begun to?
 *
 * Return: an exit code; that somebody is has been reported.
 */
int attached_check_no_job(const struct attached *a)
{
	char command[16 + JOB_VERB_SIZE];

	if (!a->has_job)
		return VBLK_OK;
	report_job(a);
	snprintf(command, sizeof(command), "vblk-%s", a->job.verb);
	if (*a->job.verb && a->job.is_running)
		err_hint_command(command, "--cancel", a->d.name, NULL);
	else if (*a->job.verb)
		err_hint_command(command, a->d.name, NULL);
	else
		err_hint_command("vblk-detach", a->d.name, NULL);
	return VBLK_BUSY;
}

/**
 * attached_check_thawed() - is the disk shown as it was?
 *
 * What would end that has to wait. Return: an exit code; that it is has been reported.
 */
int attached_check_thawed(const struct attached *a)
{
	struct dmdev view;
	int err = view_find(&a->d, &view);

	if (err == -ENXIO || err == -ENAMETOOLONG)
		return VBLK_OK;
	if (err)
		return err_errno(-err, a->d.name, "cannot tell whether it is frozen");
	return attached_report_frozen(a, &view);
}
