// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure: random reads and writes of one size at a constant depth.
 *
 * Prints nanoseconds and the counts of what the data path did for each request,
 * so that runs under instruction counting give its cost. What goes on behind the last
 * request is counted --to-the-end: see tests/bench/io-cost.c, which has it too.
 */
#define _GNU_SOURCE
#include <err.h>
#include <limits.h>
#include <linux/vhost_blk.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/bench/detach.h"
#include "tests/bench/idle.h"
#include "virtio-front.h"

struct worker {
	struct front *front;
	struct front_ring *ring;
	struct front_slot *slots;
	uint64_t *places;	/* of writes that have one each, or NULL */
	unsigned long nr_places;
	uint64_t random;
	uint64_t deadline_ns;
	unsigned long nr_sent;
	unsigned long nr_done;
	uint32_t *latencies;
	unsigned long nr_latencies;
	pthread_t thread;
};

#define MAX_LATENCIES	1000000UL

/* Before their time: what all of it was done beside has ended. */
static atomic_bool is_over;

static FILE *trace;
static int64_t trace_offset_ns;

static bool is_late(const struct worker *worker, uint64_t now)
{
	return now >= worker->deadline_ns || atomic_load_explicit(&is_over, memory_order_relaxed);
}

static uint64_t choose_offset(struct worker *worker)
{
	const struct front_options *options = &worker->front->options;
	uint64_t span = options->span ?: worker->front->capacity * FRONT_SECTOR;

	if (worker->places)
		return worker->places[worker->nr_sent % worker->nr_places];
	return front_random(&worker->random) % (span / options->max_bytes) * options->max_bytes;
}

static void send_one(struct worker *worker, struct front_slot *slot)
{
	struct front *front = worker->front;
	uint64_t offset = choose_offset(worker);
	bool is_write = front_random(&worker->random) % 100 <
			front->options.write_percent;

	worker->nr_sent++;
	slot->started_ns = front_now_ns();
	front_submit(front, slot, is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		     offset / FRONT_SECTOR, front->options.max_bytes);
}

static void take_one(struct worker *worker, struct front_slot *slot, uint64_t now)
{
	if (front_status(slot) != VIRTIO_BLK_S_OK)
		errx(1, "status %u", front_status(slot));
	/* One that was sent after the clock was read may have ended in the same go. */
	if (worker->nr_latencies < MAX_LATENCIES)
		worker->latencies[worker->nr_latencies++] = now > slot->started_ns ? now - slot->started_ns : 0;
	worker->nr_done++;
	if (trace)
		fprintf(trace, "%lld %llu\n", (long long)slot->started_ns + trace_offset_ns,
			now > slot->started_ns ? (unsigned long long)(now - slot->started_ns) : 0);
}

static void think(const struct worker *worker)
{
	struct timespec time = { .tv_nsec = worker->front->options.think_us * 1000L };

	if (time.tv_nsec)
		nanosleep(&time, NULL);
}

/* Like a driver under load: take all that is there, refill, kick once. Ends idle. */
static void do_until(struct worker *worker, unsigned long limit)
{
	unsigned int in_flight = 0;
	uint64_t now = 0;

	while (in_flight < worker->front->options.depth && worker->nr_sent < limit)
		send_one(worker, &worker->slots[in_flight++]);
	front_ring_kick(worker->ring);
	while (in_flight) {
		struct front_slot *slot = front_next(worker->ring, NULL);

		now = front_now_ns();
		think(worker);
		for (; slot; slot = front_ring_get(worker->ring, NULL)) {
			take_one(worker, slot, now);
			if (worker->nr_sent >= limit || is_late(worker, now))
				in_flight--;
			else
				send_one(worker, slot);
		}
		front_ring_kick(worker->ring);
	}
}

static void flush(struct worker *worker)
{
	if (front_do(worker->front, &worker->slots[0], VIRTIO_BLK_T_FLUSH, 0, 0, NULL) != VIRTIO_BLK_S_OK)
		errx(1, "a flush failed");
}

static void discard(struct worker *worker, uint64_t offset, uint64_t bytes)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = offset / FRONT_SECTOR, .num_sectors = bytes / FRONT_SECTOR,
	};
	struct front_slot *slot = &worker->slots[0];

	memcpy(slot->data, &range, sizeof(range));
	if (front_do(worker->front, slot, VIRTIO_BLK_T_DISCARD, 0, sizeof(range), NULL) != VIRTIO_BLK_S_OK)
		errx(1, "discard of %llu bytes at %llu failed", (unsigned long long)bytes,
		     (unsigned long long)offset);
}

