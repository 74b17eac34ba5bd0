/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The target "qcow2-view": a read-only device that shows a frozen disk (cow/instant.h).
 */
#ifndef DM_QCOW2_VIEW_H
#define DM_QCOW2_VIEW_H

#include <linux/types.h>

struct qcow2_instant;

extern struct target_type qcow2_view_target;

/**
 * qcow2_view_map - say where a frozen disk has data
 * @instant: the instant
 * @offset: where to begin, in bytes
 * @end: where to end, at most; not behind the disk's end
 * @result: what is there, a word a run: its length in bytes, and "d" for data or "z" for zeroes;
 *	ends before @end when it is full
 * @maxlen: its size
 *
 * Sleeps. Return: 1, or a negative errno: -EIO also when the instant does not last any more.
 */
int qcow2_view_map(struct qcow2_instant *instant, u64 offset, u64 end, char *result,
		   unsigned int maxlen);

/**
 * qcow2_view_use_bitmap - what a bitmap of a frozen disk says has changed is in a backup
 * @instant: the instant
 * @name: of the bitmap
 *
 * From here on the bitmap says what has changed since the instant. Sleeps. Return: 0; -ENOENT when
 * there is no such bitmap; -ENODATA when the instant is over: then it says what it would have
 * without that.
 */
int qcow2_view_use_bitmap(struct qcow2_instant *instant, const char *name);

#endif /* DM_QCOW2_VIEW_H */
