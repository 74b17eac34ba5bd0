/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_STALL_H
#define VBLK_STALL_H

#include <pthread.h>
#include <stdbool.h>

#include "disk.h"

/* A wait is told of after so long, or what it waits for ended by force. */
#define STALL_SECS	30

/**
 * struct stall - a wait for the guest's requests that may last too long
 * @disk: whose
 * @watcher: looks at the device while we wait
 * @has_watcher: @watcher runs
 * @lock: of @is_over
 * @changed: @is_over was set
 * @is_over: the wait has ended
 * @was_said: it was told of; of the watcher
 */
struct stall {
	const struct disk *disk;
	pthread_t watcher;
	bool has_watcher;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_over;
	bool was_said;
};

void stall_begin(struct stall *s, const struct disk *disk);
void stall_end(struct stall *s);

#endif
