/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk as a power cut may have left it.
 *
 * The target (a file or block device that starts as a copy of the logged device) holds the base state: everything up to
 * the last completed flush. What may or may not have landed after it is put on top, sector by sector, looked at, and undone.
 *
 * A FUA write and an older plain write to the same sector may be logged in the wrong order (log.h). Where both carry a
 * stamp of the writer for the same address the higher version stays. Zeros may be the rest of a cluster, from before the
 * FUA write, or what a discard or write-zeroes after it left: where the journal has one of those the zeros stay, which may
 * then be found there in any case, and the FUA write where it has none. Of other data in one segment the log cannot tell,
 * and is refused.
 */
#ifndef CRASH_STATE_H
#define CRASH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "sectors.h"

struct state {
	const char *path;
	int fd;
	const struct log *log;
	const uint32_t *zeroes;	   /* by the writer's sector: latest version that is zeroes; or NULL */
	size_t base;		   /* entries before this one are in the target */
	struct sector_map fua;	   /* latest FUA write of each sector */
	struct sector_map overlay; /* sectors to put on top of the base */
	struct sector_slot *on_top; /* the overlay while it is in the target, else NULL */
	uint8_t *saved;		   /* what the target had in its place */
};

/* Exits with a message on any error, as do all of the calls below. */
void state_open(struct state *st, const char *path, const struct log *log, const uint32_t *zeroes);

/* Apply all entries before @end to the base. */
void state_advance(struct state *st, size_t end);

/* Put @nr sectors of entry @e, from its @first one, into the overlay. */
void state_add(struct state *st, const struct entry *e, uint64_t first, uint64_t nr);

/* Write the overlay to the target; undo it and forget the overlay. */
void state_apply(struct state *st);
void state_undo(struct state *st);

#endif
