/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Discards and write-zeroes.
 */
#ifndef DM_QCOW2_DISCARD_H
#define DM_QCOW2_DISCARD_H

#include <linux/blk_types.h>

struct qcow2_dev;

/**
 * qcow2_offers_discard - whether discards are taken
 * @dev: the mapped device; its image is open
 */
bool qcow2_offers_discard(const struct qcow2_dev *dev);

/**
 * qcow2_offers_zeroes - whether write-zeroes is more than writing zeroes
 * @dev: the mapped device; its image is open
 */
bool qcow2_offers_zeroes(const struct qcow2_dev *dev);

/**
 * qcow2_discard_map - begin a discard or write-zeroes
 * @dev: the mapped device, which offers it
 * @bio: a bio of dm's
 *
 * Any context; never sleeps. Return: DM_MAPIO_*.
 */
int qcow2_discard_map(struct qcow2_dev *dev, struct bio *bio);

#endif /* DM_QCOW2_DISCARD_H */
