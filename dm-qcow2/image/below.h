/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading what is below the top of a chain into memory.
 */
#ifndef DM_QCOW2_BELOW_H
#define DM_QCOW2_BELOW_H

#include <linux/types.h>

struct qcow2_base;
struct qcow2_batch;

/**
 * qcow2_below_read - start to read what the holes of the top show
 * @b: the batch
 * @base: the image below the top
 * @guest_off: start, a multiple of a sector
 * @buf: where it goes, by kmalloc
 * @bytes: length, a multiple of a sector
 *
 * Our own threads; sleeps for I/O on metadata. Return: 0, and then it is there when the batch has
 * ended well; or a negative errno.
 */
int __must_check qcow2_below_read(struct qcow2_batch *b, struct qcow2_base *base, u64 guest_off,
				  void *buf, u32 bytes);

#endif /* DM_QCOW2_BELOW_H */
