/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Refcounts of 1 to 64 bits in a refcount block (section "Host cluster
 * management"): big-endian, and below a byte the least significant bits first.
 *
 * Pure functions that build in user space, too. Those narrower than a byte share
 * bytes with their neighbours: the caller serialises.
 */
#ifndef DM_QCOW2_REFCOUNT_ENTRY_H
#define DM_QCOW2_REFCOUNT_ENTRY_H

#include "disk.h"

static inline u64 qcow2_refcount_max(unsigned int order)
{
	return order == 6 ? ~0ULL : BIT_ULL(1U << order) - 1;
}

static inline u64 qcow2_refcount_get(const void *table, unsigned int order, u32 slot)
{
	unsigned int width = 1U << order;
	unsigned int shift;

	switch (order) {
	case 6:
		return be64_to_cpu(((const __be64 *)table)[slot]);
	case 5:
		return be32_to_cpu(((const __be32 *)table)[slot]);
	case 4:
		return be16_to_cpu(((const __be16 *)table)[slot]);
	default:
		shift = (slot * width) & 7;
		return (((const u8 *)table)[slot * width / 8] >> shift) &
		       qcow2_refcount_max(order);
	}
}

static inline void qcow2_refcount_set(void *table, unsigned int order, u32 slot,
				      u64 value)
{
	unsigned int width = 1U << order;
	unsigned int shift;
	u8 *byte;

	switch (order) {
	case 6:
		((__be64 *)table)[slot] = cpu_to_be64(value);
		break;
	case 5:
		((__be32 *)table)[slot] = cpu_to_be32((u32)value);
		break;
	case 4:
		((__be16 *)table)[slot] = cpu_to_be16((u16)value);
		break;
	default:
		shift = (slot * width) & 7;
		byte = &((u8 *)table)[slot * width / 8];
		*byte = (u8)((*byte & ~(qcow2_refcount_max(order) << shift)) |
			     (value << shift));
	}
}

/**
 * qcow2_refcount_has_zero - is one of many refcounts 0?
 * @table: the refcounts
 * @order: log2 of their width in bits
 * @bytes: length of @table; a multiple of 8, not 0
 *
 * A word at a time: what borrows from above the lowest zero may be wrong, but then there is
 * that zero. The order of bytes in a refcount does not matter.
 */
static inline bool qcow2_refcount_has_zero(const void *table, unsigned int order, u32 bytes)
{
	u64 low = ~0ULL / qcow2_refcount_max(order);
	u64 high = low << ((1U << order) - 1);
	const u64 *word = table;
	const u64 *end = table + bytes;
	u64 zero = 0;

	for (; word < end; word++)
		zero |= (*word - low) & ~*word;
	return zero & high;
}

/**
 * qcow2_refcount_count_used - how many of many refcounts are not 0
 * @table: the refcounts
 * @order: log2 of their width in bits
 * @count: how many there are
 */
static inline u32 qcow2_refcount_count_used(const void *table, unsigned int order, u32 count)
{
	u32 used = 0;

	for (u32 slot = 0; slot < count; slot++)
		used += !!qcow2_refcount_get(table, order, slot);
	return used;
}

#endif /* DM_QCOW2_REFCOUNT_ENTRY_H */
