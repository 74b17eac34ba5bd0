/* SPDX-License-Identifier: GPL-2.0-only */
/* How long requests of a device take, counted by the device mapper as long as somebody looks. */
#ifndef VBLK_LATENCY_H
#define VBLK_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#define LATENCY_BUCKETS	50

/**
 * struct latency - of the requests since the last look
 * @count: how many there were
 * @mean_ns: of all
 * @buckets: how many took less than the bound of the bucket, and not less than the bound before; the last has none
 */
struct latency {
	uint64_t count;
	uint64_t mean_ns;
	uint64_t buckets[LATENCY_BUCKETS];
};

int latency_init(void);
void latency_want(const char *device);
int latency_read(const char *device, struct latency *l);
uint64_t latency_percentile_ns(const struct latency *l, unsigned int percent);

#endif
