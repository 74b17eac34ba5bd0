// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests in flight while the worker that polls is killed.
 *
 * Many at a time teach it to gather interrupts. Then there are fewer than it
 * gathers, and it is killed before they end: whoever completes them has to tell of
 * all of them, while there is no server.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include "virtio-front.h"

#define MANY		32U
#define FEW		3U
#define LESSONS		60U
#define KILLS		3U

static void submit_some(struct front *front, struct front_slot *slots, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		front_submit(front, &slots[i], VIRTIO_BLK_T_IN, 8 * i, FRONT_PAGE);
	front_ring_kick(slots->ring);
}

static void collect(struct front_ring *ring, unsigned int nr)
{
	while (nr--)
		if (front_status(front_next(ring, NULL)))
			errx(1, "a read fails");
}

int front_orphans(struct front *front)
{
	struct front_ring *ring = &front->rings[0];
	struct front_slot *slots = front_slots(front, ring, MANY);
	unsigned int kill, lesson;

	for (kill = 0; kill < KILLS; kill++) {
		front->transport->start(front);
		for (lesson = 0; lesson < LESSONS; lesson++) {
			submit_some(front, slots, MANY);
			collect(ring, MANY);
		}
		submit_some(front, slots, FEW);
		front_vhost_wait_popped(front, 0);
		front->transport->kill(front);
		collect(ring, FEW);
	}
	puts("all that was in flight was told of");
	return 0;
}
