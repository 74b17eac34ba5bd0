// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-resume: commits and flattens that have not ended, as the host was stopped, go on.
 *
 *	for each that is noted: is the disk there - has it these images - run the verb again
 *
 * The verb looks at everything itself. What is looked at here is whether its images are still those that were meant.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attached.h"
#include "backup/cancel.h"
#include "cmd.h"
#include "disk/live.h"
#include "disk/overlay-note.h"
#include "err.h"
#include "out.h"
#include "resume.h"
#include "server/job-request.h"

#define ARGS	12

static const char help[] =
"Usage: vblk-resume [DISK...]\n"
"       vblk-resume --list [--json]\n"
"\n"
"Go on with each vblk-commit and vblk-flatten that has not ended, as it was\n"
"killed, or the host was stopped: one after the other. After a boot\n"
"vblk-resume.service does that.\n"
"\n"
"      --list             print what has not ended\n"
"      --json             print that as JSON\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "list", no_argument, NULL, 'l' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct resumed - a job that has not ended
 * @disk: name of the disk
 * @request: what was asked for
 * @knows_images: the job itself does: the command line need not name them
 * @is_top: the highest that is to be merged is the disk's image
 */
struct resumed {
	const char *disk;
	struct job_request request;
	bool knows_images;
	bool is_top;
};

static int report_gone(const struct resumed *r)
{
	return err_report(VBLK_NOT_FOUND, r->disk,
			  "its %s has not ended, and it is not attached: the %s goes on when it is, or is forgotten with --cancel",
			  r->request.verb, r->request.verb);
}

static int report_other(const struct resumed *r)
{
	err_report(VBLK_FAILED, r->disk,
		   "its images are not those of the %s that has not ended, which is left, or forgotten with --cancel",
		   r->request.verb);
	err_hint_command("vblk-list", "--chain", r->disk, NULL);
	return VBLK_FAILED;
}

static size_t find(const struct live_chain *c, const struct job_image *img)
{
	size_t i = 0;

	while (i < c->n && !job_image_is(img, c->list[i].path, c->list[i].fd))
		i++;
	return i;
}

static bool is_noted_over(const char *path, const struct live_image *img)
{
	char overlay[PATH_MAX];

	return overlay_note_read(path, overlay) && !strcmp(overlay, img->path);
}

/* What was above those that were merged lies on the base: one that was there before, or the overlay that was made. */
static bool is_merged(const struct job_request *r, const struct live_image *above)
{
	return job_image_is(&r->above, above->path, above->fd) ||
	       is_noted_over(r->top.path, above) || is_noted_over(r->base.path, above);
}

/* Another image of that name is none that was merged. */
static bool has_path(const struct live_chain *c, const char *path)
{
	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->list[i].path, path))
			return true;
	return false;
}

static int check_images(struct resumed *r, const struct live_chain *c, bool *is_done)
{
	const struct job_request *request = &r->request;
	size_t top = find(c, &request->top), base;

	r->is_top = top == 0;
	if (!*request->base.path)
		return r->is_top && c->n ? VBLK_OK : report_other(r);
	base = find(c, &request->base);
	*is_done = !has_path(c, request->top.path) && base && base < c->n &&
		   is_merged(request, &c->list[base - 1]);
	return *is_done || (base < c->n && base == top + request->count) ? VBLK_OK : report_other(r);
}

/* Return: an exit code; for VBLK_OK there may be nothing left to do. */
static int look(struct resumed *r, const struct attached *a, bool *is_done)
{
	struct live_chain chain = {};
	int err, ret;

	r->knows_images = a->has_job;
	r->is_top = !strcmp(a->image, r->request.top.path);
	if (a->has_job)
		return VBLK_OK;
	ret = live_open(&a->d, &chain);
	if (!ret)
		ret = check_images(r, &chain, is_done);
	live_close(&chain);
	/* The host was stopped when only the end of it was not noted. */
	err = !ret && *is_done ? job_request_forget(r->disk) : 0;
	return err ? err_errno(-err, JOB_REQUEST_DIR, "cannot write") : ret;
}

static void exec_verb(const struct resumed *r)
{
	const struct job_request *request = &r->request;
	char program[32], rate[24], self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *argv[ARGS];
	int n = 0;

	snprintf(program, sizeof(program), "vblk-%s", request->verb);
	snprintf(rate, sizeof(rate), "%" PRIu64, request->bandwidth);
	argv[n++] = program;
	if (request->bandwidth) {
		argv[n++] = "--bandwidth";
		argv[n++] = rate;
	}
	if (*request->base.path && !r->knows_images) {
		argv[n++] = "--top";
		argv[n++] = request->top.path;
		argv[n++] = "--base";
		argv[n++] = request->base.path;
	}
	/* One that was made, and has never come into use, is in the way of that name. */
	if (*request->file && r->is_top && access(request->file, F_OK) < 0) {
		argv[n++] = "--file";
		argv[n++] = request->file;
	}
	argv[n++] = "--";
	argv[n++] = r->disk;
	argv[n] = NULL;
	self[length > 0 ? length : 0] = '\0';
	cancel_undo();
	execv(self, (char *const *)argv);
	_exit(err_errno(errno, program, "cannot run it"));
}

