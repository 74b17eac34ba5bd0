// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-commit: images of a disk are written into the one below them, while the disk is in use.
 *
 *	lock - look - note the job - overlay - another chain - unlock - copy - lock - the shorter chain - unlock
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backup/cancel.h"
#include "cmd.h"
#include "commit.h"
#include "disk/grow.h"
#include "disk/layers.h"
#include "disk/merge.h"
#include "disk/merge-note.h"
#include "disk/overlay-note.h"
#include "err.h"
#include "out-chain.h"
#include "out.h"
#include "server/state.h"

/* Zeroed at a time. */
#define HIDE_BYTES	(64ULL << 20)

static const char help[] =
"Usage: vblk-commit [OPTION...] DISK\n"
"       vblk-commit --cancel DISK\n"
"\n"
"Write the disk's image, or some of those below it, into the one below, while the\n"
"disk is in use, and remove it.\n"
"\n"
"      --top IMAGE        the highest that is merged; default: the disk's image\n"
"      --base IMAGE       what they go into; default: the image below\n"
"      --file PATH        name the overlay that takes the place of the top\n"
"      --bandwidth SIZE   bytes a second at most\n"
"      --cancel           end the one that is under way: the chain stays\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

static int print_result(const char *name, bool as_json)
{
	struct layers layers;
	struct attached a;
	int err, ret;

	ret = attached_find(name, &a);
	if (ret)
		return ret;
	err = layers_of_device(a.d.name, &a.bytes, &layers);
	ret = err ? err_errno(-err, a.d.name, "cannot tell its images") :
		    out_chain(&a, &layers, as_json);
	layers_free(&layers);
	return ret;
}

static int report_failed(const struct job_run *r, const struct merge *m, int err)
{
	if (err == -ENOENT)
		return err_report(VBLK_NOT_FOUND, "qemu-img", "not found, and needed here");
	if (merge_lacked_space(m)) {
		err_report(VBLK_FAILED, r->name, "the host has no space left for the image below: the chain stays");
	} else {
		merge_repeat_errors(m);
		err_report(VBLK_FAILED, r->name, "cannot merge into the image below: the chain stays");
	}
	err_hint_command("vblk-commit", r->name, NULL);
	return VBLK_FAILED;
}

static int wait_for(struct job_run *r, struct merge *m)
{
	unsigned int percent = 0;
	int err, ret;

	for (;;) {
		err = merge_wait(m, CANCEL_POLL_MS, &percent);
		if (!err)
			return VBLK_OK;
		if (err != -ETIMEDOUT)
			return report_failed(r, m, err);
		/* The end of it is the table. */
		job_run_show(r, (double)r->sectors * percent / 100);
		ret = job_run_wait(r, 0);
		if (ret)
			return ret;
	}
}

/* What an image hides behind its end reads as zeroes above it, for as much as somebody above sees. */
static int find_hidden(const struct commit *m, uint64_t *end)
{
	uint64_t below, most = m->c.chain.sectors << 9, bytes;
	int err = grow_read_size(&m->held.list[m->held.n - 1], &below);

	for (size_t i = 0; i < m->first && !err; i++) {
		err = grow_read_size(&m->c.chain.list[i], &bytes);
		if (!err && bytes > most)
			most = bytes;
	}
	*end = below < most ? below : most;
	return err;
}

static int hide_end(struct job_run *r, const struct commit *m, uint64_t from, uint64_t end)
{
	uint64_t range[2] = { from };
	int ret = VBLK_OK;

	for (; range[0] < end && !ret; range[0] += range[1]) {
		range[1] = end - range[0] < HIDE_BYTES ? end - range[0] : HIDE_BYTES;
		if (ioctl(m->held.list[m->held.n - 1].fd, BLKZEROOUT, range) < 0)
			return err_errno(errno, r->name, "cannot write to the image below");
		ret = job_run_wait(r, 0);
	}
	return ret;
}

static int copy(struct job_run *r, const struct commit *c)
{
	struct merge m = { .images = &c->held, .rate = r->bandwidth, .overlay = -1, .out = -1 };
	int err, ret;

	err = grow_read_size(&c->held.list[0], &m.bytes);
	if (err)
		return err_errno(-err, r->name, "cannot read the header");
	ret = hide_end(r, c, m.bytes, c->hidden_end);
	if (ret)
		return ret;
	err = merge_start(&m);
	ret = err ? report_failed(r, &m, err) : wait_for(r, &m);
	merge_end(&m);
	return ret;
}

static void close_commit(struct commit *m)
{
	commit_let_go(m);
	live_close(&m->lower);
	change_end(&m->c);
}

