/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of a bio on the hot path.
 */
#ifndef DM_QCOW2_BIO_H
#define DM_QCOW2_BIO_H

#include <linux/blk_types.h>

struct bio;
struct dm_target;
struct qcow2_dev;
struct qcow2_instant;

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

/**
 * qcow2_bio_map_instant - .map of a device that shows an instant
 * @dev: the image
 * @instant: what is to be read
 * @bio: the read; of its per-bio data the run is initialised, and its @srcu_idx -1
 * @srcu_idx: a read section of qcow2_image.inflight; taken over
 *
 * Return: DM_MAPIO_*.
 */
int qcow2_bio_map_instant(struct qcow2_dev *dev, struct qcow2_instant *instant, struct bio *bio,
			  int srcu_idx);

#endif /* DM_QCOW2_BIO_H */
