// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vblk-top says of a disk, from two sets of counters, and which disks it has measured. Of a server, what it
 * answers is counted only when there is a guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "cmd/err.h"
#include "cmd/rates.h"
#include "server/control.h"

#define SECOND	1000000000ULL

/* What the next look finds. */
static struct disk_status found[2];
static size_t nr_found;
static uint64_t threads_ms;
static unsigned int nr_wanted;
static bool is_measured;

int status_collect(char *const names[], size_t n, struct disk_status **disks, size_t *nr_disks)
{
	(void)names;
	(void)n;
	*disks = calloc(nr_found ?: 1, sizeof(**disks));
	assert_non_null(*disks);
	memcpy(*disks, found, nr_found * sizeof(**disks));
	*nr_disks = nr_found;
	return 0;
}

int latency_read(const char *device, struct latency *l)
{
	(void)device;
	*l = (struct latency) { .count = 1, .mean_ns = 5 };
	return is_measured ? 0 : -ENOENT;
}

void latency_want(const char *device)
{
	(void)device;
	nr_wanted++;
}

void threads_find(struct threads *t, const struct threads *before)
{
	(void)before;
	*t = (struct threads){};
}

void threads_free(struct threads *t)
{
	(void)t;
}

uint64_t threads_grown_ms(const struct threads *t, dev_t dev)
{
	(void)t;
	(void)dev;
	return threads_ms;
}

uint64_t threads_process_cpu_ms(pid_t pid)
{
	(void)pid;
	return 0;
}

int dmdev_status(const char *name, uint64_t *sectors, char **params)
{
	(void)name;
	(void)sectors;
	(void)params;
	return -ENXIO;
}

int control_reply_code(json_object *reply, const char **why)
{
	(void)reply;
	(void)why;
	return 0;
}

int err_report(enum vblk_exit code, const char *object, const char *fmt, ...)
{
	(void)object;
	(void)fmt;
	return code;
}

static void set(struct disk_status *d, enum stat_id id, uint64_t value)
{
	d->s.has[id] = true;
	d->s.value[id] = value;
}

/* A disk that is there, and has nothing to do. */
static struct disk_status *disk(unsigned int i)
{
	struct disk_status *d = &found[i];

	*d = (struct disk_status) { .a.d = { .dev = i + 1, .is_live = true } };
	d->a.d.name[0] = d->a.d.uuid[0] = "ab"[i];
	d->s.at_ns = SECOND;
	for (enum stat_id id = 0; id < NR_STATS; id++)
		if (id < STAT_ANSWERS)
			set(d, id, 0);
	nr_found = i + 1;
	return d;
}

static int set_up(void **state)
{
	static struct rates r;

	rates_init(&r, false);
	*state = &r;
	disk(0);
	threads_ms = 0;
	nr_wanted = 0;
	is_measured = false;
	return 0;
}

static int tear_down(void **state)
{
	rates_exit(*state);
	return 0;
}

static const struct rated *look(struct rates *r)
{
	assert_int_equal(rates_look(r, NULL, 0), VBLK_OK);
	assert_int_equal(r->n, nr_found);
	return r->disks;
}

/* Whatever was waited for before and behind. */
static void a_rate_is_of_the_time_between_the_readings_of_its_disk(void **state)
{
	const struct rated *d;

	look(*state);
	found[0].s.at_ns += 4 * SECOND;
	set(&found[0], STAT_READS, 4000);
	set(&found[0], STAT_READ_MS, 8000);
	d = look(*state);
	assert_true(d->has_rate[STAT_READS]);
	assert_float_equal(d->rate[STAT_READS], 1000, 1e-6);
	assert_float_equal(rated_iops(d), 1000, 1e-6);
	assert_float_equal(rated_mean_ns(d), 2e6, 1e-3);
}

static void nothing_is_known_of_a_disk_that_has_just_come(void **state)
{
	const struct rated *d;

	look(*state);
	found[0].a.d.uuid[0] = 'z';
	found[0].s.at_ns += SECOND;
	set(&found[0], STAT_READS, 4000);
	d = look(*state);
	assert_false(d->has_rate[STAT_READS]);
	assert_false(d->has_cpu);
	assert_true(rated_iops(d) < 0);
	assert_true(rated_hit_percent(d) < 0);
}

static void counters_that_begin_anew_have_not_grown(void **state)
{
	const struct rated *d;

	set(&found[0], STAT_HITS, 5000);
	set(&found[0], STAT_READ_MS, 5000);
	look(*state);
	found[0].s.at_ns += SECOND;
	set(&found[0], STAT_HITS, 3);
	set(&found[0], STAT_READ_MS, 3);
	d = look(*state);
	assert_float_equal(d->rate[STAT_HITS], 0, 0);
	assert_float_equal(d->rate[STAT_READ_MS], 0, 0);
}

