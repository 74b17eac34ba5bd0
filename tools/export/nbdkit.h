/* SPDX-License-Identifier: GPL-2.0-only */
/* nbdkit as the server of a frozen disk. */
#ifndef VBLK_NBDKIT_H
#define VBLK_NBDKIT_H

#include <stdbool.h>
#include <sys/types.h>

#include "front.h"

/**
 * struct nbdkit - what it serves, and how
 * @name: of the disk, for messages
 * @listener: a socket that is listened on
 * @view: a descriptor of the device that shows the disk
 * @is_persistent: it goes on when its last client has gone
 * @has_no_terminal: what it has to say goes to the system log
 * @pid: the process, or 0
 */
struct nbdkit {
	const char *name;
	int listener;
	int view;
	bool is_persistent;
	bool has_no_terminal;
	pid_t pid;
};

void nbdkit_block_signals(void);
int nbdkit_check(void);
int nbdkit_start(struct nbdkit *n);
int nbdkit_wait(struct nbdkit *n, struct front *front);
void nbdkit_kill(struct nbdkit *n);

#endif
