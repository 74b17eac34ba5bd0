/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reader of a dm-log-writes log (format: drivers/md/dm-log-writes.c).
 *
 * The log is in the order in which data became durable, not in which it was written. Between two flushes it reads
 *
 *	(FUA write | mark)*  plain write*  flush
 *
 * FUA writes and marks enter it when they complete. A plain write waits until a flush that was submitted after its completion
 * completes; it enters the log just before that flush, in order of completion. So "the writes after the last completed flush"
 * that a power cut may keep or lose, sector by sector, are the plain writes of one such segment.
 *
 * One order is lost: that of a FUA write and of a plain write to the same sector that had not been flushed when the FUA write
 * completed. The plain one comes later in the log, whichever was first. See state.h for what is done about it.
 */
#ifndef CRASH_LOG_H
#define CRASH_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entry_kind { ENTRY_PLAIN, ENTRY_FUA, ENTRY_FLUSH, ENTRY_MARK };

struct entry {
	enum entry_kind kind;
	bool is_discard;
	bool is_metadata;
	uint64_t sector;     /* 512-byte units */
	uint64_t nr_sectors; /* 512-byte units; 0 for a flush or mark */
	const uint8_t *data; /* NULL for a discard, flush or mark */
	const char *mark;    /* text of a mark, not terminated */
	size_t mark_bytes;
	size_t segment;	     /* number of flush entries before this one */
	uint64_t ack;	     /* highest number of an "ack=N" mark up to here */
};

struct log {
	struct entry *entries;
	size_t nr_entries;
};

/* Map the log on device or file @path and index it; exits with a message if it is not one or is cut short. */
void log_open(struct log *log, const char *path);

/* Index of the first entry of the segment that entry @i belongs to. */
size_t log_segment_start(const struct log *log, size_t i);

/* Index of the first mark with this text; exits with a message if there is none. */
size_t log_find_mark(const struct log *log, const char *text);

#endif
