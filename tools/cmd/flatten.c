// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-flatten: the top of a disk gets all that is below it, and stands alone, while the disk is in use.
 *
 *	lock - look - note the job - unlock - copy, a piece at a time - lock - header, table - unlock
 *
 * Documentation/control.rst says in which order, and what there is if it ends in the middle.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/cancel.h"
#include "cmd.h"
#include "disk/alone.h"
#include "disk/layers.h"
#include "disk/populate.h"
#include "err.h"
#include "job-run.h"
#include "out-chain.h"
#include "out.h"
#include "server/state.h"

#define VERB		"flatten"

/* Asked for at a time. */
#define PIECE_BYTES	(16ULL << 20)

/* A pass copies again what one before could not, as a commit of the guest's came in between that failed. */
#define MAX_PASSES	16

static const char help[] =
"Usage: vblk-flatten [--bandwidth SIZE] [--dry-run] [--json] DISK\n"
"       vblk-flatten --cancel DISK\n"
"\n"
"Copy into the disk's image what it has from the images below it, while the disk\n"
"is in use, until it needs them no more.\n"
"\n"
"      --bandwidth SIZE   bytes a second at most\n"
"      --cancel           end the one that is under way: what it copied stays\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

static int print_result(const char *name, uint64_t copied, bool as_json)
{
	char size[16];
	json_object *o;

	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(name));
		json_object_object_add(o, "copied_bytes", out_bytes_json(copied));
		out_json(o);
	} else {
		out_format_bytes(copied, size, sizeof(size));
		printf("copied: %s\n", size);
	}
	return out_flush();
}

static int report_stopped(const struct job_run *r, int err)
{
	const char *name = r->name;
	int ret;

	switch (err) {
	case -EINVAL:
		return err_report(VBLK_UNSUPPORTED, name, "the module that is loaded cannot do that");
	case -EBUSY:
		return err_report(VBLK_BUSY, name, "it is frozen");
	case -ENXIO:
		return err_report(VBLK_NOT_FOUND, name, "it was detached meanwhile");
	case -ENOSPC:
		ret = err_report(VBLK_FAILED, name, "the host has no space left for its image: what was copied stays");
		break;
	default:
		ret = err_errno(-err, name, "cannot copy what is below its image");
	}
	err_hint_command("vblk-flatten", name, NULL);
	return ret;
}

/* What is copied already is passed over at the speed of the metadata. */
static int pass(struct job_run *r, uint64_t *copied)
{
	uint64_t next = 0, bytes;
	int err, ret = VBLK_OK;

	while (!ret && next < r->sectors) {
		bytes = 0;
		cancel_wake_up(true);
		err = populate_some(r->name, r->sectors, job_run_piece(r, PIECE_BYTES), &next,
				    &bytes);
		cancel_wake_up(false);
		/* Somebody has suspended it: that passes. */
		if (err == -EAGAIN || err == -EINTR)
			ret = job_run_wait(r, CANCEL_POLL_MS);
		else if (err)
			return report_stopped(r, err);
		*copied += bytes;
		job_run_show(r, next);
		if (!ret)
			ret = job_run_spend(r, bytes);
	}
	return ret;
}

/* Until there is nothing left: what a hole of the top shows then is zeroes, and stays so. */
static int copy(struct job_run *r, uint64_t *copied)
{
	uint64_t before;
	int ret;

	for (int i = 0; i < MAX_PASSES; i++) {
		before = *copied;
		ret = pass(r, copied);
		if (ret || *copied == before)
			return ret;
	}
	return report_stopped(r, -EIO);
}

static int load(struct change *c, size_t images)
{
	char *params;
	int fd, err;

	err = live_open_top(&c->chain, 0, &fd);
	if (err)
		return err;
	params = live_table(&c->chain, images == 1 ? c->chain.n : 1, fd);
	err = params ? dmdev_load(c->a.d.name, c->chain.sectors, params, false) : -ENOMEM;
	free(params);
	close(fd);
	return err;
}