static void milliseconds_of_the_kernel_wrap_at_32_bits(void **state)
{
	const struct rated *d;

	set(&found[0], STAT_WRITE_MS, UINT32_MAX - 99);
	look(*state);
	found[0].s.at_ns += SECOND;
	set(&found[0], STAT_WRITE_MS, 100);
	set(&found[0], STAT_WRITES, 50);
	d = look(*state);
	assert_float_equal(d->rate[STAT_WRITE_MS], 200, 1e-6);
	assert_float_equal(rated_mean_ns(d), 4e6, 1e-3);
}

static void the_busiest_is_the_first(void **state)
{
	const struct rated *d;

	disk(1);
	look(*state);
	found[0].s.at_ns += SECOND;
	found[1].s.at_ns += SECOND;
	set(&found[0], STAT_READS, 1);
	set(&found[1], STAT_DISCARDS, 2);
	d = look(*state);
	assert_string_equal(d[0].d.a.d.name, "b");
	assert_string_equal(d[1].d.a.d.name, "a");
}

static void processors_work_for_a_disk_in_its_server_and_its_threads(void **state)
{
	const struct rated *d;

	set(&found[0], STAT_SERVER_CPU_MS, 100);
	look(*state);
	found[0].s.at_ns += 2 * SECOND;
	set(&found[0], STAT_SERVER_CPU_MS, 500);
	threads_ms = 600;
	d = look(*state);
	assert_true(d->has_cpu);
	assert_float_equal(d->cpu_percent, 50, 1e-6);
}

/* Whether the disk is to be measured, as it is at the second look. */
static bool is_wanted(struct rates *r)
{
	nr_wanted = 0;
	rates_exit(r);
	rates_init(r, true);
	look(r);
	assert_int_equal(nr_wanted, 0);
	found[0].s.at_ns += SECOND;
	look(r);
	return nr_wanted;
}

static void what_waits_or_stands_still_is_not_measured(void **state)
{
	assert_true(is_wanted(*state));
	set(disk(0), STAT_WAITING, 1);
	assert_false(is_wanted(*state));
	disk(0)->s.has[STAT_WAITING] = false;
	assert_false(is_wanted(*state));
	set(disk(0), STAT_IN_FLIGHT, 1);
	assert_false(is_wanted(*state));
	disk(0)->a.d.is_suspended = true;
	assert_false(is_wanted(*state));
	disk(0)->a.d.is_live = false;
	assert_false(is_wanted(*state));
	disk(0);
	is_measured = true;
	assert_false(is_wanted(*state));
	assert_true(((struct rates *)*state)->disks->has_latency);
}

static void nothing_is_measured_unasked(void **state)
{
	is_measured = true;
	look(*state);
	found[0].s.at_ns += SECOND;
	assert_false(look(*state)->has_latency);
	assert_int_equal(nr_wanted, 0);
}

static void take(const char *answer, struct disk_stats *s)
{
	json_object *reply = json_tokener_parse(answer);

	assert_non_null(reply);
	*s = (struct disk_stats){};
	disk_stats_take_answer(reply, s);
	json_object_put(reply);
	assert_true(s->has[STAT_ANSWERS] && s->value[STAT_ANSWERS]);
}

static void counters_of_a_guest_are_there_when_it_is(void **state)
{
	struct disk_stats s;

	(void)state;
	take("{\"queues\": [{\"reads\": 3, \"errors\": 1}, {\"reads\": 4}]}", &s);
	assert_true(s.has[STAT_GUEST_READS]);
	assert_int_equal(s.value[STAT_GUEST_READS], 7);
	assert_int_equal(s.value[STAT_GUEST_ERRORS], 1);
	take("{\"queues\": []}", &s);
	assert_false(s.has[STAT_GUEST_READS]);
	take("{\"queues\": 1}", &s);
	assert_false(s.has[STAT_GUEST_READS]);
	disk_stats_take_answer(NULL, &s);
	assert_true(s.has[STAT_ANSWERS]);
	assert_int_equal(s.value[STAT_ANSWERS], 0);
}

#define test(f)	cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_rate_is_of_the_time_between_the_readings_of_its_disk),
		test(nothing_is_known_of_a_disk_that_has_just_come),
		test(counters_that_begin_anew_have_not_grown),
		test(milliseconds_of_the_kernel_wrap_at_32_bits),
		test(the_busiest_is_the_first),
		test(processors_work_for_a_disk_in_its_server_and_its_threads),
		test(what_waits_or_stands_still_is_not_measured),
		test(nothing_is_measured_unasked),
		test(counters_of_a_guest_are_there_when_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
