// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waits for the guest's requests that last too long.
 *
 * A ring stops, and a disk goes, when the requests in flight are done. What they wait
 * for may be as far from it as the administrator is, and QEMU's main loop or
 * vblk-detach waits with us. That is said; it is not for us to fail the writes of a
 * guest that lives.
 *
 * Our own thread is inside an ioctl that no signal ends, so another one looks.
 */
#include <errno.h>
#include <time.h>

#include "stall.h"

/* Once a wait: the next look would find the same. */
static void say(struct stall *s)
{
	if (!s->was_said && s->disk->say_stalled)
		s->was_said = s->disk->say_stalled(s->disk);
}

static struct timespec next_look(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += STALL_SECS;
	return at;
}

static void *watch(void *arg)
{
	struct timespec at = next_look();
	struct stall *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->is_over) {
		if (pthread_cond_clockwait(&s->changed, &s->lock,
					   CLOCK_MONOTONIC, &at) != ETIMEDOUT)
			continue;
		say(s);
		at = next_look();
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/**
 * stall_begin() - a wait for requests of a disk begins
 * @s: for stall_end(), which is due
 * @disk: whose
 *
 * Without a thread to look the wait lasts as long as it lasts.
 */
void stall_begin(struct stall *s, const struct disk *disk)
{
	s->disk = disk;
	s->is_over = false;
	s->was_said = false;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->has_watcher = pthread_create(&s->watcher, NULL, watch, s) == 0;
}

/** stall_end() - the wait has ended */
void stall_end(struct stall *s)
{
	pthread_mutex_lock(&s->lock);
	s->is_over = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (s->has_watcher)
		pthread_join(s->watcher, NULL);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}
