/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The limits that a mapped device has by its images.
 */
#ifndef DM_QCOW2_LIMITS_H
#define DM_QCOW2_LIMITS_H

#include <linux/types.h>

struct dm_target;
struct qcow2_dev;
struct queue_limits;

/**
 * qcow2_limits_set - .io_hints of the target
 * @ti: the target
 * @limits: of the devices that it is on; changed to what it takes
 */
void qcow2_limits_set(struct dm_target *ti, struct queue_limits *limits);

/**
 * qcow2_limits_fit - has the mapped device limits that suit?
 * @dev: the target
 *
 * dm lets a table without devices, one on files, keep the limits of the table before it.
 */
bool qcow2_limits_fit(const struct qcow2_dev *dev);

#endif /* DM_QCOW2_LIMITS_H */
