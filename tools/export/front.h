/* SPDX-License-Identifier: GPL-2.0-only */
/* qemu-nbd in front of nbdkit, for what nbdkit cannot tell: bitmaps. */
#ifndef VBLK_FRONT_H
#define VBLK_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct front - what it serves, and how
 * @name: of the disk, for messages
 * @listener: the clients' socket
 * @below: a connection to nbdkit
 * @bits: from bits_make()
 * @bitmaps: names of those that are in there
 * @nr_bitmaps: how many
 * @is_persistent: it goes on when its last client has gone
 * @has_no_terminal: what it has to say is not heard
 * @pid: the process, or 0
 */
struct front {
	const char *name;
	int listener;
	int below;
	int bits;
	const char *const *bitmaps;
	size_t nr_bitmaps;
	bool is_persistent;
	bool has_no_terminal;
	pid_t pid;
};

int front_connect(int *listener, int *below);
int front_start(struct front *f);
void front_kill(struct front *f);

#endif
