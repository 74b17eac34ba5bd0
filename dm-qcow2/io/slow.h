/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The slow pool: threads that load metadata, allocate, copy, and call the file
 * system where it may block.
 */
#ifndef DM_QCOW2_SLOW_H
#define DM_QCOW2_SLOW_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "space/work.h"

struct qcow2_dev;

/* The most, and those that are always there: one for writes, and one that none takes. */
#define QCOW2_SLOW_THREADS	8U
#define QCOW2_SLOW_MIN_THREADS	2U
/*
 * At writes, and never all that there are: they may wait for a thaw, or for a host that hangs, and
 * reads go on.
 */
#define QCOW2_SLOW_WRITERS	6U

/**
 * struct qcow2_slow_pool - the threads of one image
 * @lock: protects all up to @idle; taken in interrupts
 * @queues: struct qcow2_work, first in first out: reads, and writes
 * @nr_writers: threads that are at a write
 * @after_write: the last work taken was a write: a read is next, if there is any
 * @nr_threads: how many there are
 * @threads: the threads
 * @idle: those that wait for work, the last one to have worked first
 * @grow_work: make a thread, if there is work that waits still
 * @shrink_work: end threads that have been idle for long; pending when there are more than
 *	QCOW2_SLOW_MIN_THREADS
 * @busy: requests that the pool has not completed, parked ones too
 * @drained: woken when @busy drops to zero
 */
struct qcow2_slow_pool {
	spinlock_t lock;
	struct list_head queues[2];
	unsigned int nr_writers;
	bool after_write;
	unsigned int nr_threads;
	struct list_head threads;
	struct list_head idle;
	struct delayed_work grow_work;
	struct delayed_work shrink_work;
	atomic_t busy;
	wait_queue_head_t drained;
};

int __must_check qcow2_slow_init(struct qcow2_dev *dev);
void qcow2_slow_exit(struct qcow2_dev *dev);

/**
 * qcow2_slow_queue - hand work to the pool
 * @dev: the image
 * @work: the work; @work->is_write may be read until it is done
 *
 * Any context.
 */
void qcow2_slow_queue(struct qcow2_dev *dev, struct qcow2_work *work);

/**
 * qcow2_slow_done - a request that the pool took is complete
 * @dev: the image
 *
 * Any context. The image may be gone when this returns.
 */
void qcow2_slow_done(struct qcow2_dev *dev);

/**
 * qcow2_slow_drain - wait until no request is left in the pool
 * @dev: the image; nobody submits new ones
 */
void qcow2_slow_drain(struct qcow2_dev *dev);

#endif /* DM_QCOW2_SLOW_H */
