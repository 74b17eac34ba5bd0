/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of a bio on the hot path.
 */
#ifndef DM_QCOW2_BIO_H
#define DM_QCOW2_BIO_H

#include <linux/blk_types.h>

struct bio;
struct dm_target;

/**
 * qcow2_bio_map - .map of the target
 * @ti: the target; its @private is the struct qcow2_dev
 * @bio: a read, a write, an empty flush, a discard, or write-zeroes
 *
 * Any context that may submit a bio; never sleeps. Return: DM_MAPIO_*.
 */
int qcow2_bio_map(struct dm_target *ti, struct bio *bio);

/**
 * qcow2_bio_end_io - .end_io of the target
 * @ti: the target
 * @bio: one that qcow2_bio_map() has had
 * @error: how it ended
 *
 * Any context. Return: DM_ENDIO_*.
 */
int qcow2_bio_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error);

#endif /* DM_QCOW2_BIO_H */
