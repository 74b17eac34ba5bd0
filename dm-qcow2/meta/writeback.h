/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing dirty metadata pages from stable snapshots.
 */
#ifndef DM_QCOW2_WRITEBACK_H
#define DM_QCOW2_WRITEBACK_H

#include <linux/list.h>

#include "file/file.h"

#include "cache.h"

#define QCOW2_WRITEBACK_PAGES	32

/**
 * struct qcow2_writeback - buffers and state of one writer of pages
 * @vec: one snapshot each
 * @nr_bufs: how many of them have memory; one at least
 * @pages: pages written since qcow2_writeback_end(), with a reference
 * @data_durable: copied data up to this sequence number is durable
 *
 * Used by one thread at a time.
 */
struct qcow2_writeback {
	struct qcow2_iovec vec[QCOW2_WRITEBACK_PAGES];
	unsigned int nr_bufs;
	struct list_head pages;
	u64 data_durable;
};

int __must_check qcow2_writeback_init(struct qcow2_writeback *wb,
				      const struct qcow2_geometry *g);
void qcow2_writeback_exit(struct qcow2_writeback *wb);

/**
 * qcow2_writeback_room - have memory for as many snapshots as possible
 * @wb: the caller's buffers
 *
 * Return: how many; an image that is not written to has one.
 */
unsigned int qcow2_writeback_room(struct qcow2_writeback *wb);

/**
 * qcow2_writeback_rest - give memory back: little is going to be written
 * @wb: buffers that nobody uses
 */
void qcow2_writeback_rest(struct qcow2_writeback *wb);

/**
 * qcow2_writeback_kind - write all dirty pages of one kind
 * @img: the image
 * @wb: the caller's buffers
 * @kind: which pages
 *
 * Pages become clean but stay QCOW2_MPAGE_WRITEBACK until
 * qcow2_writeback_end(). Pages with entries that point at copied data are
 * written only after a barrier for that data. Any subset of the sectors written
 * may reach the disk in any order: every entry in a snapshot has its
 * prerequisites durable.
 *
 * Return: 0 or the first error.
 */
int __must_check qcow2_writeback_kind(struct qcow2_image *img, struct qcow2_writeback *wb,
				      enum qcow2_meta_kind kind);

/**
 * qcow2_writeback_write - write what is in the buffers
 * @img: the image
 * @wb: the caller's buffers
 * @count: how many of them
 *
 * While the host has no space it waits, for as long as a write may. Return: 0 or the first error.
 */
int __must_check qcow2_writeback_write(struct qcow2_image *img, struct qcow2_writeback *wb,
				       unsigned int count);

/**
 * qcow2_writeback_end - a barrier followed the writes, or failed
 * @img: the image
 * @wb: the caller's buffers
 * @err: 0 when the pages are durable; else they become dirty again
 */
void qcow2_writeback_end(struct qcow2_image *img, struct qcow2_writeback *wb, int err);

#endif /* DM_QCOW2_WRITEBACK_H */
