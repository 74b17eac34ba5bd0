// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure: random reads and writes of one size at a constant depth.
 *
 * Prints nanoseconds and the counts of what the data path did for each request,
 * so that runs under instruction counting give its cost.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/vhost_blk.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "virtio-front.h"

struct worker {
	struct front *front;
	struct front_ring *ring;
	struct front_slot *slots;
	uint64_t random;
	uint64_t deadline_ns;
	unsigned long nr_done;
	uint32_t *latencies;
	unsigned long nr_latencies;
	pthread_t thread;
};

#define MAX_LATENCIES	1000000UL

static void send_one(struct worker *worker, struct front_slot *slot)
{
	struct front *front = worker->front;
	uint32_t bytes = front->options.max_bytes;
	uint64_t span = front->options.span ?: front->capacity * FRONT_SECTOR;
	uint64_t block = front_random(&worker->random) % (span / bytes);
	bool is_write = front_random(&worker->random) % 100 <
			front->options.write_percent;

	slot->started_ns = front_now_ns();
	front_submit(front, slot, is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		     block * (bytes / FRONT_SECTOR), bytes);
}

static void take_one(struct worker *worker, struct front_slot *slot, uint64_t now)
{
	if (front_status(slot) != VIRTIO_BLK_S_OK)
		errx(1, "status %u", front_status(slot));
	if (worker->nr_latencies < MAX_LATENCIES)
		worker->latencies[worker->nr_latencies++] = now - slot->started_ns;
	worker->nr_done++;
}

static bool is_over(const struct worker *worker, uint64_t now, unsigned long limit)
{
	return limit ? worker->nr_done >= limit : now >= worker->deadline_ns;
}

/* Like a driver under load: take all that is there, refill, kick once. */
static void *work(void *argument)
{
	struct worker *worker = argument;
	struct front_options *options = &worker->front->options;
	unsigned long limit = options->operations / options->nr_queues;
	unsigned int i, in_flight = options->depth;

	for (i = 0; i < options->depth; i++)
		send_one(worker, &worker->slots[i]);
	front_ring_kick(worker->ring);
	while (in_flight) {
		struct front_slot *slot = front_next(worker->ring, NULL);
		uint64_t now = front_now_ns();

		for (; slot; slot = front_ring_get(worker->ring, NULL)) {
			take_one(worker, slot, now);
			if (is_over(worker, now, limit))
				in_flight--;
			else
				send_one(worker, slot);
		}
		front_ring_kick(worker->ring);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void gather(struct front *front, struct worker *workers,
		   struct worker *sum, struct vhost_blk_vring_stats *total)
{
	struct vhost_blk_vring_stats stats;
	unsigned int i;
	unsigned long j;

	for (i = 0; i < front->options.nr_queues; i++) {
		sum->nr_done += workers[i].nr_done;
		for (j = 0; j < workers[i].nr_latencies; j++)
			sum->latencies[sum->nr_latencies++] = workers[i].latencies[j];
		if (front->transport != &front_vhost)
			continue;
		front_vhost_stats(front, i, &stats);
		total->kicks += stats.kicks;
		total->batches += stats.batches;
		total->updates += stats.updates;
	}
	qsort(sum->latencies, sum->nr_latencies, sizeof(*sum->latencies), by_value);
}

static void print(struct front *front, const struct worker *sum, uint64_t elapsed_ns,
		  const struct vhost_blk_vring_stats *total)
{
	const char *format = front->options.is_json ?
		"{\"ios\": %lu, \"ns_per_io\": %.1f, \"iops\": %.0f, \"p50_ns\": %u, \"p99_ns\": %u, \"kicks_per_io\": %.3f, \"batches_per_io\": %.3f, \"updates_per_io\": %.3f}\n" :
		"%lu I/Os, %.1f ns each, %.0f a second, p50 %u ns, p99 %u ns, per I/O: %.3f handler runs, %.3f batches, %.3f used-ring updates\n";
	double ios = sum->nr_done;

	printf(format, sum->nr_done, elapsed_ns / ios, ios * 1e9 / elapsed_ns,
	       sum->latencies[sum->nr_latencies / 2],
	       sum->latencies[sum->nr_latencies * 99 / 100],
	       total->kicks / ios, total->batches / ios, total->updates / ios);
}

static void prepare(struct front *front, struct worker *workers)
{
	struct front_options *options = &front->options;
	unsigned int i;

	for (i = 0; i < options->nr_queues; i++) {
		workers[i].front = front;
		workers[i].ring = &front->rings[i];
		workers[i].slots = front_slots(front, &front->rings[i], options->depth);
		workers[i].random = (options->seed + i + 1) * 0x9E3779B97F4A7C15ULL;
		workers[i].latencies = calloc(MAX_LATENCIES, sizeof(uint32_t));
		if (!workers[i].latencies)
			err(1, "latencies");
	}
}

int front_bench(struct front *front)
{
	unsigned int i, nr_queues = front->options.nr_queues;
	struct worker *workers = calloc(nr_queues, sizeof(*workers)), sum = { 0 };
	struct vhost_blk_vring_stats total = { 0 };
	uint64_t begin_ns, end_ns;

	if (!workers)
		err(1, "workers");
	front->transport->start(front);
	prepare(front, workers);
	begin_ns = front_now_ns();
	for (i = 0; i < nr_queues; i++) {
		workers[i].deadline_ns = begin_ns + front->options.seconds * 1000000000ULL;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			errx(1, "pthread_create");
	}
	for (i = 0; i < nr_queues; i++)
		pthread_join(workers[i].thread, NULL);
	end_ns = front_now_ns();

	sum.latencies = calloc(nr_queues * MAX_LATENCIES, sizeof(uint32_t));
	if (!sum.latencies)
		err(1, "latencies");
	gather(front, workers, &sum, &total);
	print(front, &sum, end_ns - begin_ns, &total);
	front->transport->stop(front);
	return 0;
}
