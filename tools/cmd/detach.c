// SPDX-License-Identifier: GPL-2.0-only
/* vblk-detach: who uses it? -> stop the server -> remove the device. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attached.h"
#include "cmd.h"
#include "disk/lower.h"
#include "disk/holder.h"
#include "err.h"
#include "job-left.h"
#include "job-run.h"
#include "out.h"
#include "server/server.h"

/* From the last request's end to the end of the process that had made it. */
#define SOCKET_WAIT_MS	2000

static const char help[] =
"Usage: vblk-detach [--force] [--dry-run] NAME|DEVICE|IMAGE...\n"
"\n"
"Stop serving the disk, remove /dev/mapper/NAME and let the image go. When it\n"
"returns, the image is complete and unlocked.\n"
"\n"
"      --force            detach even though a guest is connected, or a job runs\n"
"      --dry-run          check everything, print what would be done, do nothing\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "force", no_argument, NULL, 'f' },
	{ "dry-run", no_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static int report_busy(const struct attached *a, const char *what)
{
	return err_report(VBLK_BUSY, a->d.name, "in use: %s", what);
}

/* Of a commit that has not ended: what the device was on. The file of the job goes last: it says that there may be one. */
static int remove_below(const struct attached *a)
{
	int err = lower_remove(&a->d);

	if (err)
		return err_errno(-err, a->d.name, "detached, but the device below it cannot be removed");
	job_forget(a->d.uuid);
	return VBLK_OK;
}

static int remove_device(const struct attached *a)
{
	char who[512];
	int err;

	/* Forgotten first: once the device is gone the name may be another's. */
	if (*a->serving.name)
		state_forget(a->serving.name);
	err = dmdev_remove(a->d.name);
	if (!err) {
		state_forget_tops(a->d.uuid);
		return remove_below(a);
	}
	if (a->is_served)
		state_save(&a->serving);
	if (!holder_of_device(a->d.dev, 0, who, sizeof(who)))
		return err_errno(-err, a->d.name, "cannot remove the device");
	return report_busy(a, who);
}

/*
 * A server that was killed left its socket. In our directory it goes while the
 * claim makes the name ours; elsewhere when the device is gone, as until then the
 * dying server may listen.
 */
static int remove_served(const struct attached *a)
{
	const char *name = a->serving.name, *path = a->serving.socket;
	bool is_own = server_owns_socket(name, path);
	int claim, ret;

	claim = state_claim(name);
	if (is_own && claim >= 0)
		server_unlink_socket(name, path, 0, -1);
	ret = remove_device(a);
	if (!ret && !is_own)
		server_unlink_socket(name, path, SOCKET_WAIT_MS, -1);
	if (claim >= 0)
		close(claim);
	return ret;
}

static int say_plan(const struct attached *a)
{
	printf("%s: would be detached", a->d.name);
	if (a->server)
		printf(", and its server, process %d, stopped", a->server);
	putchar('\n');
	return out_flush();
}

/* One that is under way ends here by force only; of one that has not ended nothing is missing. */
static int end_job(const struct attached *a, bool force)
{
	if (!a->has_job || !a->job.is_running)
		return VBLK_OK;
	return force ? job_stop(a, NULL) : attached_check_no_job(a);
}

static int detach_locked(struct attached *a, bool force, bool is_dry)
{
	int ret;

	ret = is_dry && force ? VBLK_OK : end_job(a, force);
	if (!ret)
		ret = attached_check_thawed(a);
	if (!ret)
		ret = attached_check_unused(a, false);
	if (!ret && is_dry)
		ret = server_check_guest(a->d.name, a->guest, force) ?: say_plan(a);
	if (ret || is_dry)
		return ret;
	/* Somebody was killed who had suspended it: requests wait there. */
	lower_wake(&a->d);
	if (a->server)
		ret = server_stop(&a->serving, a->d.name, a->server, force);
	if (ret)
		return ret;
	return *a->serving.socket ? remove_served(a) : remove_device(a);
}

/* Whoever stops a service does not mean the job; who means it has to say so. */
static void say_what_is_left(const struct attached *a)
{
	struct job_request request;
	char text[128];

	if (!a->has_job || job_request_load(a->d.name, &request))
		return;
	snprintf(text, sizeof(text), "its %s has not ended: vblk-resume goes on with it once it is attached again",
		 request.verb);
	err_warn(a->d.name, text);
}

static int detach(const char *arg, bool force, bool is_dry)
{
	struct attached a;
	int lock, ret;

	ret = attached_lock_any(arg, &a, &lock);
	/* Perhaps by one that was killed before it had done all. */
	if (ret == VBLK_NOT_FOUND && !is_dry)
		job_left_clean();
	if (ret)
		return ret;
	ret = detach_locked(&a, force, is_dry);
	if (!ret && !is_dry)
		say_what_is_left(&a);
	state_unlock(a.d.uuid, lock);
	return ret;
}

/** cmd_detach() - the verb */
int cmd_detach(int argc, char **argv)
{
	int opt, ret, one;
	bool force = false, is_dry = false;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			force = true;
			break;
		case 'd':
			is_dry = true;
			break;
		case 'h':
			fputs(help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("detach");
		}
	}
	if (optind == argc) {
		err_report(VBLK_USAGE, NULL, "needs the NAME of a disk");
		return cmd_usage_error("detach");
	}
	ret = dmdev_init();
	if (ret)
		return ret;
	for (; optind < argc; optind++) {
		one = detach(argv[optind], force, is_dry);
		if (one)
			ret = one;
	}
	return ret;
}
