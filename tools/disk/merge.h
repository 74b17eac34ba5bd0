/* SPDX-License-Identifier: GPL-2.0-only */
/* Images written into one that is below them, by qemu-img. */
#ifndef VBLK_MERGE_H
#define VBLK_MERGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "live.h"

/**
 * struct merge - such a copy, by a process that is under way
 * @images: those that are merged, the highest first, then what they are written into
 * @bytes: size of the disk that the highest one is
 * @rate: bytes a second, or 0
 * @overlay: an empty image in memory over them, as QEMU merges what is below one
 * @out: what QEMU says of how far it is
 * @err: what it says is wrong
 * @pid: QEMU, or 0
 */
struct merge {
	const struct live_chain *images;
	uint64_t bytes;
	uint64_t rate;
	int overlay;
	int out;
	int err;
	pid_t pid;
};

int merge_start(struct merge *m);
int merge_wait(struct merge *m, int timeout_ms, unsigned int *percent);
void merge_stop(struct merge *m);
bool merge_lacked_space(const struct merge *m);
void merge_repeat_errors(const struct merge *m);
void merge_end(struct merge *m);

#endif
