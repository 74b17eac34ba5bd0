// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether an image has compressed clusters: a look at its L2 tables.
 *
 * It costs no more than a moment on an image of any size: of the tables that there are,
 * so many are read as fit into MAX_BYTES, spread over the disk. That is all of them up
 * to 128 GiB with clusters of 64 KiB. An image is rarely compressed in a few places only.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compressed.h"
#include "dm-qcow2/format/header.h"

#define MAX_BYTES	(16U << 20)

/* Enough for direct I/O on any device. */
#define DIRECT_ALIGN	4096U

/* A table, in memory of its own; zeroes where it cannot be read. NULL: no memory. */
static __be64 *read_table(int fd, uint64_t offset, size_t bytes)
{
	size_t size = round_up(bytes, DIRECT_ALIGN);
	uint64_t base = round_down(offset, DIRECT_ALIGN);
	size_t skip = offset - base;
	void *buf;

	if (posix_memalign(&buf, DIRECT_ALIGN, size + DIRECT_ALIGN))
		return NULL;
	memset(buf, 0, size + DIRECT_ALIGN);
	if (pread(fd, buf, size + (skip ? DIRECT_ALIGN : 0), base) < 0)
		memset(buf, 0, size + DIRECT_ALIGN);
	return memmove(buf, (char *)buf + skip, bytes);
}

static bool table_has_compressed(int fd, uint64_t offset, size_t bytes)
{
	__be64 *table = read_table(fd, offset, bytes);
	bool found = false;

	for (size_t i = 0; table && i < bytes / QCOW2_ENTRY_BYTES && !found; i++)
		found = be64_to_cpu(table[i]) & QCOW2_OFLAG_COMPRESSED;
	free(table);
	return found;
}

static uint64_t l2_offset(const __be64 *l1, size_t i)
{
	return be64_to_cpu(l1[i]) & QCOW2_OFFSET_MASK;
}

/**
 * compressed_found() - does an image have compressed clusters?
 * @fd: the image, open for direct I/O
 * @h: its header, which was verified
 *
 * Return: true if there are some; false if none was seen.
 */
bool compressed_found(int fd, const struct qcow2_header *h)
{
	size_t cluster_bytes = BIT_ULL(h->cluster_bits);
	size_t entries = min(h->l1_size, MAX_BYTES / QCOW2_ENTRY_BYTES);
	__be64 *l1 = read_table(fd, h->l1_offset, entries * QCOW2_ENTRY_BYTES);
	size_t max_tables = MAX_BYTES / cluster_bytes;
	size_t tables = 0, stride, nth = 0;
	bool found = false;

	for (size_t i = 0; l1 && i < entries; i++)
		tables += l2_offset(l1, i) != 0;
	stride = (tables + max_tables - 1) / max_tables;
	for (size_t i = 0; l1 && i < entries && !found; i++)
		if (l2_offset(l1, i) && nth++ % stride == 0)
			found = table_has_compressed(fd, l2_offset(l1, i), cluster_bytes);
	free(l1);
	return found;
}