/* The chain of before. */
static void put_back(struct change *c, const struct qcow2_header *h)
{
	const char *name = c->a.d.name;
	int err;

	err = alone_undo(&c->chain, h) ?: load(c, c->chain.n) ?: dmdev_switch(name, c->a.is_served);
	if (!err)
		return;
	err_errno(-err, name, "suspended: its chain of before cannot be put back");
	err_hint_command("dmsetup", "table", name, NULL);
}

/* A suspend succeeds even if what it was to write is lost. */
static int check_written(struct change *c)
{
	attached_look_again(&c->a);
	if (!c->a.has_usage)
		return err_report(VBLK_FAILED, c->a.d.name,
				  "the kernel does not say whether all was written");
	return attached_check_sound(&c->a);
}

static void go_on(const struct change *c)
{
	int err = dmdev_resume(c->a.d.name, c->a.is_served);

	if (err)
		err_errno(-err, c->a.d.name, "suspended: cannot resume it");
}

static int go_over(struct change *c)
{
	int err = load(c, 1) ?: dmdev_switch(c->a.d.name, c->a.is_served), ret;

	if (!err)
		return VBLK_OK;
	ret = err_errno(-err, c->a.d.name, "the kernel refused its image alone");
	err_hint("dmesg | grep qcow2");
	return ret;
}

/* In a process of its own: a guest waits. As the suspend has ended, all that was copied is durable, or the image has failed. */
static int stand_alone(struct change *c, void *unused)
{
	const char *name = c->a.d.name;
	struct qcow2_header h;
	int err, ret = VBLK_OK;

	(void)unused;
	err = c->a.d.is_suspended ? 0 : dmdev_suspend(name, c->a.is_served);
	if (err)
		return err_errno(-err, name, "cannot suspend it");
	err = live_read_header(c->chain.list[0].fd, &h);
	if (err)
		ret = err_errno(-err, name, "cannot read the header");
	else if (h.backing_offset)
		ret = check_written(c);
	if (ret) {
		go_on(c);
		return ret;
	}
	/* Somebody has come as far as this, and was killed: there is no way back. */
	if (!h.backing_offset)
		return go_over(c);
	ret = alone_make(&c->chain, &h, name);
	if (!ret)
		ret = go_over(c);
	if (ret)
		put_back(c, &h);
	return ret;
}

/* Whoever has forgotten the job may have put another image on top, which nobody has looked at. */
static int check_images(const struct job_run *r)
{
	char *images;
	bool is_same;
	int err;

	err = dmdev_ask(r->name, "images", &images);
	if (err)
		return err_errno(-err, r->name, "cannot ask for its images");
	is_same = !strcmp(images, r->images);
	free(images);
	return is_same ? VBLK_OK : err_report(VBLK_BUSY, r->name, "it has other images meanwhile");
}

/* While the guest goes on: who waits for this is told of its failure, and in the suspend there is less left to do. */
static int flush(const struct job_run *r)
{
	char path[PATH_MAX];
	int fd, err = 0;

	snprintf(path, sizeof(path), DMDEV_DIR "%s", r->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, path, "cannot open");
	if (fsync(fd) < 0)
		err = errno;
	close(fd);
	return err ? err_errno(err, r->name, "cannot make durable what was copied") : VBLK_OK;
}

static int finish_locked(struct job_run *r, struct change *c)
{
	int ret = check_images(r);

	if (!ret)
		ret = change_begin(c);
	if (!ret && c->chain.n > 1)
		ret = flush(r);
	if (!ret && c->chain.n > 1)
		ret = change_apart(c, stand_alone, NULL, "its image was made to stand alone");
	change_end(c);
	return ret;
}

