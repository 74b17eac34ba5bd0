/* SPDX-License-Identifier: GPL-2.0-only */
/* A program that is run. */
#ifndef VBLK_CHILD_H
#define VBLK_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* How a program ends that is not there */
#define CHILD_NOT_FOUND	127

/**
 * struct child - a process of ours
 * @pid: its number; 0: there is none
 * @fd: a descriptor that is readable once it has ended
 */
struct child {
	pid_t pid;
	int fd;
};

int child_start(struct child *c, const char *const argv[], int socket);
int child_start_fed(struct child *c, const char *const argv[], int input);
int child_wait(struct child *c, int timeout_ms, bool may_cancel, int *status);
void child_signal(const struct child *c, int sig);
bool child_kill(struct child *c, int sig);
int child_run_status(const char *const argv[], int *status);
int child_run_silent(const char *const argv[], int *status);
int child_run(const char *const argv[]);
int child_report(const char *program, int status);
int child_check(const char *program);

#endif