/* Like a file system that tells what it does not use, group by group, in pieces that the disk takes. */
static void *trim(void *argument)
{
	struct worker *worker = argument;
	const struct front *front = worker->front;
	uint64_t offset = front->options.trim_from, end = front->capacity * FRONT_SECTOR;
	uint64_t step = front->options.trim, piece = front->max_discard ?: step, done;

	for (; offset + step <= end; offset += step) {
		worker->slots[0].started_ns = front_now_ns();
		for (done = 0; done < step; done += piece)
			discard(worker, offset + done, step - done < piece ? step - done : piece);
		take_one(worker, &worker->slots[0], front_now_ns());
	}
	atomic_store(&is_over, true);
	return NULL;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	const struct front_options *options = &worker->front->options;
	unsigned long limit = options->operations ? options->operations / options->nr_queues : ULONG_MAX;
	unsigned long step = options->flush_every ?: limit;

	for (;;) {
		do_until(worker, limit - worker->nr_sent < step ? limit : worker->nr_sent + step);
		if (worker->nr_sent >= limit || is_late(worker, front_now_ns()))
			return NULL;
		flush(worker);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The last queue, which may be the only one. */
static bool is_trimmer(const struct front *front, unsigned int index)
{
	return front->options.trim && index == front->options.nr_queues - 1;
}

static void gather(struct front *front, struct worker *workers,
		   struct worker *sum, struct vhost_blk_vring_stats *total)
{
	struct vhost_blk_vring_stats stats;
	unsigned int i;
	unsigned long j;

	for (i = 0; i < front->options.nr_queues; i++) {
		if (front->options.nr_queues > 1 && is_trimmer(front, i))
			continue;
		sum->nr_done += workers[i].nr_done;
		for (j = 0; j < workers[i].nr_latencies; j++)
			sum->latencies[sum->nr_latencies++] = workers[i].latencies[j];
		/* The server has them, if it is still there. */
		if (front->transport != &front_vhost || front->link < 0)
			continue;
		front_vhost_stats(front, i, &stats);
		total->kicks += stats.kicks;
		total->batches += stats.batches;
		total->updates += stats.updates;
		total->signals += stats.signals;
	}
	qsort(sum->latencies, sum->nr_latencies, sizeof(*sum->latencies), by_value);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	if (clock_gettime(clock, &time))
		err(1, "CPU time");
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/* CPU time of this process, and of the server if it is ours; vhost workers are threads of that. */
static uint64_t cpu_ns(const struct front *front)
{
	uint64_t ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	clockid_t clock;

	if (front->server > 0 && !clock_getcpuclockid(front->server, &clock))
		ns += clock_ns(clock);
	return ns;
}

static void print(struct front *front, const struct worker *sum, uint64_t elapsed_ns,
		  uint64_t busy_ns, const struct vhost_blk_vring_stats *total)
{
	const char *format = front->options.is_json ?
		"{\"ios\": %lu, \"ns_per_io\": %.1f, \"cpu_ns_per_io\": %.1f, \"iops\": %.0f, \"p50_ns\": %u, \"p99_ns\": %u, \"max_ns\": %u, \"kicks_per_io\": %.3f, \"batches_per_io\": %.3f, \"updates_per_io\": %.3f, \"signals_per_io\": %.3f}\n" :
		"%lu I/Os, %.1f ns each, %.1f of CPU time, %.0f a second, p50 %u ns, p99 %u ns, max %u ns, per I/O: %.3f handler runs, %.3f batches, %.3f used-ring updates, %.3f signals\n";
	double ios = sum->nr_done;

	printf(format, sum->nr_done, elapsed_ns / ios, busy_ns / ios, ios * 1e9 / elapsed_ns,
	       sum->latencies[sum->nr_latencies / 2],
	       sum->latencies[sum->nr_latencies * 99 / 100],
	       sum->latencies[sum->nr_latencies - 1],
	       total->kicks / ios, total->batches / ios, total->updates / ios,
	       total->signals / ios);
}

/* No zeroes, of which there may be a shorter way. */
static void fill(struct worker *worker)
{
	const struct front_options *options = &worker->front->options;
	unsigned int i, j;

	for (i = 0; i < options->depth; i++)
		for (j = 0; j + sizeof(uint64_t) <= options->max_bytes; j += sizeof(uint64_t)) {
			uint64_t random = front_random(&worker->random);

			memcpy(worker->slots[i].data + j, &random, sizeof(random));
		}
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
		if (options->write_percent)
			fill(&workers[i]);
		if (options->spacing)
			workers[i].places = front_places(front, i, &workers[i].random, &workers[i].nr_places);
		workers[i].latencies = calloc(MAX_LATENCIES, sizeof(uint32_t));
		if (!workers[i].latencies)
			err(1, "latencies");
	}
}

/* So that the first touch of the guest's memory, by either side, is not measured. */
static void warm_up(struct front *front, struct worker *workers)
{
	unsigned int i;

	for (i = 0; i < front->options.nr_queues; i++) {
		if (is_trimmer(front, i))
			continue;
		workers[i].deadline_ns = UINT64_MAX;
		do_until(&workers[i], front->options.depth);
		workers[i].nr_sent = 0;
		workers[i].nr_done = 0;
		workers[i].nr_latencies = 0;
	}
}

static void await_eof(void)
{
	char text[256];

	while (read(STDIN_FILENO, text, sizeof(text)) > 0)
		;
	atomic_store(&is_over, true);
}

static void run(struct front *front, struct worker *workers)
{
	const struct front_options *options = &front->options;
	uint64_t deadline_ns = options->operations || options->trim || options->is_until_eof ? UINT64_MAX :
			       front_now_ns() + options->seconds * 1000000000ULL;
	unsigned int i;

	for (i = 0; i < options->nr_queues; i++) {
		workers[i].deadline_ns = deadline_ns;
		if (pthread_create(&workers[i].thread, NULL, is_trimmer(front, i) ? trim : work, &workers[i]))
			errx(1, "pthread_create");
	}
	if (options->is_until_eof)
		await_eof();
	for (i = 0; i < options->nr_queues; i++)
		pthread_join(workers[i].thread, NULL);
}

static void end(struct front *front, struct worker *workers)
{
	flush(&workers[0]);
	front->transport->stop(front);
	if (front->options.detach)
		detach(front->options.detach);
}

/* How long it takes; to the end, that is without the time in which the CPU idles. Adds the CPU time to *busy_ns. */
static uint64_t measure(struct front *front, struct worker *workers, uint64_t *busy_ns)
{
	uint64_t begin_ns, idle_begin_ns = 0, ns;
	bool is_to_the_end = front->options.is_to_the_end;

	if (is_to_the_end)
		idle_begin_ns = idle_ns();
	else
		warm_up(front, workers);
	*busy_ns -= cpu_ns(front);
	begin_ns = front_now_ns();
	run(front, workers);
	if (is_to_the_end)
		end(front, workers);
	ns = front_now_ns() - begin_ns;
	*busy_ns += cpu_ns(front);
	return is_to_the_end ? ns - (idle_ns() - idle_begin_ns) : ns;
}

/* By the clock that date(1) has. */
static void open_trace(const char *path)
{
	struct timespec now;

	if (!path)
		return;
	trace = fopen(path, "we");
	if (!trace || clock_gettime(CLOCK_REALTIME, &now))
		err(1, "%s", path);
	trace_offset_ns = now.tv_sec * 1000000000LL + now.tv_nsec - front_now_ns();
}

/* Those of the server, which are there, stay where they are. */
static void pin(const struct front_options *options)
{
	cpu_set_t cpus;

	if (options->driver_cpu < 0)
		return;
	CPU_ZERO(&cpus);
	CPU_SET(options->driver_cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "CPU %d", options->driver_cpu);
}

int front_bench(struct front *front)
{
	unsigned int nr_queues = front->options.nr_queues;
	struct worker *workers = calloc(nr_queues, sizeof(*workers)), sum = { 0 };
	struct vhost_blk_vring_stats total = { 0 };
	uint64_t ns, busy_ns = 0;

	if (!workers)
		err(1, "workers");
	front->transport->start(front);
	pin(&front->options);
	prepare(front, workers);
	open_trace(front->options.trace);
	ns = measure(front, workers, &busy_ns);
	sum.latencies = calloc(nr_queues * MAX_LATENCIES, sizeof(uint32_t));
	if (!sum.latencies)
		err(1, "latencies");
	gather(front, workers, &sum, &total);
	print(front, &sum, ns, busy_ns, &total);
	if (!front->options.is_to_the_end)
		front->transport->stop(front);
	if (trace && fclose(trace))
		err(1, "%s", front->options.trace);
	return 0;
}
