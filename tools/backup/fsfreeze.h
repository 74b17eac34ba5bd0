/* SPDX-License-Identifier: GPL-2.0-only */
/* File systems of a guest that stand still for a moment. */
#ifndef VBLK_FSFREEZE_H
#define VBLK_FSFREEZE_H

#include <sys/types.h>

/**
 * struct fsfreeze - the command that does it
 * @command: as the user named it, or NULL: there is none
 * @keeper: the process that runs it; 0: none
 * @fd: to it; closed for writing, it thaws them
 */
struct fsfreeze {
	const char *command;
	pid_t keeper;
	int fd;
};

int fsfreeze_begin(struct fsfreeze *f);
int fsfreeze_end(struct fsfreeze *f);

#endif
