// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a stop that was killed leaves in flight, and the ioctls that come next.
 *
 * The device must be slow enough for a stop to be killed while it waits. Each
 * ioctl changes what completions use, so it has to find them all done.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <string.h>
#include "virtio-front.h"

struct leftover_case {
	const char *name;
	int operation;
};

static const struct leftover_case cases[] = {
	{ "a ring set up again", FRONT_SET_RING },
	{ "the position of a queue", FRONT_BASE },
	{ "another worker", FRONT_ATTACH_WORKER },
};

static uint16_t used_index(const struct front_ring *ring)
{
	return *(volatile uint16_t *)&ring->used->idx;
}

static void leave_some(struct front *front, struct front_slot *slot, const char *name)
{
	struct front_ring *ring = slot->ring;
	int ret;

	front_submit(front, slot, VIRTIO_BLK_T_OUT, 0, FRONT_PAGE);
	front_ring_kick(ring);
	front_vhost_wait_popped(front, ring->index);
	ret = front_vhost_call(front, FRONT_STOP_KILLED, ring->index);
	if (ret)
		errx(1, "%s: a stop cannot be killed: %s", name, strerror(-ret));
	if (used_index(ring) != ring->last_used)
		errx(1, "%s: the device is too fast", name);
}

static void try_case(struct front *front, struct front_slot *slot,
		     const struct leftover_case *c)
{
	struct front_ring *ring = slot->ring;
	int ret;

	leave_some(front, slot, c->name);
	ret = front_vhost_call(front, c->operation, ring->index);
	if (ret < 0)
		errx(1, "%s: %s", c->name, strerror(-ret));
	if (used_index(ring) == ring->last_used)
		errx(1, "%s: not waited for what a killed stop left", c->name);
	if (front_next(ring, NULL) != slot || front_status(slot))
		errx(1, "%s: the request failed", c->name);
	ret = front_vhost_call(front, FRONT_RUN, ring->index);
	if (ret)
		errx(1, "%s: cannot start again: %s", c->name, strerror(-ret));
	if (front_do(front, slot, VIRTIO_BLK_T_IN, 0, FRONT_PAGE, NULL))
		errx(1, "%s: a good read fails afterwards", c->name);
}

int front_leftovers(struct front *front)
{
	struct front_slot *slot;
	size_t i;

	front->transport->start(front);
	slot = front_slots(front, &front->rings[0], 1);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		try_case(front, slot, &cases[i]);
	front->transport->stop(front);
	puts("nothing overtakes a stop that was killed");
	return 0;
}
