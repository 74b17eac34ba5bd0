// SPDX-License-Identifier: GPL-2.0-only
/*
 * Feeds dm-qcow2/format/header.c and header-ext.c with the first bytes of images.
 *
 * With libFuzzer, LLVMFuzzerTestOneInput is all there is. Without it, main() changes headers that are right at
 * random, from a seed that it prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dm-qcow2/format/geometry.h"
#include "dm-qcow2/format/header-ext.h"

#define MAX_INPUT	4096
#define FILE_BYTES	(1ULL << 40)

/* As small as the extensions and their alignment allow: that is where mistakes would show. */
#define PIECE		64

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void require(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "qcow2-header-fuzz: violated: %s\n", what);
	abort();
}

/* What others compute with, they may. */
static void check_promises(const struct qcow2_header *h)
{
	struct qcow2_geometry g;

	qcow2_geometry_init(&g, h);
	require(g.cluster_bits >= 9 && g.cluster_bits <= 21, "cluster size");
	require(g.page_bits <= g.cluster_bits && g.refblock_bits < 32, "shifts");
	require(h->size <= (u64)h->l1_size << (2 * h->cluster_bits - 3), "all of the disk has L1 entries");
	/* Without entries it is nowhere: the disk has no bytes, which is refused later. */
	require(!h->l1_size || h->l1_offset + 8ULL * h->l1_size <= FILE_BYTES, "L1 table");
	require(h->reftable_offset + ((u64)h->reftable_clusters << h->cluster_bits) <= FILE_BYTES,
		"refcount table");
	require(h->compression <= QCOW2_COMPRESSION_ZSTD, "compression");
	require(h->length <= BIT_ULL(h->cluster_bits) && qcow2_header_ext_end(h) <= BIT_ULL(h->cluster_bits),
		"extensions are in the first cluster");
}

/* A piece of the image in memory of its own, for the sanitizer: zeroes behind its end. */
static void *piece_of(const u8 *data, size_t size, u64 base, size_t len)
{
	u8 *piece = calloc(1, len);

	if (!piece)
		abort();
	if (base < size)
		memcpy(piece, data + base, min(len, size - base));
	return piece;
}

/* @align, @piece: how it is read. */
static int walk(struct qcow2_header *h, const u8 *data, size_t size, u32 align, u32 piece)
{
	u64 base, before, next = h->length, end = qcow2_header_ext_end(h);
	const char *why = NULL;
	void *buf;
	int err = 0;

	while (next < end && !err) {
		base = round_down(next, align);
		before = next;
		buf = piece_of(data, size, base, piece);
		err = qcow2_header_ext_check(h, base, buf, piece, &next, &why);
		free(buf);
		require(err ? err == -EUCLEAN && why : next > before, "it gets on, or says why not");
	}
	return err;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	size_t len = min(size, (size_t)QCOW2_HEADER_BYTES);
	struct qcow2_header h;
	const char *why = NULL;
	void *front = piece_of(data, size, 0, len ? len : 1);
	int err = qcow2_header_parse(front, len, &h, &why);

	free(front);
	require(!err || why, "a reason");
	if (err || qcow2_header_verify(&h, FILE_BYTES, &why))
		return 0;
	check_promises(&h);
	for (int writable = 0; writable < 2; writable++)
		if (qcow2_header_supported(&h, writable, &why))
			require(why && *why, "a reason");
	/* A large cluster in small pieces takes long, and shows nothing that a small one does not. */
	if (h.cluster_bits <= 12)
		require(walk(&h, data, size, 8, PIECE) == walk(&h, data, size, 512, MAX_INPUT),
			"pieces make no difference");
	return 0;
}

#ifndef LIBFUZZER

static void put_be32(u8 *at, u32 value)
{
	__be32 be = cpu_to_be32(value);

	memcpy(at, &be, sizeof(be));
}

static u64 random_value(void)
{
	static const u64 edges[] = { 0, 1, 8, 24, 512, 4096, 65536, 1ULL << 31, 1ULL << 32, 1ULL << 56, 1ULL << 63 };
	u64 value = edges[random() % (sizeof(edges) / sizeof(*edges))];

	return value + random() % 3 - 1;
}

static void make_header(u8 *data)
{
	struct qcow2_disk_header d = {
		.magic = cpu_to_be32(QCOW2_MAGIC),
		.version = cpu_to_be32(2 + random() % 2),
		.cluster_bits = cpu_to_be32(9 + random() % 5),
		.size = cpu_to_be64(1 << 20),
		.l1_size = cpu_to_be32(64),
		.l1_table_offset = cpu_to_be64(3 << 20),
		.refcount_table_offset = cpu_to_be64(1 << 20),
		.refcount_table_clusters = cpu_to_be32(1),
		.autoclear_features = cpu_to_be64(random() % 2),
		.refcount_order = cpu_to_be32(4),
		.header_length = cpu_to_be32(random() % 2 ? QCOW2_V3_HEADER_BYTES : QCOW2_HEADER_BYTES),
	};

	memset(data, 0, MAX_INPUT);
	memcpy(data, &d, sizeof(d));
}

static void add_extensions(u8 *data)
{
	static const u32 types[] = {
		QCOW2_EXT_END, QCOW2_EXT_BACKING_FORMAT, QCOW2_EXT_CRYPTO, QCOW2_EXT_BITMAPS, 0x6803f857, 0x44415441, 7,
	};
	u32 at = random() % 3 ? QCOW2_HEADER_BYTES : QCOW2_V2_HEADER_BYTES;
	u32 bytes;

	for (int n = random() % 8; n > 0 && at < 480; n--) {
		bytes = random() % 4 ? (u32)random() % 32 : (u32)random_value();
		put_be32(data + at, types[random() % 7]);
		put_be32(data + at + 4, bytes);
		at += 8 + (min(bytes, 256U) + 7) / 8 * 8;
	}
}

static void spoil(u8 *data)
{
	__be64 value = cpu_to_be64(random_value());

	if (random() % 2)
		memcpy(data + random() % 104, &value, random() % 2 ? 4 : 8);
	else
		data[random() % 160] = random();
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 100000;
	unsigned int seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	u8 data[MAX_INPUT];

	printf("%lu headers, seed %u\n", count, seed);
	srandom(seed);
	while (count--) {
		make_header(data);
		add_extensions(data);
		for (int n = random() % 4; n > 0; n--)
			spoil(data);
		LLVMFuzzerTestOneInput(data, random() % 4 ? MAX_INPUT : random() % MAX_INPUT);
	}
	return 0;
}

#endif
