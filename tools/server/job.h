/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A long change of a disk's chain, and how far it is: /run/vblk/UUID.job, with the UUID of the device.
 *
 * It is there from the beginning of a job to its end, whoever is killed in between, and is locked by who is at it.
 * A job that goes on looks at the images again, and copies again what it cannot be sure of.
 */
#ifndef VBLK_JOB_H
#define VBLK_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define JOB_VERB_SIZE	16
#define JOB_IMAGE_SIZE	64

/**
 * struct job - what the file says
 * @verb: which one it is of: "flatten"; "" when the file is damaged
 * @percent: how far it is
 * @is_running: somebody is at it
 * @pid: of him; 0 when nobody is, or the file is damaged
 * @merged: of a commit, the identity of the highest of the images that are merged
 * @into: and of the one that they go into
 * @count: how many are merged
 * @is_whole: all of it is in there, durable, and nobody writes to that any more
 */
struct job {
	char verb[JOB_VERB_SIZE];
	unsigned int percent;
	bool is_running;
	pid_t pid;
	char merged[JOB_IMAGE_SIZE];
	char into[JOB_IMAGE_SIZE];
	unsigned int count;
	bool is_whole;
};

int job_begin(const char *uuid, const struct job *job);
int job_note(int fd, const struct job *job);
bool job_is_there(const char *uuid, int fd);
void job_end(const char *uuid, int fd);
int job_find(const char *uuid, struct job *job);
int job_is_running(const char *uuid);
void job_forget(const char *uuid);

#endif
