/* SPDX-License-Identifier: GPL-2.0-only */
/* A long change of a disk's chain, in the foreground. */
#ifndef VBLK_JOB_RUN_H
#define VBLK_JOB_RUN_H

#include <getopt.h>

#include "attached.h"
#include "server/job-request.h"
#include "snapshot.h"

/**
 * struct job_args - the command line of its verb
 * @has_range: it takes the next three
 * @top: the highest of the images that are merged, or NULL
 * @base: the image that they go into, or NULL
 * @file: of an overlay that is made, or NULL
 * @bandwidth: bytes a second, or 0
 * @cancels: end the one that there is
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 * @help: print the help
 */
struct job_args {
	bool has_range;
	const char *top;
	const char *base;
	const char *file;
	uint64_t bandwidth;
	bool cancels;
	bool is_dry;
	bool as_json;
	bool help;
};

/**
 * struct job_run - a job under way
 * @name: of the disk
 * @uuid: of its device
 * @dev: number of that
 * @sectors: its size
 * @job: what its file says
 * @fd: of that, locked; or -1
 * @was_requested: one was, and has not ended: @before
 * @images: which the disk had when it began, by the kernel's word; or NULL
 * @bandwidth: bytes a second, or 0
 * @due: when it may go on, in nanoseconds
 * @shows_progress: on standard error
 */
struct job_run {
	char name[sizeof(((struct dmdev *)0)->name)];
	char uuid[STATE_UUID_SIZE];
	dev_t dev;
	uint64_t sectors;
	struct job job;
	int fd;
	bool was_requested;
	struct job_request before;
	char *images;
	uint64_t bandwidth;
	uint64_t due;
	bool shows_progress;
};

int job_parse(struct job_args *args, int argc, char **argv);
void job_request_fill(struct job_request *request, const char *verb, const struct job_args *args);
int job_run_begin(struct job_run *r, const struct attached *a, const struct job *job,
		  const struct job_args *args, const struct job_request *request);
int job_run_report_stopped(const struct job_run *r);
int job_run_lock(const struct job_run *r, struct attached *a, int *lock);
void job_run_done(struct job_run *r);
void job_run_undo(struct job_run *r);
void job_run_end(struct job_run *r);
void job_run_show(struct job_run *r, uint64_t sector);
int job_run_wait(const struct job_run *r, int ms);
int job_run_spend(struct job_run *r, uint64_t bytes);
uint64_t job_run_piece(const struct job_run *r, uint64_t most);
int job_stop(const struct attached *a, const char *verb);
int job_cancel(const char *disk, const char *verb, int (*settle)(struct change *c));

#endif
