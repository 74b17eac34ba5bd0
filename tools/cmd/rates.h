/* SPDX-License-Identifier: GPL-2.0-only */
/* What disks do in a second, from their counters at two instants. */
#ifndef VBLK_RATES_H
#define VBLK_RATES_H

#include "latency.h"
#include "status.h"
#include "threads.h"

/**
 * struct rated - a disk
 * @d: what was known of it at the last look
 * @has_rate: of which counters there is a rate: they were there at the look before, too
 * @rate: by how much they have grown in a second
 * @has_cpu: there is a rate of @cpu_percent
 * @cpu_percent: of one processor, of the server and the image's threads
 * @has_latency: @latency is valid
 * @latency: of requests in between
 */
struct rated {
	struct disk_status d;
	bool has_rate[NR_STATS];
	double rate[NR_STATS];
	bool has_cpu;
	double cpu_percent;
	bool has_latency;
	struct latency latency;
};

/**
 * struct rates - the disks
 * @wants_latency: how long requests take is wanted, too
 * @at_ns: when the last look began
 * @seconds: since the look before
 * @threads: of all images
 * @disks: the busiest first
 * @n: how many
 */
struct rates {
	bool wants_latency;
	uint64_t at_ns;
	double seconds;
	struct threads threads;
	struct rated *disks;
	size_t n;
};

void rates_init(struct rates *r, bool wants_latency);
int rates_look(struct rates *r, char *const names[], size_t nr_names);
void rates_exit(struct rates *r);

double rated_iops(const struct rated *d);
double rated_mean_ns(const struct rated *d);
double rated_hit_percent(const struct rated *d);

#endif