static int finish(struct job_run *r)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = job_run_lock(r, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = finish_locked(r, &c);
	if (!ret)
		job_run_done(r);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/* Killed while it was suspended: if its header names nothing any more all was copied before. */
static int settle(struct change *c)
{
	struct qcow2_header h;
	int err, ret;

	c->may_be_suspended = true;
	ret = change_begin(c);
	if (ret || !c->a.d.is_suspended)
		return ret;
	err = live_read_header(c->chain.list[0].fd, &h);
	if (err)
		return err_errno(-err, c->a.d.name, "cannot read the header");
	if (!h.backing_offset && c->chain.n > 1)
		return change_apart(c, stand_alone, NULL, "its image was made to stand alone");
	err = dmdev_resume(c->a.d.name, c->a.is_served);
	return err ? err_errno(-err, c->a.d.name, "cannot resume it") : VBLK_OK;
}

/* Return: an exit code; for VBLK_OK the job is noted. */
static int begin(struct change *c, struct job_run *r, const struct job_args *args)
{
	const struct job job = { .verb = VERB };
	struct attached *a = &c->a;
	struct job_request request;
	int err, ret;

	if (a->has_job && (a->job.is_running || strcmp(a->job.verb, VERB) != 0))
		return attached_check_no_job(a);
	/* What is suspended without one was suspended by somebody else. */
	ret = a->has_job ? settle(c) : change_begin(c);
	if (ret)
		return ret;
	job_request_fill(&request, VERB, args);
	err = job_image_take(&request.top, c->chain.list[0].path, c->chain.list[0].fd);
	if (err)
		return err_errno(-err, a->d.name, "cannot look at its image");
	ret = job_run_begin(r, a, &job, args, &request);
	if (ret)
		return ret;
	err = dmdev_ask(r->name, "images", &r->images);
	return err ? err_errno(-err, r->name, "cannot ask for its images") : VBLK_OK;
}

static int begin_locked(const char *disk, struct job_run *r, const struct job_args *args)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = attached_lock_any(disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = begin(&c, r, args);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/* The chain that there would be. */
static int print_plan(struct attached *a, bool as_json)
{
	struct layers layers;
	int err, ret;

	err = layers_of_device(a->d.name, &a->bytes, &layers);
	if (!err)
		layers_drop(&layers, 1, layers.n - 1);
	ret = err ? err_errno(-err, a->d.name, "cannot tell its images") :
		    out_chain(a, &layers, as_json);
	layers_free(&layers);
	return ret;
}

/* The kernel is asked to copy nothing, from the end of the disk on. */
static int check_copies(const struct change *c)
{
	uint64_t next = c->chain.sectors, copied = 0;
	struct job_run r = { .fd = -1 };
	int err;

	strcpy(r.name, c->a.d.name);
	err = populate_some(r.name, c->chain.sectors, PIECE_BYTES, &next, &copied);
	return err ? report_stopped(&r, err) : VBLK_OK;
}

static int plan(const char *disk, const struct job_args *args)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = attached_lock(disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	c.is_dry = true;
	ret = change_begin(&c);
	if (!ret)
		ret = check_copies(&c);
	if (!ret)
		ret = print_plan(&c.a, args->as_json);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/* The same would be said behind each boot. */
static void call_off(struct job_run *r)
{
	struct attached a;
	int lock;

	if (r->fd < 0 || job_run_lock(r, &a, &lock))
		return;
	job_run_undo(r);
	state_unlock(a.d.uuid, lock);
}

static int flatten(const char *disk, const struct job_args *args)
{
	struct job_run r = { .fd = -1 };
	uint64_t copied = 0;
	int ret;

	ret = begin_locked(disk, &r, args);
	if (!ret)
		ret = copy(&r, &copied);
	if (!ret)
		ret = finish(&r);
	else if (ret == VBLK_UNSUPPORTED)
		call_off(&r);
	job_run_end(&r);
	return ret ? ret : print_result(r.name, copied, args->as_json);
}

/** cmd_flatten() - the verb */
int cmd_flatten(int argc, char **argv)
{
	struct job_args args = {};
	int ret;

	ret = job_parse(&args, argc, argv);
	if (ret)
		return cmd_usage_error(VERB);
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	ret = dmdev_init();
	if (ret)
		return ret;
	if (args.cancels)
		return job_cancel(argv[optind], VERB, settle);
	return args.is_dry ? plan(argv[optind], &args) : flatten(argv[optind], &args);
}
