// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waits for the guest's requests that last too long.
 *
 * A ring stops, and a disk goes, when the requests in flight are done. Those that
 * wait for space on the host may be as far from it as the administrator is, and
 * QEMU's main loop or vblk-detach waits with us. That is said; it is not for us to fail the
 * writes of a guest that lives. vblk-detach --force does, for as long as it needs to.
 *
 * Our own thread is inside an ioctl that no signal ends, so another one looks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dm.h"
#include "err.h"
#include "stall.h"

/* Documentation/dm-qcow2.rst, Status: the fourth word. */
static bool waits_for_space(const char *disk)
{
	unsigned int waiting = 0;
	uint64_t sectors;
	char *params;

	if (dmdev_status(disk, &sectors, &params))
		return false;
	if (sscanf(params, "%*s %*s %*s %u", &waiting) != 1)
		waiting = 0;
	free(params);
	return waiting;
}

/* Once a disk: the next look would find the same. */
static void say(struct stall *s)
{
	if (s->was_said || !waits_for_space(s->disk))
		return;
	s->was_said = true;
	err_report(VBLK_FAILED, s->disk,
		   "writes of the guest wait for space on the host, and a stop of the disk with them");
	err_hint("make space, or dmsetup message %s 0 no_space error", s->disk);
}

/* Features come last; a path may hold any words. */
static bool says_queue(const char *params)
{
	const char *last = NULL, *p = params;

	while ((p = strstr(p, " no_space=")))
		last = p++;
	return last && !strncmp(last, " no_space=queue", strlen(" no_space=queue"));
}

/**
 * stall_fail_writes() - fail a disk's requests if they wait for space
 * @disk: name of its device
 * @was_queue: set if others would have waited, too: stall_queue_writes() is due
 *
 * Return: whether any waited.
 */
bool stall_fail_writes(const char *disk, bool *was_queue)
{
	uint64_t sectors;
	char *params;
	int err;

	if (!waits_for_space(disk) || dmdev_table(disk, &sectors, &params))
		return false;
	*was_queue = says_queue(params);
	free(params);
	err = dmdev_message(disk, "no_space error");
	if (err)
		err_errno(-err, disk, "cannot fail writes that wait for space");
	else
		err_report(VBLK_FAILED, disk,
			   "writes waited %d s for space on the host: they fail now", STALL_SECS);
	return true;
}

/**
 * stall_queue_writes() - from now on a disk's requests wait for space again
 * @disk: name of its device
 */
void stall_queue_writes(const char *disk)
{
	int err = dmdev_message(disk, "no_space queue");

	if (err)
		err_errno(-err, disk, "cannot let writes wait for space again");
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
 * @disk: name of its device
 *
 * Without a thread to look the wait lasts as long as it lasts.
 */
void stall_begin(struct stall *s, const char *disk)
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
