// SPDX-License-Identifier: GPL-2.0-only
/*
 * Zeroes that are written out, as much as a request may ask for, to a device that
 * takes its time: who stops the queue, or kills the server, does not wait for all
 * that are in the ring. Then they are done all the same.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/vhost_blk.h>
#include <stdio.h>
#include <string.h>
#include "virtio-front.h"

#define NR_REQUESTS	4U

static uint16_t used_index(const struct front_ring *ring)
{
	return *(volatile uint16_t *)&ring->used->idx;
}

static void submit_all(struct front *front, struct front_slot *slots)
{
	struct virtio_blk_discard_write_zeroes range = {
		.num_sectors = VHOST_BLK_MAX_ZERO_SECTORS,
	};
	unsigned int i;

	for (i = 0; i < NR_REQUESTS; i++) {
		memcpy(slots[i].data, &range, sizeof(range));
		front_submit(front, &slots[i], VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range));
	}
	front_ring_kick(slots->ring);
}

static void must(struct front *front, int operation, int argument, int expected,
		 const char *what)
{
	int ret = front_vhost_call(front, operation, argument);

	if (ret != expected)
		errx(1, "%s: %d, expected %d", what, ret, expected);
}

static void expect_some_left(const struct front_ring *ring, const char *what)
{
	if (used_index(ring) == NR_REQUESTS)
		errx(1, "%s waits for all that is in the ring", what);
}

static void expect_all_done(struct front_ring *ring)
{
	unsigned int i;

	for (i = 0; i < NR_REQUESTS; i++) {
		struct front_slot *slot = front_next(ring, NULL);

		if (front_status(slot))
			errx(1, "a request ends with status %u", front_status(slot));
	}
}

int front_ranges(struct front *front)
{
	struct vhost_blk_vring_stats stats;
	struct front_ring *ring = &front->rings[0];
	struct front_slot *slots;

	front->transport->start(front);
	slots = front_slots(front, ring, NR_REQUESTS);
	submit_all(front, slots);
	front_vhost_wait_popped(front, 0);
	must(front, FRONT_STOP, 0, 0, "stop");
	expect_some_left(ring, "a stop");
	must(front, FRONT_BASE, 0, used_index(ring), "position of the stopped queue");

	must(front, FRONT_RUN, 0, 0, "run");
	front_vhost_wait_popped(front, 0);
	front->transport->kill(front);
	expect_some_left(ring, "the end of a killed server");

	front->transport->start(front);
	expect_all_done(ring);
	front_vhost_stats(front, 0, &stats);
	if (!stats.stalls)
		errx(1, "nothing has waited for other ranges");
	front->transport->stop(front);
	puts("stops wait for what was begun");
	return 0;
}
