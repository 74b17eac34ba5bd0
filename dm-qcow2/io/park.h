/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes that wait for the host, and hold no thread meanwhile.
 */
#ifndef DM_QCOW2_PARK_H
#define DM_QCOW2_PARK_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct qcow2_dev;
struct qcow2_work;

/**
 * struct qcow2_park - writes that wait for the host
 * @lock: protects the lists and @nr_in_place
 * @in_place: struct qcow2_work of requests that found no space to write in place; in no
 *	read section
 * @nr_in_place: their number
 * @has_space: one of them has found some since @look_work last ran
 * @look_work: lets them try again
 * @frozen: struct qcow2_work of runs that wait for the file system's thaw; in a read
 *	section of qcow2_image.inflight
 * @thaw_work: looks whether it is thawed
 */
struct qcow2_park {
	spinlock_t lock;
	struct list_head in_place;
	unsigned int nr_in_place;
	bool has_space;
	struct delayed_work look_work;
	struct list_head frozen;
	struct delayed_work thaw_work;
};

void qcow2_park_init(struct qcow2_dev *dev);

/**
 * qcow2_park_exit - stop looking
 * @dev: the image; nothing is parked
 */
void qcow2_park_exit(struct qcow2_dev *dev);

/**
 * qcow2_park_in_place - a write in place found no space
 * @dev: the image
 * @work: of its request, to be queued again in a second, or when the policy changes
 *
 * Slow pool. Return: 0 when it is parked; -ENOSPC when it is not to wait; -EIO when the image has
 * failed.
 */
int __must_check qcow2_park_in_place(struct qcow2_dev *dev, struct qcow2_work *work);

/**
 * qcow2_park_found_space - a write in place has succeeded that may have needed space
 * @dev: the image
 *
 * Any context.
 */
void qcow2_park_found_space(struct qcow2_dev *dev);

/**
 * qcow2_park_release - let those that wait for space to write in place try again
 * @dev: the image
 */
void qcow2_park_release(struct qcow2_dev *dev);

/**
 * qcow2_park_frozen - a write found the file system frozen
 * @dev: the image
 * @work: of its run, to be queued again after the thaw
 */
void qcow2_park_frozen(struct qcow2_dev *dev, struct qcow2_work *work);

#endif /* DM_QCOW2_PARK_H */
