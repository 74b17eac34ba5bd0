/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pace of discards while others use the device.
 */
#ifndef DM_QCOW2_PACE_H
#define DM_QCOW2_PACE_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/spinlock.h>

struct qcow2_dev;
struct qcow2_work;

/**
 * struct qcow2_pace - when the next step may be taken
 * @lock: protects the rest
 * @rests_until: nanoseconds of the monotonic clock
 * @nr_others: reads and writes that had ended when they were counted last
 * @counted_at: jiffies when that was
 * @shared_until: jiffies until which others are taken to be at work
 * @has_zeroed: there were steps of write-zeroes, which count as writes; without the lock
 * @waiting: struct qcow2_work of requests that rest, in the order they came
 * @timer: started while there are any
 */
struct qcow2_pace {
	spinlock_t lock;
	u64 rests_until;
	u64 nr_others;
	unsigned long counted_at;
	unsigned long shared_until;
	bool has_zeroed;
	struct list_head waiting;
	struct hrtimer timer;
};

void qcow2_pace_init(struct qcow2_dev *dev);

/**
 * qcow2_pace_exit - stop the timer
 * @dev: the device; nothing rests
 */
void qcow2_pace_exit(struct qcow2_dev *dev);

/**
 * qcow2_pace_release - nobody rests any more
 * @dev: the device, which is about to be suspended
 *
 * Until it runs again nobody does. Any context.
 */
void qcow2_pace_release(struct qcow2_dev *dev);

/**
 * qcow2_pace_rest - put off the next step while it is others' turn
 * @dev: the device
 * @work: of the request, in no read section; queued again when it may go on
 *
 * Whatever others do, it is queued again after some time. Any context.
 *
 * Return: false if the step may be taken now.
 */
bool qcow2_pace_rest(struct qcow2_dev *dev, struct qcow2_work *work);

/**
 * qcow2_pace_took - a step has been taken
 * @dev: the device
 * @begun: when it began, in nanoseconds of the monotonic clock
 *
 * Any context.
 */
void qcow2_pace_took(struct qcow2_dev *dev, u64 begun);

#endif /* DM_QCOW2_PACE_H */