static int wait_for(pid_t pid, const struct resumed *r)
{
	int status;
	pid_t ended;

	while (!(ended = waitpid(pid, &status, WNOHANG))) {
		if (cancel_asked())
			kill(pid, SIGTERM);
		poll(NULL, 0, CANCEL_POLL_MS);
	}
	if (ended < 0)
		return err_errno(errno, r->disk, "cannot wait for its %s", r->request.verb);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return err_report(VBLK_FAILED, r->disk, "its %s was killed", r->request.verb);
}

static int run(const struct resumed *r)
{
	pid_t pid = fork();

	if (pid == 0)
		exec_verb(r);
	return pid < 0 ? err_errno(errno, r->disk, "cannot go on with its %s", r->request.verb) :
			 wait_for(pid, r);
}

static int resume_locked(struct resumed *r, const struct attached *a, bool is_named, bool *is_done)
{
	/* It may have come to its end, or have been cancelled, meanwhile. */
	*is_done = job_request_load(r->disk, &r->request) != 0;
	if (*is_done)
		return VBLK_OK;
	if (!a->has_job || !a->job.is_running)
		return look(r, a, is_done);
	*is_done = true;
	return is_named ? attached_check_no_job(a) : VBLK_OK;
}

static int resume(struct resumed *r, bool is_named)
{
	char device[sizeof(DMDEV_DIR) + sizeof(((struct dmdev *)0)->name)];
	bool is_done = false;
	struct attached a;
	int lock, err, ret;

	err = dmdev_find_name(r->disk, &a.d);
	if (err == -ENXIO || (!err && !dmdev_is_ours(&a.d)))
		return report_gone(r);
	/* The name is of a device, whatever else there may be of that name. */
	snprintf(device, sizeof(device), DMDEV_DIR "%s", r->disk);
	cancel_wake_up(true);
	ret = cancel_asked() ? VBLK_FAILED : attached_lock_any(device, &a, &lock);
	cancel_wake_up(false);
	if (ret)
		return ret;
	ret = resume_locked(r, &a, is_named, &is_done);
	state_unlock(a.d.uuid, lock);
	return ret || is_done ? ret : run(r);
}

/** resume_report_unreadable() - say why a note does not count; an exit code */
int resume_report_unreadable(const char *disk, int err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), JOB_REQUEST_DIR "/%s.json", disk);
	if (err == -EUCLEAN)
		return err_report(VBLK_DAMAGED, path, "it is damaged, or of another version");
	if (err == -EPERM)
		return err_report(VBLK_DENIED, path, "somebody else than root may have written it");
	return err_errno(-err, path, "cannot read it");
}

static int resume_noted(const char *disk, bool is_named)
{
	struct resumed r = { .disk = disk };
	int err = job_request_load(disk, &r.request);

	/* It has come to its end meanwhile. */
	if (err == -ENOENT && !is_named)
		return VBLK_OK;
	if (err == -ENOENT)
		return err_report(VBLK_NOT_FOUND, disk, "it has no commit or flatten to go on with");
	return err ? resume_report_unreadable(disk, err) : resume(&r, is_named);
}

/* By its name, which is known without the disk, its device or its image. */
static int resume_named(const char *arg)
{
	struct job_request request;
	struct attached a;
	int ret;

	if (job_request_load(arg, &request) != -ENOENT)
		return resume_noted(arg, true);
	ret = attached_find(arg, &a);
	return ret ? ret : resume_noted(a.d.name, true);
}

static int resume_all(void)
{
	int err, one, ret = VBLK_OK;
	char **disks;
	size_t n;

	err = job_request_list(&disks, &n);
	if (err)
		return err_errno(-err, JOB_REQUEST_DIR, "cannot read it");
	for (size_t i = 0; i < n && !cancel_asked(); i++) {
		one = resume_noted(disks[i], false);
		if (one)
			ret = one;
	}
	job_request_free_list(disks, n);
	return ret;
}

static int resume_some(char **args)
{
	int one, ret = VBLK_OK;

	for (; *args && !cancel_asked(); args++) {
		one = resume_named(*args);
		if (one)
			ret = one;
	}
	return ret;
}

/* Whoever has asked it to end sees that it has ended by that. */
static int end(int ret)
{
	if (cancel_asked()) {
		cancel_undo();
		raise(SIGTERM);
	}
	return ret;
}

static int report_usage(const char *option, const char *why)
{
	err_report(VBLK_USAGE, option, "%s", why);
	return cmd_usage_error("resume");
}

/** cmd_resume() - the verb */
int cmd_resume(int argc, char **argv)
{
	bool lists = false, as_json = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'l':
			lists = true;
			break;
		case 'j':
			as_json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("resume");
		}
	}
	if (lists && optind < argc)
		return report_usage("--list", "goes with no DISK");
	if (as_json && !lists)
		return report_usage("--json", "goes with --list only");
	if (lists)
		return resume_list(as_json);
	ret = dmdev_init();
	if (ret)
		return ret;
	cancel_init();
	return end(optind < argc ? resume_some(argv + optind) : resume_all());
}
