/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Something that a thread is to do, or that waits for space first.
 */
#ifndef DM_QCOW2_WORK_H
#define DM_QCOW2_WORK_H

#include <linux/list.h>
#include <linux/types.h>

/**
 * struct qcow2_work - something for the slow pool to do
 * @node: in the queue of the pool, or among those who wait for space
 * @fn: called by a thread of the pool; owns the work from then on
 * @is_write: it may write to the image
 * @err: why its wait for space ended without any; 0 else
 */
struct qcow2_work {
	struct list_head node;
	void (*fn)(struct qcow2_work *work);
	bool is_write;
	int err;
};

#endif /* DM_QCOW2_WORK_H */
