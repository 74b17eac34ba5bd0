/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A long change of a disk's chain, as it was asked for: /var/lib/vblk/jobs/NAME.json, with the name of the disk.
 *
 * It is there from before the job changes anything until that has ended, or is cancelled: a reboot takes along what is in /run.
 * How far the job is it does not say: that is seen in the images.
 */
#ifndef VBLK_JOB_REQUEST_H
#define VBLK_JOB_REQUEST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "job.h"

#define JOB_REQUEST_DIR	"/var/lib/vblk/jobs"

/**
 * struct job_image - an image, by what a reboot leaves as it is
 * @path: absolute, or "" for none
 * @inode: of that file; another one of its name is another image
 * @birth_ns: when that was made, as inode numbers come again; 0 where the file system does not know
 */
struct job_image {
	char path[PATH_MAX];
	uint64_t inode;
	uint64_t birth_ns;
};

/**
 * struct job_request - what the file says
 * @verb: "commit" or "flatten"
 * @top: the highest of the images that are merged, or the one that is to stand alone
 * @base: of a commit, the image that they go into
 * @count: and how many do
 * @above: the one above @top, if there is one yet
 * @file: path of the overlay that takes the place of the disk's image, or ""
 * @bandwidth: bytes a second, or 0
 */
struct job_request {
	char verb[JOB_VERB_SIZE];
	struct job_image top;
	struct job_image base;
	unsigned int count;
	struct job_image above;
	char file[PATH_MAX];
	uint64_t bandwidth;
};

int job_image_take(struct job_image *img, const char *path, int fd);
bool job_image_is(const struct job_image *img, const char *path, int fd);
int job_request_save(const char *disk, const struct job_request *r);
int job_request_load(const char *disk, struct job_request *r);
int job_request_forget(const char *disk);
int job_request_list(char ***disks, size_t *n);
void job_request_free_list(char **disks, size_t n);

#endif
