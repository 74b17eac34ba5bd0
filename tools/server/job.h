/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A long change of a disk's chain, and how far it is: /run/vblk/UUID.job, with the UUID of the device.
 *
 * It is there from the beginning of a job to its end, whoever is killed in between, and is locked by who is at it.
 * Nothing is left out on its word: a job that goes on looks at the images again.
 */
#ifndef VBLK_JOB_H
#define VBLK_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define JOB_VERB_SIZE	16

/**
 * struct job - what the file says
 * @verb: which one it is of: "flatten"; "" when the file is damaged
 * @percent: how far it is
 * @is_running: somebody is at it
 * @pid: of him; 0 when nobody is, or the file is damaged
 */
struct job {
	char verb[JOB_VERB_SIZE];
	unsigned int percent;
	bool is_running;
	pid_t pid;
};

int job_begin(const char *uuid, const struct job *job);
int job_note(int fd, const struct job *job);
bool job_is_there(const char *uuid, int fd);
void job_end(const char *uuid, int fd);
int job_find(const char *uuid, struct job *job);
int job_is_running(const char *uuid);
void job_forget(const char *uuid);

#endif
