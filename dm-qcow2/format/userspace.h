/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel names that header.c, header-ext.c, bitmap-entry.c, geometry.h, l2-entry.h, refcount-entry.h,
 * compressed-entry.h and table.c use, so that the same files build in user space for the tools, the unit tests
 * and the fuzzers. In the kernel this is only a list of includes.
 */
#ifndef DM_QCOW2_USERSPACE_H
#define DM_QCOW2_USERSPACE_H

#ifdef __KERNEL__

#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/math.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/types.h>

#include <asm/byteorder.h>

#else

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define be16_to_cpu(x) be16toh((uint16_t)(x))
#define be32_to_cpu(x) be32toh((uint32_t)(x))
#define be64_to_cpu(x) be64toh((uint64_t)(x))
#define cpu_to_be16(x) ((__be16)htobe16(x))
#define cpu_to_be32(x) ((__be32)htobe32(x))
#define cpu_to_be64(x) ((__be64)htobe64(x))

#define BIT_ULL(n) (1ULL << (n))
#define __ffs(x) ((unsigned long)__builtin_ctzl(x))
#define U32_MAX UINT32_MAX
#define S64_MAX INT64_MAX
#define round_up(x, y) ((((x) - 1) | ((__typeof__(x))(y) - 1)) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))(y) - 1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define check_add_overflow(a, b, d) __builtin_add_overflow(a, b, d)
#define __packed __attribute__((__packed__))
#define __must_check __attribute__((__warn_unused_result__))

#ifndef static_assert
#define static_assert _Static_assert
#endif

#endif /* __KERNEL__ */
#endif /* DM_QCOW2_USERSPACE_H */
