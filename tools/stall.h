/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_STALL_H
#define VBLK_STALL_H

#include <pthread.h>
#include <stdbool.h>

/* Requests that wait for space on the host are ended after so long a wait. */
#define STALL_SECS	30

/**
 * struct stall - a wait for the guest's requests that may last too long
 * @disk: name of its device
 * @watcher: looks at the device while we wait
 * @has_watcher: @watcher runs
 * @lock: of @is_over
 * @changed: @is_over was set
 * @is_over: the wait has ended
 */
struct stall {
	const char *disk;
	pthread_t watcher;
	bool has_watcher;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_over;
};

void stall_relieve(const char *disk);
void stall_begin(struct stall *s, const char *disk);
void stall_end(struct stall *s);

#endif