/* Left by somebody who was killed; if the header names the other image, the shorter chain is next. Return: an exit code. */
static int resume(struct commit *m)
{
	struct attached *a = &m->c.a;
	int err;

	if (!a->d.is_suspended || (!m->is_done && commit_is_named(m)))
		return VBLK_OK;
	err = dmdev_resume(a->d.name, a->is_served);
	if (err)
		return err_errno(-err, a->d.name, "cannot resume it");
	a->d.is_suspended = false;
	return VBLK_OK;
}

static int recall(struct commit *m, const struct job_args *args)
{
	int ret;

	m->c.may_be_suspended = true;
	ret = change_begin(&m->c);
	if (!ret)
		ret = commit_recall(m);
	if (!ret)
		ret = commit_look(m);
	if (!ret)
		ret = commit_confirm(m, args);
	return ret ? ret : resume(m);
}

/* Its file was lost: the images can be used again behind a detach. */
static int report_on_below(const struct commit *m)
{
	err_report(VBLK_BUSY, m->c.a.d.name, "it is on " DMDEV_DIR "%s by a commit that is not known any more",
		   m->below.name);
	err_hint_command("vblk-detach", m->c.a.d.name, NULL);
	return VBLK_BUSY;
}

static int choose(struct commit *m, const struct job_args *args)
{
	int ret = change_begin(&m->c);

	if (!ret)
		ret = commit_look(m);
	if (!ret && m->is_below)
		ret = report_on_below(m);
	if (!ret)
		ret = commit_choose(m, args);
	if (!ret)
		ret = commit_check(m);
	return ret ? ret : commit_check_rights(m, args);
}

/* From here on the image below has parts of what is above it, whatever becomes of the job. */
static int note(struct commit *m)
{
	const struct live_image *list = m->c.chain.list;
	size_t merged, into;
	int err;

	m->was_noted = merge_note_find(&m->c.chain, &merged, &into);
	err = merge_note(m->is_below ? &m->lower.list[0] : &list[commit_base(m)], &list[m->first]);

	return err ? err_errno(-err, OVERLAY_NOTE_DIR, "cannot write") : VBLK_OK;
}

static int prepare(struct commit *m, const struct job_args *args)
{
	int err, ret = note(m);

	if (!ret)
		ret = commit_prepare(m, args->file);
	if (!ret)
		ret = commit_open_below(m);
	err = ret ? 0 : find_hidden(m, &m->hidden_end);
	if (err)
		ret = err_errno(-err, m->c.a.d.name, "cannot read the headers of its images");
	commit_free_base(m);
	return ret;
}

/* What is to be done behind a reboot, with which the chain has all of its images again. Return: an exit code. */
static int fill_request(const struct commit *m, const struct job_args *args,
			struct job_request *request)
{
	const struct live_image *top = &m->c.chain.list[m->first];
	const struct live_image *base = m->is_below ? &m->lower.list[0] :
						      &m->c.chain.list[commit_base(m)];
	char path[PATH_MAX];
	int err;

	job_request_fill(request, COMMIT_VERB, args);
	commit_path_of_base(m, base, path);
	err = job_image_take(&request->top, top->path, top->fd) ?:
	      job_image_take(&request->base, path, base->fd);
	request->count = m->job.count;
	/* It has its overlay. */
	if (m->first)
		request->file[0] = '\0';
	if (!err && m->first)
		err = job_image_take(&request->above, top[-1].path, top[-1].fd);
	return err ? err_errno(-err, m->c.a.d.name, "cannot look at its images") : VBLK_OK;
}

static int begin(struct commit *m, struct job_run *r, const struct job_args *args)
{
	struct attached *a = &m->c.a;
	struct job_request request;
	bool is_new;
	int ret;

	if (a->has_job && (a->job.is_running || strcmp(a->job.verb, COMMIT_VERB) != 0))
		return attached_check_no_job(a);
	ret = a->has_job ? recall(m, args) : choose(m, args);
	/* Nothing of it is missing then, whatever its file says; a guest waits, whoever else reads what was merged. */
	if (!ret && !m->is_done && m->is_below && commit_is_named(m))
		m->job.is_whole = true;
	else if (!ret && !m->is_done)
		ret = commit_hold(m);
	/* Where a guest may wait, what was noted does. */
	is_new = !m->is_done && !m->job.is_whole;
	if (!ret && is_new)
		ret = fill_request(m, args, &request);
	if (!ret)
		ret = job_run_begin(r, a, &m->job, args, is_new ? &request : NULL);
	if (ret || m->is_done || m->job.is_whole)
		return ret;
	/* It begins anew. */
	r->job.percent = 0;
	return prepare(m, args);
}

