/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cache.c and load.c share.
 */
#ifndef DM_QCOW2_LOAD_H
#define DM_QCOW2_LOAD_H

#include "cache.h"

/* L1 and refcount table: where their pages are follows from the header alone. */
static inline bool qcow2_meta_is_fixed(enum qcow2_meta_kind kind)
{
	return kind == QCOW2_META_L1 || kind == QCOW2_META_REFTABLE;
}

bool qcow2_cache_evict(struct qcow2_image *img);
int __must_check qcow2_cache_insert(struct qcow2_image *img, struct qcow2_mpage *p);
int __must_check qcow2_cache_reserve(struct qcow2_image *img, enum qcow2_meta_kind kind,
				     u64 host_off);
int __must_check qcow2_cache_claim(struct qcow2_image *img, enum qcow2_meta_kind kind,
				   u64 table, u64 host_off);

#endif /* DM_QCOW2_LOAD_H */
