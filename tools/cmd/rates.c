// SPDX-License-Identifier: GPL-2.0-only
/* What disks do in a second. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "rates.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/** rates_init() - nothing has been looked at yet; rates_exit() is due */
void rates_init(struct rates *r, bool wants_latency)
{
	*r = (struct rates) { .wants_latency = wants_latency };
}

/** rates_exit() - forget the disks */
void rates_exit(struct rates *r)
{
	threads_free(&r->threads);
	free(r->disks);
	r->disks = NULL;
	r->n = 0;
}

static const struct rated *find(const struct rates *r, const struct disk_status *d)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->disks[i].d.a.d.dev == d->a.d.dev &&
		    !strcmp(r->disks[i].d.a.d.uuid, d->a.d.uuid))
			return &r->disks[i];
	return NULL;
}

/* A guest that comes, or another server, begins from nothing. The kernel's milliseconds have 32 bits. */
static uint64_t grown(enum stat_id id, uint64_t was, uint64_t is)
{
	if (is >= was)
		return is - was;
	return stat_defs[id].unit == STAT_MS && was - is > UINT32_MAX / 2 ? (uint32_t)(is - was) : 0;
}

static void compare(struct rated *now, const struct rated *before, const struct threads *threads)
{
	const struct disk_stats *was = &before->d.s, *is = &now->d.s;
	double seconds = (is->at_ns - was->at_ns) / 1e9;

	if (seconds <= 0)
		return;
	for (enum stat_id id = 0; id < NR_STATS; id++) {
		if (!stat_is_counter(id) || !is->has[id] || !was->has[id])
			continue;
		now->has_rate[id] = true;
		now->rate[id] = grown(id, was->value[id], is->value[id]) / seconds;
	}
	now->has_cpu = true;
	now->cpu_percent = (threads_grown_ms(threads, now->d.a.d.dev) / seconds +
			    now->rate[STAT_SERVER_CPU_MS]) / 10;
}

/* What stands still, or waits for space, would hold the device for ever: see latency.c. */
static bool may_be_measured(const struct rated *d)
{
	const struct disk_stats *s = &d->d.s;

	return d->d.a.d.is_live && !d->d.a.d.is_suspended && s->has[STAT_WAITING] &&
	       !s->value[STAT_WAITING] && d->has_rate[STAT_READS] &&
	       (!s->value[STAT_IN_FLIGHT] || d->rate[STAT_READS] + d->rate[STAT_WRITES] > 0);
}

static void look_at_latency(struct rated *d)
{
	int err = latency_read(d->d.a.d.name, &d->latency);

	d->has_latency = !err;
	if (err == -ENOENT && may_be_measured(d))
		latency_want(d->d.a.d.name);
}

static int by_load(const void *a, const void *b)
{
	const struct rated *x = a, *y = b;
	double difference = rated_iops(y) - rated_iops(x);

	if (difference > 0 || difference < 0)
		return difference > 0 ? 1 : -1;
	return strcmp(x->d.a.d.name, y->d.a.d.name);
}

static void rate(struct rates *r, struct rated *d, const struct disk_status *now)
{
	const struct rated *before = find(r, now);

	*d = (struct rated) { .d = *now };
	if (before)
		compare(d, before, &r->threads);
	if (r->wants_latency)
		look_at_latency(d);
}

static void look_at_threads(struct rates *r)
{
	struct threads now;

	threads_find(&now, &r->threads);
	threads_free(&r->threads);
	r->threads = now;
}

/**
 * rates_look() - look at the disks again
 * @names: of those that are wanted; all if there are none
 * @nr_names: how many
 *
 * Return: an exit code; what is wrong has been reported.
 */
int rates_look(struct rates *r, char *const names[], size_t nr_names)
{
	struct disk_status *now;
	struct rated *disks;
	uint64_t at_ns = now_ns();
	size_t n;
	int ret;

	ret = status_collect(names, nr_names, &now, &n);
	if (ret)
		return ret;
	disks = calloc(n ?: 1, sizeof(*disks));
	if (!disks) {
		free(now);
		return err_report(VBLK_FAILED, NULL, "out of memory");
	}
	look_at_threads(r);
	r->seconds = (at_ns - r->at_ns) / 1e9;
	r->at_ns = at_ns;
	for (size_t i = 0; i < n; i++)
		rate(r, &disks[i], &now[i]);
	qsort(disks, n, sizeof(*disks), by_load);
	free(now);
	free(r->disks);
	r->disks = disks;
	r->n = n;
	return VBLK_OK;
}

/** rated_iops() - requests of any kind; a flush is a write; -1: not known */
double rated_iops(const struct rated *d)
{
	return d->has_rate[STAT_READS] ? d->rate[STAT_READS] + d->rate[STAT_WRITES] +
					 d->rate[STAT_DISCARDS] : -1;
}

/** rated_mean_ns() - that a request took, 0 when there was none; what is not measured goes by milliseconds */
double rated_mean_ns(const struct rated *d)
{
	double requests = d->rate[STAT_READS] + d->rate[STAT_WRITES];

	if (d->has_latency)
		return d->latency.mean_ns;
	return requests > 0 ? (d->rate[STAT_READ_MS] + d->rate[STAT_WRITE_MS]) * 1e6 / requests : 0;
}

/** rated_hit_percent() - of look-ups of metadata; -1: there were none */
double rated_hit_percent(const struct rated *d)
{
	double lookups = d->rate[STAT_HITS] + d->rate[STAT_MISSES];

	return lookups > 0 ? d->rate[STAT_HITS] * 100 / lookups : -1;
}
