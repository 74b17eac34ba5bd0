/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an entry lets go of when it is changed.
 */
#ifndef DM_QCOW2_DROPS_H
#define DM_QCOW2_DROPS_H

#include "format/compressed-entry.h"
#include "space/space.h"

/**
 * struct qcow2_drops - memory for all clusters that one entry points at
 * @d: NULL where there is none
 *
 * It is had before the entry is changed: nothing may fail from then on.
 */
struct qcow2_drops {
	struct qcow2_dropped *d[QCOW2_MAX_COMPRESSED_CLUSTERS];
};

/**
 * qcow2_entry_clusters - host clusters that have an entry in their refcount
 * @img: the image
 * @entry: the entry, of any type
 * @first: set to the first one; a compressed cluster may touch several
 *
 * Return: how many; none that are in a data file.
 */
u32 qcow2_entry_clusters(const struct qcow2_image *img, u64 entry, u64 *first);

/**
 * qcow2_drops_alloc - be able to drop what an entry points at
 * @drops: filled in
 * @img: the image
 * @entry: the entry, of any type
 * @gfp: how to allocate
 *
 * Return: false without memory.
 */
bool qcow2_drops_alloc(struct qcow2_drops *drops, const struct qcow2_image *img, u64 entry,
		       gfp_t gfp);
void qcow2_drops_free(struct qcow2_drops *drops);

/**
 * qcow2_drops_use - the entry has been changed
 * @drops: from qcow2_drops_alloc() for the same entry; has nothing left
 * @img: the image
 * @entry: what the entry was
 */
void qcow2_drops_use(struct qcow2_drops *drops, struct qcow2_image *img, u64 entry);

#endif /* DM_QCOW2_DROPS_H */
