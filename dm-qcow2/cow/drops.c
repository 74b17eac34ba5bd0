// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an entry lets go of when it is changed.
 */
#include <linux/slab.h>

#include "drops.h"

u32 qcow2_entry_clusters(const struct qcow2_image *img, u64 entry, u64 *first)
{
	*first = 0;
	if (img->geo.has_data_file)
		return 0;
	if (entry & QCOW2_OFLAG_COMPRESSED) {
		*first = qcow2_compressed_first_cluster(&img->geo, entry);
		return qcow2_compressed_clusters(&img->geo, entry);
	}
	*first = qcow2_entry_offset(entry) >> img->geo.cluster_bits;
	return *first ? 1 : 0;
}

bool qcow2_drops_alloc(struct qcow2_drops *drops, const struct qcow2_image *img, u64 entry,
		       gfp_t gfp)
{
	u64 first;
	u32 count = qcow2_entry_clusters(img, entry, &first);

	*drops = (struct qcow2_drops) {};
	for (u32 i = 0; i < count; i++) {
		drops->d[i] = kmalloc(sizeof(*drops->d[i]), gfp);
		if (!drops->d[i]) {
			qcow2_drops_free(drops);
			return false;
		}
	}
	return true;
}

void qcow2_drops_free(struct qcow2_drops *drops)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(drops->d); i++)
		kfree(drops->d[i]);
}

void qcow2_drops_use(struct qcow2_drops *drops, struct qcow2_image *img, u64 entry)
{
	u64 first, commit = qcow2_commit_next(img);
	u32 count = qcow2_entry_clusters(img, entry, &first);

	for (u32 i = 0; i < count; i++) {
		qcow2_drop(img, drops->d[i], (first + i) << img->geo.cluster_bits, commit);
		drops->d[i] = NULL;
	}
}
