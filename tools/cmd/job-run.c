// SPDX-License-Identifier: GPL-2.0-only
/*
 * A long change of a disk's chain, in the foreground: how far it is, how fast it may be, and how it ends early.
 *
 * The disk is locked at its beginning and its end only. In between its file keeps other verbs away. Who is asked to end
 * leaves the file, and the job goes on by the same command; --cancel removes it. What was asked for is noted besides, for the
 * time behind a reboot: vblk-resume.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backup/cancel.h"
#include "err.h"
#include "job-run.h"
#include "server/state.h"
#include "size.h"

#define SECOND_NS	1000000000ULL
#define MS_NS		1000000ULL

/* Pieces a second, with a bandwidth. */
#define PIECES		8

/* Who is to end is told so often. */
#define STOP_POLL_MS	100

enum option_id {
	OPT_BANDWIDTH = 0x100,
	OPT_CANCEL,
	OPT_DRY_RUN,
	OPT_JSON,
	OPT_TOP,
	OPT_BASE,
	OPT_FILE,
};

/* A verb that takes no range of images knows those in front of --top. */
static const struct option options[] = {
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "cancel", no_argument, NULL, OPT_CANCEL },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "top", required_argument, NULL, OPT_TOP },
	{ "base", required_argument, NULL, OPT_BASE },
	{ "file", required_argument, NULL, OPT_FILE },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static int parse_option(struct job_args *args, int opt)
{
	switch (opt) {
	case OPT_BANDWIDTH:
		return bandwidth_parse(optarg, &args->bandwidth);
	case OPT_CANCEL:
		args->cancels = true;
		return VBLK_OK;
	case OPT_DRY_RUN:
		args->is_dry = true;
		return VBLK_OK;
	case OPT_JSON:
		args->as_json = true;
		return VBLK_OK;
	case OPT_TOP:
		args->top = optarg;
		return VBLK_OK;
	case OPT_BASE:
		args->base = optarg;
		return VBLK_OK;
	case OPT_FILE:
		args->file = optarg;
		return VBLK_OK;
	case 'h':
		args->help = true;
		return VBLK_OK;
	default:
		return VBLK_USAGE;
	}
}

/**
 * job_parse() - read the command line
 *
 * Return: an exit code; what is wrong has been reported. The disk is argv[optind].
 */
