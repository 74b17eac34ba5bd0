/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the writer did, and what it was told: the record that a replayed state is checked against.
 *
 * One counter orders all events. A write or flush takes a number just before it is submitted and another one just after it
 * completed, so "completed before X was submitted" is a comparison of two numbers. Writes that overlap are never in
 * flight together; the versions of one sector are therefore totally ordered.
 */
#ifndef CRASH_JOURNAL_H
#define CRASH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jwrite {
	uint64_t sector;
	uint32_t nr_sectors;
	bool fua;
	bool zeroes; /* a discard, or write-zeroes: no stamps */
	uint64_t submitted;
	uint64_t completed;
};

struct jflush {
	uint64_t submitted;
	uint64_t completed;
};

struct journal {
	uint64_t nr_sectors;   /* size of the range that was written to */
	struct jwrite *writes; /* [0] is unused: version 0 is "never written" */
	size_t nr_writes;
	struct jflush *flushes;
	size_t nr_flushes;
};

/* Both exit with a message on failure. */
void journal_save(const struct journal *j, const char *path);
void journal_load(struct journal *j, const char *path);

/*
 * Set floor[sector] to the oldest version that may be found there once every flush and FUA write completed by event @ack has
 * been acknowledged.
 */
void journal_floor(const struct journal *j, uint64_t ack, uint32_t *floor);

/* Set floor[sector] to the latest version that was completed before @event. */
void journal_completed(const struct journal *j, uint64_t event, uint32_t *floor);

/* Set last[sector] to the latest version of it that is zeroes, or to 0. */
void journal_zeroes(const struct journal *j, uint32_t *last);

/* Was @version ever written to @sector? */
bool journal_covers(const struct journal *j, uint64_t version, uint64_t sector);

#endif
