/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The header extensions: a list behind the header, up to the backing file's name or
 * the end of the first cluster.
 *
 *	| header | type, length | data, padded to 8 bytes | type, length | ... | 0, 0 |
 *
 * Only that of bitmaps is of use here; what QEMU would refuse is refused, and the rest is left
 * as it is, byte for byte. Pure, and builds in user space, too.
 */
#ifndef DM_QCOW2_HEADER_EXT_H
#define DM_QCOW2_HEADER_EXT_H

#include "header.h"

/* What qcow2_header_ext_check() has to see of an extension to get on. */
#define QCOW2_HEADER_EXT_WINDOW \
	(sizeof(struct qcow2_disk_ext) + sizeof(struct qcow2_disk_ext_bitmaps))

/**
 * qcow2_header_ext_end - where the extensions end at the latest
 * @h: a parsed header
 *
 * Return: a host offset in the first cluster, or its end.
 */
static inline u64 qcow2_header_ext_end(const struct qcow2_header *h)
{
	return h->backing_offset ?: BIT_ULL(h->cluster_bits);
}

/**
 * qcow2_header_ext_check - check the extensions that a piece of the image holds
 * @h: a parsed header; where the bitmaps are is filled in
 * @base: host offset of the piece
 * @buf: the piece
 * @len: its length; at least QCOW2_HEADER_EXT_WINDOW behind @next, or to the end of
 *	the extensions
 * @next: host offset of the next extension, at first the length of the header; at
 *	least @base. Moved on: qcow2_header_ext_end() or more when there is none.
 * @why: set to a sentence on failure; a static string
 *
 * Section "Header extensions" of the specification, with QEMU's limits.
 *
 * Return: 0 or -EUCLEAN.
 */
int __must_check qcow2_header_ext_check(struct qcow2_header *h, u64 base,
					const void *buf, size_t len, u64 *next,
					const char **why);

#endif /* DM_QCOW2_HEADER_EXT_H */
