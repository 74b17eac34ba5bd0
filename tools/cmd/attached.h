/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_ATTACHED_H
#define VBLK_ATTACHED_H

#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "disk/dm.h"
#include "server/job.h"
#include "server/state.h"

/**
 * struct attached - an attached disk, as found now
 * @d: the device
 * @bytes: its size, 0 when it has no table
 * @image: path of the image, "" when it cannot be told
 * @depth: how many images are below that one
 * @base: path of the lowest of them, "" without any
 * @used_bytes: guest data allocated in the image, with @has_usage
 * @cluster_bytes: of the image's clusters, with @has_usage
 * @has_failed: the target stopped writing; the image needs a check
 * @low_space_bytes: how little space is little, 0: nobody has said
 * @left_bytes: what the host has left for the image, with @has_left
 * @is_served: attached for a guest; @serving is valid
 * @serving: how it is served; of a damaged file the name and
 *	its own socket alone, else ""
 * @server: pid of the server, 0 when none runs
 * @guest: pid of the process that uses the socket, 0 when there is none
 * @has_job: a long change of its chain is under way, or has not ended; @job is valid
 * @job: the job
 * @problem: why a guest is not served, "" when it is, or when that is not known
 */
struct attached {
	struct dmdev d;
	uint64_t bytes;
	char image[PATH_MAX];
	unsigned int depth;
	char base[PATH_MAX];
	bool has_usage;
	uint64_t used_bytes;
	uint64_t cluster_bytes;
	bool has_failed;
	uint64_t low_space_bytes;
	bool has_left;
	uintmax_t left_bytes;
	bool is_served;
	struct serving serving;
	pid_t server;
	pid_t guest;
	bool has_job;
	struct job job;
	char problem[256];
};

void attached_fill(struct attached *a);
void attached_look_again(struct attached *a);
int attached_find(const char *arg, struct attached *a);
int attached_lock(const char *arg, struct attached *a, int *lock);
int attached_lock_any(const char *arg, struct attached *a, int *lock);
bool attached_find_top(const struct stat *st, struct dmdev *d);
bool attached_has_image(const struct dmdev *d, const struct stat *st);
int attached_find_image(const struct stat *st, struct dmdev *d);
int attached_check_unused(const struct attached *a, bool is_strict);
int attached_check_sound(const struct attached *a);
int attached_check_resumed(const struct attached *a);
int attached_report_frozen(const struct attached *a, const struct dmdev *view);
int attached_check_no_job(const struct attached *a);
int attached_check_thawed(const struct attached *a);
bool attached_is_low(const struct attached *a);
const char *attached_state(const struct attached *a);

#endif
