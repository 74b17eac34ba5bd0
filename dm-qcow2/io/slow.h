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

#include "space/work.h"

struct qcow2_dev;

#define QCOW2_SLOW_THREADS	8
/* Of them; writes may wait for a thaw, or for a host that hangs, and reads go on. */
#define QCOW2_SLOW_WRITERS	6

/**
 * struct qcow2_slow_pool - the threads of one image
 * @lock: protects the next three; taken in interrupts
 * @queues: struct qcow2_work, first in first out: reads, and writes
 * @nr_writers: threads that are at a write
 * @after_write: the last work taken was a write: a read is next, if there is any
 * @wait: idle threads
 * @threads: the threads, NULL where there is none
 * @busy: requests that the pool has not completed, parked ones too
 * @idle: woken when @busy drops to zero
 */
struct qcow2_slow_pool {
	spinlock_t lock;
	struct list_head queues[2];
	unsigned int nr_writers;
	bool after_write;
	wait_queue_head_t wait;
	struct task_struct *threads[QCOW2_SLOW_THREADS];
	atomic_t busy;
	wait_queue_head_t idle;
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
