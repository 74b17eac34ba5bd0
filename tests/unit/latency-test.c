// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vblk-top --latency asks of the device mapper's statistics: which regions it makes and removes, and percentiles of
 * what these say. The device mapper is a list of regions in memory that is shared with the child, which makes them.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "cmd/latency.h"
#include "disk/dm.h"

#define WAIT_S	60

static struct kernel {
	char list[1000];
	char created[1000];
	char deleted[100];
	sem_t has_created;
	sem_t has_deleted;
} *kernel;

/* Of the answer to @stats_print_clear. */
static char counters[2000];

int dmdev_ask(const char *name, const char *text, char **answer)
{
	(void)name;
	if (!strncmp(text, "@stats_create ", 14)) {
		strcpy(kernel->created, text);
		snprintf(kernel->list, sizeof(kernel->list), "7: 0+9 9 %s\n", strstr(text, "vblk-top"));
		sem_post(&kernel->has_created);
		*answer = strdup("7");
	} else if (!strncmp(text, "@stats_list", 11)) {
		*answer = strdup(kernel->list);
	} else {
		*answer = strdup(counters);
	}
	return 0;
}

int dmdev_message(const char *name, const char *text)
{
	(void)name;
	if (!strncmp(text, "@stats_delete ", 14)) {
		strcat(strcat(kernel->deleted, text + 14), ";");
		sem_post(&kernel->has_deleted);
	}
	return 0;
}

int dmdev_list(bool ours_only, struct dmdev **list, size_t *n)
{
	assert_true(ours_only);
	*list = calloc(1, sizeof(**list));
	assert_non_null(*list);
	strcpy((*list)->name, "disk");
	*n = 1;
	return 0;
}

static void expect(sem_t *sem)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(sem, &ts), 0);
}

static unsigned long long pid_namespace(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/pid", &st), 0);
	return st.st_ino;
}

static void regions_of_those_who_have_gone_are_removed(void **state)
{
	unsigned long long ns = pid_namespace();

	(void)state;
	sprintf(kernel->list,
		"1: 0+9 9 vblk-top %d-1-%llu precise_timestamps\n2: 0+9 9 dmstats -\n"
		"3: 0+9 9 vblk-top 999999999-1-%llu\n4: 0+9 9 vblk-top 999999999-1-1\n5: 0+9 9 vblk-top -\n", getpid(), ns, ns);
	assert_int_equal(latency_init(), 0);
	/* 1 has the number of a process that is there, and began at another time. */
	assert_string_equal(kernel->deleted, "1;3;");
	kernel->list[0] = '\0';
}

/* Where it has grown, too. */
static void a_region_is_longer_than_any_disk(void **state)
{
	unsigned long long start, sectors;
	struct latency l;

	(void)state;
	latency_want("disk");
	expect(&kernel->has_created);
	assert_int_equal(sscanf(kernel->created, "@stats_create %llu+%llu /1 ", &start, &sectors), 2);
	assert_int_equal(start, 0);
	assert_true(sectors >= 1ULL << 50);
	strcpy(counters, "0+9 1 0 8 2000 3 0 24 6000 0 0 0 0 0 1:2:1:0");
	assert_int_equal(latency_read("disk", &l), 0);
	assert_int_equal(l.count, 4);
	assert_int_equal(l.mean_ns, 2000);
	assert_int_equal(l.buckets[1], 2);
	strcpy(counters, "nonsense");
	assert_int_equal(latency_read("disk", &l), -EBADMSG);
}

static uint64_t percentile(unsigned int bucket, uint64_t count, unsigned int percent)
{
	struct latency l = {};

	l.buckets[bucket] = count;
	return latency_percentile_ns(&l, percent);
}

/* The bucket that the kernel, which has the bounds, counts a request in. */
static unsigned int bucket_of(uint64_t ns)
{
	char *at = strstr(kernel->created, "histogram:") + strlen("histogram:");
	unsigned int bucket = 0;

	for (; strtoull(at, &at, 10) <= ns; at++) {
		bucket++;
		if (*at != ',')
			break;
	}
	return bucket;
}

static void percentiles_are_no_less_than_what_requests_took(void **state)
{
	(void)state;
	for (uint64_t ns = 1000; ns < 900000000000ULL; ns = ns * 4 / 3) {
		assert_true(percentile(bucket_of(ns), 9, 50) >= ns);
		assert_true(ns < 10000 || percentile(bucket_of(ns), 9, 99) <= ns * 2);
	}
	assert_true(percentile(bucket_of(35000000000ULL), 1, 50) >= 35000000000ULL);
	assert_int_equal(bucket_of(UINT64_MAX), LATENCY_BUCKETS - 1);
	assert_true(percentile(LATENCY_BUCKETS - 1, 1, 1) == UINT64_MAX);
	assert_int_equal(percentile(0, 0, 50), 0);
}

static void percentiles_are_of_so_many_in_a_hundred(void **state)
{
	struct latency l = { .buckets = { 90, 9, 1 } };

	(void)state;
	assert_int_equal(latency_percentile_ns(&l, 50), 10000);
	assert_int_equal(latency_percentile_ns(&l, 90), 10000);
	assert_int_equal(latency_percentile_ns(&l, 91), 15000);
	assert_int_equal(latency_percentile_ns(&l, 99), 15000);
	assert_int_equal(latency_percentile_ns(&l, 100), 20000);
}

/* Behind the end of the one who has them made. */
static void regions_go_with_who_made_them(void **state)
{
	(void)state;
	kernel->deleted[0] = '\0';
	while (sem_trywait(&kernel->has_deleted) == 0)
		;
	/* The pipe, as _exit() would close it. */
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	expect(&kernel->has_deleted);
	assert_string_equal(kernel->deleted, "7;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_of_those_who_have_gone_are_removed),
		cmocka_unit_test(a_region_is_longer_than_any_disk),
		cmocka_unit_test(percentiles_are_no_less_than_what_requests_took),
		cmocka_unit_test(percentiles_are_of_so_many_in_a_hundred),
		cmocka_unit_test(regions_go_with_who_made_them),
	};

	kernel = mmap(NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (kernel == MAP_FAILED || sem_init(&kernel->has_created, 1, 0) || sem_init(&kernel->has_deleted, 1, 0))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