static int begin_locked(const char *disk, struct commit *m, struct job_run *r,
			const struct job_args *args)
{
	int lock, ret;

	ret = attached_lock_any(disk, &m->c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = begin(m, r, args);
	/* Nothing was changed: there is nothing to go on with. */
	if (ret && r->fd >= 0 && !m->c.a.has_job && !m->is_below && !m->c.has_noted_top) {
		if (!m->was_noted)
			merge_note_forget(&m->c.chain.list[commit_base(m)], &m->c.chain.list[m->first]);
		job_run_undo(r);
	}
	/* As long as somebody has the images open their blocks are not leased. */
	live_close(&m->lower);
	change_end(&m->c);
	state_unlock(m->c.a.d.uuid, lock);
	return ret;
}

/* From the note on, whoever goes on copies nothing more. */
static int shorten(struct job_run *r, struct commit *m, bool is_held)
{
	int ret = commit_stop_writing(m);

	if (ret)
		return ret;
	r->job.is_whole = true;
	job_note(r->fd, &r->job);
	return commit_shorten(m, is_held);
}

static int finish(struct job_run *r, struct commit *held)
{
	struct commit m = COMMIT_NONE;
	int lock, ret;

	ret = job_run_lock(r, &m.c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = recall(&m, NULL);
	commit_close_below(held);
	if (!ret && !m.is_done)
		ret = shorten(r, &m, held->held.n);
	if (!ret)
		job_run_done(r);
	close_commit(&m);
	state_unlock(m.c.a.d.uuid, lock);
	return ret;
}

static int commit(const char *disk, const struct job_args *args)
{
	struct job_run r = { .fd = -1 };
	struct commit m = COMMIT_NONE;
	int ret;

	ret = begin_locked(disk, &m, &r, args);
	if (!ret && !m.is_done && !m.job.is_whole)
		ret = copy(&r, &m);
	if (!ret)
		ret = finish(&r, &m);
	commit_let_go(&m);
	job_run_end(&r);
	return ret ? ret : print_result(r.name, args->as_json);
}

/* Return: an exit code; the overlay is not made. */
static int plan_overlay(struct commit *m, const char *file)
{
	int ret = change_name_overlay_by_time(&m->c, 0, "", file);

	return ret ? ret : change_check_overlay(&m->c, 0);
}

/* The chain that there would be. */
static int print_plan(const struct commit *m, bool as_json)
{
	struct attached a = m->c.a;
	struct layers layers;
	int err, ret;

	err = layers_of_device(a.d.name, &a.bytes, &layers);
	if (!err)
		layers_drop(&layers, m->first, m->first ? m->job.count : m->job.count - 1);
	if (!err && !m->first) {
		free(layers.list[0].path);
		layers.list[0].path = strdup(m->c.overlay.path);
		err = layers.list[0].path ? 0 : -ENOMEM;
	}
	ret = err ? err_errno(-err, a.d.name, "cannot tell its images") :
		    out_chain(&a, &layers, as_json);
	layers_free(&layers);
	return ret;
}

static int plan(const char *disk, const struct job_args *args)
{
	struct commit m = COMMIT_NONE;
	int lock, ret;

	ret = attached_lock(disk, &m.c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	m.c.is_dry = true;
	ret = choose(&m, args);
	if (!ret)
		ret = commit_hold(&m);
	if (!ret && !m.first)
		ret = plan_overlay(&m, args->file);
	if (!ret)
		ret = print_plan(&m, args->as_json);
	commit_let_go(&m);
	close_commit(&m);
	state_unlock(m.c.a.d.uuid, lock);
	return ret;
}

/*
 * Nobody is at it any more: the disk has all of its images again, and what was written below is hidden by those above. Once
 * the header names the image below the way is a shorter chain.
 */
static int settle(struct change *c)
{
	struct commit m = COMMIT_NONE;
	int ret;

	m.c.a = c->a;
	ret = recall(&m, NULL);
	/* A file that is damaged says nothing of the images, but the device does. */
	if (!ret && m.is_done && m.is_below) {
		m.first = 0;
		m.job.count = m.c.chain.n - 1;
		ret = commit_go_back(&m);
	} else if (!ret && !m.is_done && m.is_below && commit_is_named(&m)) {
		ret = commit_shorten(&m, false);
	} else if (!ret && !m.is_done) {
		ret = commit_go_back(&m);
	}
	close_commit(&m);
	return ret;
}

/** cmd_commit() - the verb */
int cmd_commit(int argc, char **argv)
{
	struct job_args args = { .has_range = true };
	int ret;

	ret = job_parse(&args, argc, argv);
	if (!ret && args.bandwidth > INT64_MAX)
		ret = err_report(VBLK_USAGE, "--bandwidth", "too large");
	if (ret)
		return cmd_usage_error(COMMIT_VERB);
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	ret = dmdev_init();
	if (ret)
		return ret;
	if (args.cancels)
		return job_cancel(argv[optind], COMMIT_VERB, settle);
	return args.is_dry ? plan(argv[optind], &args) : commit(argv[optind], &args);
}
