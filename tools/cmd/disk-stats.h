/* SPDX-License-Identifier: GPL-2.0-only */
/* What a disk has done and is doing: one definition for tables, JSON and Prometheus. */
#ifndef VBLK_DISK_STATS_H
#define VBLK_DISK_STATS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attached.h"

enum stat_id {
	/* of the block device, whoever uses it */
	STAT_SIZE,
	STAT_READS,
	STAT_READ_BYTES,
	STAT_READ_MS,
	STAT_WRITES,
	STAT_WRITE_BYTES,
	STAT_WRITE_MS,
	STAT_DISCARDS,
	STAT_DISCARD_BYTES,
	STAT_BUSY_MS,
	STAT_IN_FLIGHT,
	/* of the image */
	STAT_USED,
	STAT_LEFT,
	STAT_CACHE,
	STAT_CACHE_LIMIT,
	STAT_HITS,
	STAT_MISSES,
	STAT_COMMITS,
	STAT_WAITING,
	STAT_FILLS,
	STAT_DROPPED,
	STAT_EXTENTS,
	STAT_FAILED,
	/* of a guest's queues */
	STAT_ANSWERS,
	STAT_GUEST_READS,
	STAT_GUEST_READ_BYTES,
	STAT_GUEST_WRITES,
	STAT_GUEST_WRITE_BYTES,
	STAT_GUEST_FLUSHES,
	STAT_GUEST_OTHERS,
	STAT_GUEST_ERRORS,
	STAT_GUEST_IN_FLIGHT,
	STAT_GUEST_KICKS,
	STAT_GUEST_SIGNALS,
	STAT_GUEST_BOUNCED,
	STAT_GUEST_STALLS,
	STAT_SERVER_CPU_MS,
	NR_STATS,
};

enum stat_unit {
	STAT_COUNT,
	STAT_BYTES,
	STAT_MS,	/* Prometheus gets seconds */
	STAT_BOOL,
};

/**
 * struct stat_def - a property of a disk
 * @column: for people
 * @key: in JSON; of the guest's also in what its server answers, behind "guest_"
 * @metric: for Prometheus; one that ends in _total only grows, until what counts begins anew
 * @unit: of the value
 * @help: what it is
 */
struct stat_def {
	const char *column;
	const char *key;
	const char *metric;
	enum stat_unit unit;
	const char *help;
};

extern const struct stat_def stat_defs[NR_STATS];

/**
 * struct disk_stats - what is known of a disk
 * @at_ns: when that was looked at, in CLOCK_MONOTONIC; what its server says is later
 * @has: which values there are
 * @value: they
 */
struct disk_stats {
	uint64_t at_ns;
	bool has[NR_STATS];
	uint64_t value[NR_STATS];
};

void disk_stats_read(const struct attached *a, struct disk_stats *s);
void disk_stats_take_answer(json_object *reply, struct disk_stats *s);
bool stat_is_counter(enum stat_id id);

#endif
