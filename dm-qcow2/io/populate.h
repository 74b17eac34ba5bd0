/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The top gets what is below it, while the disk is in use.
 */
#ifndef DM_QCOW2_POPULATE_H
#define DM_QCOW2_POPULATE_H

#include <linux/types.h>

struct qcow2_dev;

/* Copied by one call if nothing else is said, and at most. */
#define QCOW2_POPULATE_BYTES		(16ULL << 20)
#define QCOW2_POPULATE_MAX_BYTES	(256ULL << 20)

/**
 * qcow2_populate - copy into holes of the top what they show of the images below
 * @dev: the mapped device
 * @start: where to begin
 * @end: where to end
 * @max_bytes: how much is to be copied at most, to the end of a cluster
 * @next: set to where it is to go on
 * @copied: set to how much was copied
 *
 * What reads as zero stays a hole. No bitmap records it, as nothing changes. The copies are in the
 * cache when it returns: the next flush makes them durable. It ends early for a signal or a suspend, and
 * when it has looked at much.
 *
 * Sleeps for I/O. Return: 0 when anything was done; else -EBUSY when the disk is frozen; -EAGAIN when it is
 * suspended, or about to be; -EOPNOTSUPP when its data is in a data file; -EROFS; -ENOSPC when the
 * host is full: nothing waits for space; -EINTR; -ENOMEM; -EIO or another errno of what could not be read.
 */
int qcow2_populate(struct qcow2_dev *dev, u64 start, u64 end, u64 max_bytes, u64 *next,
		   u64 *copied);

#endif /* DM_QCOW2_POPULATE_H */
