/* SPDX-License-Identifier: GPL-2.0-only */
/* Images of a disk that are written into the one below them. */
#ifndef VBLK_COMMIT_H
#define VBLK_COMMIT_H

#include "disk/lower.h"
#include "job-run.h"

#define COMMIT_VERB	"commit"

/**
 * struct commit - images of a disk on their way into the one below them
 * @c: the disk
 * @job: which images, by the job's file
 * @first: the highest of those that are merged, counted from the top
 * @is_done: the disk does not have that any more
 * @below: the device on what is below them
 * @is_below: the disk is on that; else there is none
 * @lower: with it, its images
 * @held: the images that are merged, with a writer's locks, so that nobody else comes in; then the device they go into
 * @above: the one above those, locked likewise, or -1
 * @base: the one that they go into, or -1
 * @hidden_end: up to here the images above see what is behind the end of the highest that is merged
 * @was_noted: a commit of these has begun before
 */
struct commit {
	struct change c;
	struct job job;
	size_t first;
	bool is_done;
	struct dmdev below;
	bool is_below;
	struct live_chain lower;
	struct live_chain held;
	int above;
	int base;
	uint64_t hidden_end;
	bool was_noted;
};

#define COMMIT_NONE	{ .c = CHANGE_NONE, .job.verb = COMMIT_VERB, .above = -1, .base = -1 }

/* The image that the others go into, or the device that has it, counted from the top. */
static inline size_t commit_base(const struct commit *m)
{
	return m->first + m->job.count;
}

/* commit-range.c */
int commit_choose(struct commit *m, const struct job_args *args);
int commit_recall(struct commit *m);
int commit_confirm(const struct commit *m, const struct job_args *args);
int commit_check(struct commit *m);

/* commit-rights.c */
int commit_check_rights(const struct commit *m, const struct job_args *args);

/* commit-name.c */
bool commit_is_beside(const char *a, const char *b);
void commit_path_of_base(const struct commit *m, const struct live_image *into, char *path);
void commit_name_base(const struct commit *m, const struct live_image *into, char *name);
bool commit_is_named(const struct commit *m);
int commit_check_name(const struct commit *m, const struct live_image *into);

/* commit-hold.c */
int commit_hold(struct commit *m);
void commit_free_base(struct commit *m);
void commit_let_go(struct commit *m);

/* commit-chain.c */
int commit_look(struct commit *m);
int commit_read_longest(const struct commit *m, uint64_t *longest);
int commit_prepare(struct commit *m, const char *file);
int commit_open_below(struct commit *m);
void commit_close_below(struct commit *m);
int commit_stop_writing(struct commit *m);
int commit_shorten(struct commit *m, bool is_held);
int commit_go_back(struct commit *m);

#endif
