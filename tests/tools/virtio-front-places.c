// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where requests go that each have a piece of the disk of their own.
 */
#include <err.h>
#include <stdlib.h>
#include "virtio-front.h"

/* One request in each --spacing bytes that are the queue's, in random order; their number in *nr. */
uint64_t *front_places(struct front *front, unsigned int queue, uint64_t *random, unsigned long *nr)
{
	const struct front_options *options = &front->options;
	uint64_t span = options->span ?: front->capacity * FRONT_SECTOR;
	uint64_t blocks = options->spacing / options->max_bytes, *places;
	unsigned long i;

	*nr = span / options->spacing / options->nr_queues;
	if (!blocks || *nr < options->operations / options->nr_queues)
		errx(2, "the disk has no room for so many requests in %llu bytes each",
		     (unsigned long long)options->spacing);
	places = calloc(*nr, sizeof(*places));
	if (!places)
		err(1, "places");
	for (i = 0; i < *nr; i++) {
		unsigned long other = front_random(random) % (i + 1);

		places[i] = places[other];
		places[other] = (i * options->nr_queues + queue) * options->spacing +
				front_random(random) % blocks * options->max_bytes;
	}
	return places;
}
