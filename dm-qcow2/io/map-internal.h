/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What looking up standard and extended entries has in common.
 */
#ifndef DM_QCOW2_MAP_INTERNAL_H
#define DM_QCOW2_MAP_INTERNAL_H

#include "format/compressed-entry.h"
#include "meta/meta.h"

#include "map.h"

static inline bool is_inside(const struct qcow2_image *img, u64 host_off, u64 bytes)
{
	u64 limit = READ_ONCE(img->data_end);

	return bytes <= limit && host_off <= limit - bytes;
}

static inline int check_inside(struct qcow2_image *img, u64 host_off, u64 bytes)
{
	if (likely(is_inside(img, host_off, bytes)))
		return 0;
	return qcow2_bad_metadata(img, "data cluster outside of the image", host_off);
}

static inline int check_shared_table(struct qcow2_image *img, struct qcow2_mpage *p, bool is_write)
{
	if (unlikely(is_write && test_bit(QCOW2_MPAGE_SHARED, &p->flags)))
		return qcow2_bad_metadata(img, "L2 table is shared", p->host_off);
	return 0;
}

/* The clusters that a copy lets go of; a stream may end behind the end of the file. */
static inline int check_compressed(struct qcow2_image *img, u64 entry)
{
	u64 first = qcow2_compressed_first_cluster(&img->geo, entry);
	u32 count = qcow2_compressed_clusters(&img->geo, entry);

	/* A device may end inside the last one. */
	return check_inside(img, (first + count - 1) << img->geo.cluster_bits, SECTOR_SIZE);
}

/* Clusters of this page that a request covers. */
static inline u32 clusters_in_page(const struct qcow2_image *img, u64 guest_off, u32 bytes)
{
	u64 in_cluster = qcow2_in_cluster(&img->geo, guest_off);
	u64 clusters = (in_cluster + bytes + qcow2_cluster_bytes(&img->geo) - 1) >>
		       img->geo.cluster_bits;

	return min_t(u64, clusters, BIT_ULL(img->geo.l2_page_bits) -
				    qcow2_l2_slot(&img->geo, guest_off));
}

/**
 * qcow2_map_check_cluster - the check of map.c for one cluster that may be a table
 * @img: the image
 * @cluster: the host cluster
 *
 * Return: 0; QCOW2_MAP_MISS when it is not known; -EUCLEAN when it is one.
 */
int qcow2_map_check_cluster(struct qcow2_image *img, u64 cluster);

/**
 * qcow2_map_is_redirected - whether data of the top's own is not to be written in place
 * @img: the image, while something is frozen or that ends
 * @p: the L2 page
 * @guest_off: in the cluster
 * @e: its entry
 */
bool qcow2_map_is_redirected(struct qcow2_image *img, const struct qcow2_mpage *p, u64 guest_off,
			     struct qcow2_l2_entry e);

/* Whether an L2 page is not in the cache any more; without a reference to it that may be so. */
bool qcow2_map_is_evicted(struct qcow2_image *img, const struct qcow2_mpage *p);

/* What is written in place must not be metadata. */
static inline int check_write(struct qcow2_image *img, u64 host_off, u64 bytes)
{
	u64 cluster = host_off >> img->geo.cluster_bits;
	u64 last = (host_off + bytes - 1) >> img->geo.cluster_bits;
	int err;

	for (; cluster <= last; cluster++) {
		if (likely(!qcow2_may_be_table(&img->cache, cluster)))
			continue;
		err = qcow2_map_check_cluster(img, cluster);
		if (err)
			return err;
	}
	return 0;
}

/* map-subclusters.c: as the functions of map.h, for an image with subclusters */

int qcow2_map_subclusters(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, u32 bytes,
			  bool is_write, struct qcow2_mapping *m);

/**
 * qcow2_map_again - look at entries once more
 * @img: the image
 * @p: the L2 page
 * @guest_off: start of the run
 * @result: of qcow2_map_subclusters() for a read
 * @m: as that left it
 *
 * Return: how many of its bytes are to be treated as that has said.
 */
u32 qcow2_map_again(struct qcow2_image *img, struct qcow2_mpage *p, u64 guest_off, int result,
		    const struct qcow2_mapping *m);

/**
 * qcow2_map_write_subclusters - a write to what shows what is below
 * @img: the image
 * @guest_off: start of the write
 * @m: of qcow2_map_subclusters() for QCOW2_MAP_BELOW
 *
 * Return: QCOW2_MAP_FILL, QCOW2_MAP_ALLOCATE, QCOW2_MAP_LOAD, or -EIO.
 */
int qcow2_map_write_subclusters(struct qcow2_image *img, u64 guest_off, struct qcow2_mapping *m);

/**
 * qcow2_count_fresh - entries that a write may give clusters that read as zero
 * @img: the image
 * @p: the L2 page, with its lock held
 * @slot: the first one
 * @want: how many at most
 */
u32 qcow2_count_fresh(const struct qcow2_image *img, const struct qcow2_mpage *p, u32 slot,
		      u32 want);

#endif /* DM_QCOW2_MAP_INTERNAL_H */