int job_parse(struct job_args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (parse_option(args, opt))
			return VBLK_USAGE;
	if (args->help)
		return VBLK_OK;
	if (optind + 1 != argc)
		return err_report(VBLK_USAGE, argv[optind + (optind < argc)],
				  "needs the NAME of one disk");
	if (!args->has_range && (args->top || args->base || args->file))
		return err_report(VBLK_USAGE, "--top, --base, --file", "are for vblk-commit");
	if (args->cancels && (args->bandwidth || args->is_dry || args->as_json || args->top ||
			      args->base || args->file))
		return err_report(VBLK_USAGE, "--cancel", "goes with no other option");
	return VBLK_OK;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

/** job_request_fill() - note what the command line says; the images are the caller's */
void job_request_fill(struct job_request *request, const char *verb, const struct job_args *args)
{
	char cwd[PATH_MAX];
	int n = 0;

	*request = (struct job_request){ .bandwidth = args->bandwidth };
	strcpy(request->verb, verb);
	if (args->file && *args->file == '/')
		n = snprintf(request->file, PATH_MAX, "%s", args->file);
	else if (args->file && getcwd(cwd, sizeof(cwd)))
		n = snprintf(request->file, PATH_MAX, "%s/%s", cwd, args->file);
	if (n >= PATH_MAX)
		request->file[0] = '\0';
}

static int report_request(int err)
{
	return err ? err_errno(-err, JOB_REQUEST_DIR, "cannot write") : VBLK_OK;
}

static void put_request_back(const struct job_run *r)
{
	report_request(r->was_requested ? job_request_save(r->name, &r->before) :
					  job_request_forget(r->name));
}

/* Before anything is changed. */
static int note_request(struct job_run *r, const struct job_request *request)
{
	int ret;

	if (!request)
		return VBLK_OK;
	r->was_requested = job_request_load(r->name, &r->before) == 0;
	ret = report_request(job_request_save(r->name, request));
	if (ret && !r->was_requested)
		job_request_forget(r->name);
	return ret;
}

/**
 * job_run_begin() - keep other verbs from the disk from here on, and look for signals
 * @a: the disk, locked; no job of another verb is there, and nobody is at one
 * @job: what is to be noted of it; but for who is at it, and how far it is
 * @request: what is to be done behind a reboot; NULL: what was noted of that stays
 *
 * Return: an exit code; what is wrong has been reported.
 */
int job_run_begin(struct job_run *r, const struct attached *a, const struct job *job,
		  const struct job_args *args, const struct job_request *request)
{
	int ret;

	*r = (struct job_run){
		.dev = a->d.dev, .sectors = a->bytes >> 9, .bandwidth = args->bandwidth,
		.shows_progress = isatty(STDERR_FILENO), .job = *job,
	};
	strcpy(r->name, a->d.name);
	strcpy(r->uuid, a->d.uuid);
	r->job.pid = getpid();
	r->job.percent = a->has_job ? a->job.percent : 0;
	r->fd = -1;
	cancel_init();
	ret = note_request(r, request);
	if (ret)
		return ret;
	r->fd = job_begin(a->d.uuid, &r->job);
	if (r->fd < 0) {
		ret = err_errno(-r->fd, STATE_DIR, "cannot write");
		if (request)
			put_request_back(r);
		return ret;
	}
	return VBLK_OK;
}

/** job_run_done() - it has come to its end; the disk is locked */
void job_run_done(struct job_run *r)
{
	report_request(job_request_forget(r->name));
	job_end(r->uuid, r->fd);
	r->fd = -1;
}

/** job_run_undo() - it has changed nothing, and was not there before; the disk is locked */
void job_run_undo(struct job_run *r)
{
	put_request_back(r);
	job_end(r->uuid, r->fd);
	r->fd = -1;
}

/** job_run_end() - let others be at it; the file stays, unless it is gone */
void job_run_end(struct job_run *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	free(r->images);
	r->images = NULL;
}

/** job_run_report_stopped() - say that somebody has asked it to end; an exit code */
int job_run_report_stopped(const struct job_run *r)
{
	err_report(VBLK_FAILED, r->name, "the %s was stopped: it goes on by the same command, or is forgotten with --cancel",
		   r->job.verb);
	return VBLK_FAILED;
}

/**
 * job_run_lock() - keep other verbs from the disk for what is done to it at once
 * @a: filled in
 * @lock: for state_unlock(), on success
 *
 * Return: an exit code; what is wrong has been reported.
 */
int job_run_lock(const struct job_run *r, struct attached *a, int *lock)
{
	int ret;

	/* Who cancels may have it. */
	cancel_wake_up(true);
	ret = cancel_asked() ? job_run_report_stopped(r) : attached_lock_any(r->name, a, lock);
	cancel_wake_up(false);
	if (ret)
		return ret;
	if (strcmp(a->d.uuid, r->uuid) != 0 || a->d.dev != r->dev)
		ret = err_report(VBLK_BUSY, r->name, "it has become another disk meanwhile");
	else if (!job_is_there(r->uuid, r->fd))
		ret = err_report(VBLK_BUSY, r->name, "its %s was forgotten meanwhile: others may have changed it",
				 r->job.verb);
	if (ret)
		state_unlock(a->d.uuid, *lock);
	return ret;
}

/** job_run_show() - tell whoever asks, or sits at the terminal, how far it is */
void job_run_show(struct job_run *r, uint64_t sector)
{
	unsigned int percent = r->sectors ? (double)sector / r->sectors * 100 : 100;

	if (percent <= r->job.percent)
		return;
	r->job.percent = percent;
	job_note(r->fd, &r->job);
	if (r->shows_progress)
		fprintf(stderr, "%3u %% copied%c", percent, percent == 100 ? '\n' : '\r');
}

/**
 * job_run_wait() - let some time pass, unless it is to end
 *
 * Return: an exit code; what is wrong has been reported.
 */
int job_run_wait(const struct job_run *r, int ms)
{
	if (ms)
		poll(NULL, 0, ms < CANCEL_POLL_MS ? ms : CANCEL_POLL_MS);
	return cancel_asked() ? job_run_report_stopped(r) : VBLK_OK;
}

/** job_run_piece() - how much to copy at a time; @most: at most */
uint64_t job_run_piece(const struct job_run *r, uint64_t most)
{
	uint64_t bytes = r->bandwidth / PIECES;

	if (!r->bandwidth || bytes > most)
		return most;
	return bytes ?: 1;
}

/**
 * job_run_spend() - so much was copied: wait until there may be more
 *
 * Return: an exit code; what is wrong has been reported.
 */
int job_run_spend(struct job_run *r, uint64_t bytes)
{
	uint64_t at = now();
	int ret;

	if (!r->bandwidth)
		return job_run_wait(r, 0);
	if (r->due < at)
		r->due = at;
	r->due += (double)bytes / r->bandwidth * SECOND_NS;
	do {
		at = now();
		ret = job_run_wait(r, at < r->due ? (r->due - at) / MS_NS < CANCEL_POLL_MS ?
				   (int)((r->due - at) / MS_NS) + 1 : CANCEL_POLL_MS : 0);
	} while (!ret && now() < r->due);
	return ret;
}

/*
 * The kernel knows it as long as it has the lock. What it is sent just before it begins to wait for the disk's lock, which the
 * caller may have, wakes up nobody, and it may be stopped as a job of a shell's: so it is told again and again.
 */
static int stop(const struct attached *a)
{
	int running;

	if (!a->job.pid)
		return attached_check_no_job(a);
	do {
		if ((kill(a->job.pid, SIGTERM) < 0 || kill(a->job.pid, SIGCONT) < 0) && errno != ESRCH)
			return err_errno(errno, a->d.name, "cannot end the %s, process %d",
					 a->job.verb, a->job.pid);
		poll(NULL, 0, STOP_POLL_MS);
		running = job_is_running(a->d.uuid);
	} while (running > 0);
	return running ? err_errno(-running, a->d.name, "cannot wait for its %s", a->job.verb) :
			 VBLK_OK;
}

/* One that is damaged is anybody's. */
static bool is_requested(const char *name, const char *verb)
{
	struct job_request r;
	int err = job_request_load(name, &r);

	return err != -ENOENT && (err || !strcmp(r.verb, verb));
}

static int forget(const char *disk, const char *verb, int (*settle)(struct change *c))
{
	struct change c = CHANGE_NONE;
	bool was_requested;
	int lock, ret;

	ret = attached_lock_any(disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	was_requested = is_requested(c.a.d.name, verb);
	if (!c.a.has_job && !was_requested)
		ret = err_report(VBLK_NOT_FOUND, c.a.d.name, "it has no %s to cancel", verb);
	else if (c.a.has_job &&
		 (c.a.job.is_running || (*c.a.job.verb && strcmp(c.a.job.verb, verb) != 0)))
		ret = attached_check_no_job(&c.a);
	else if (c.a.has_job)
		ret = settle(&c);
	if (!ret && was_requested)
		ret = report_request(job_request_forget(c.a.d.name));
	if (!ret)
		job_forget(c.a.d.uuid);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/**
 * job_stop() - end whoever is at the job of a disk
 * @verb: which it has to be of; NULL for any
 *
 * Its file stays. Return: an exit code; what is wrong has been reported.
 */
int job_stop(const struct attached *a, const char *verb)
{
	if (!a->has_job || !a->job.is_running)
		return VBLK_OK;
	if (verb && strcmp(a->job.verb, verb) != 0)
		return attached_check_no_job(a);
	return stop(a);
}

/* Detached before it had come to its end, perhaps for good. */
static bool is_only_requested(const char *disk, const char *verb)
{
	struct dmdev d;
	int err;

	if (!is_requested(disk, verb))
		return false;
	err = dmdev_find_name(disk, &d);
	return err == -ENXIO || (!err && !dmdev_is_ours(&d));
}

/**
 * job_cancel() - end the job of a disk for good
 * @verb: which it has to be of
 * @settle: puts the disk right, of which nobody is at the job any more; returns an exit code
 *
 * Return: an exit code; what is wrong has been reported.
 */
int job_cancel(const char *disk, const char *verb, int (*settle)(struct change *c))
{
	struct attached a;
	bool was_there;
	int ret;

	if (is_only_requested(disk, verb))
		return report_request(job_request_forget(disk));
	ret = attached_find(disk, &a);
	if (ret)
		return ret;
	was_there = a.has_job && a.job.is_running;
	ret = job_stop(&a, verb);
	if (ret)
		return ret;
	/* It may have come to its end meanwhile. */
	ret = attached_find(disk, &a);
	if (!ret && was_there && !a.has_job)
		return err_report(VBLK_NOT_FOUND, a.d.name, "its %s was done already", verb);
	return ret ? ret : forget(disk, verb, settle);
}
