// SPDX-License-Identifier: GPL-2.0-only
/*
 * image-show header|map|compressed|refcounts IMAGE: what the parsers of dm-qcow2 make of an
 * image, for tests to compare with what QEMU says of it.
 *
 *	header		the fields of the header, as key=value
 *	map		each guest cluster that has a host cluster: guest offset, host
 *			offset, "data" or "shared"
 *	compressed	each compressed guest cluster: guest offset, host offset, bytes, and
 *			the host offset of each cluster that it touches
 *	refcounts	each host cluster with a refcount: host offset, refcount
 *
 * image-show judge IMAGE...: a line for each, "read-write", "read-only" or
 * "refused", and why
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dm-qcow2/format/compressed-entry.h"
#include "dm-qcow2/format/header-ext.h"
#include "dm-qcow2/format/refcount-entry.h"

struct image {
	int fd;
	struct qcow2_header h;
	struct qcow2_geometry g;
};

static void die(const char *why)
{
	fprintf(stderr, "image-show: %s\n", why);
	exit(1);
}

/* Read @bytes, zeroes behind the end of the file, into memory of the caller's. */
static void *read_at(const struct image *img, u64 off, size_t bytes)
{
	void *buf = calloc(1, bytes);

	if (!buf || pread(img->fd, buf, bytes, off) < 0)
		die("cannot read the image");
	return buf;
}

static u64 image_end(const struct image *img)
{
	return qcow2_image_end(img->h.cluster_bits, lseek(img->fd, 0, SEEK_END), true);
}

static void open_image(struct image *img, const char *path)
{
	const char *why;
	void *buf;

	img->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (img->fd < 0)
		die("cannot open the image");
	buf = read_at(img, 0, QCOW2_HEADER_BYTES);
	if (qcow2_header_parse(buf, QCOW2_HEADER_BYTES, &img->h, &why) ||
	    qcow2_header_verify(&img->h, image_end(img), &why))
		die(why);
	free(buf);
	qcow2_geometry_init(&img->g, &img->h);
}

static const char *yes_no(u64 bit)
{
	return bit ? "true" : "false";
}

static void show_header(const struct image *img)
{
	const struct qcow2_header *h = &img->h;

	printf("virtual-size=%" PRIu64 "\n", h->size);
	printf("cluster-size=%" PRIu64 "\n", qcow2_cluster_bytes(&img->g));
	printf("compat=%s\n", h->version == 2 ? "0.10" : "1.1");
	printf("refcount-bits=%u\n", 1U << h->refcount_order);
	printf("lazy-refcounts=%s\n", yes_no(h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS));
	printf("corrupt=%s\n", yes_no(h->incompatible & QCOW2_INCOMPAT_CORRUPT));
	printf("dirty-flag=%s\n", yes_no(h->incompatible & QCOW2_INCOMPAT_DIRTY));
	printf("extended-l2=%s\n", yes_no(h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2));
}

static u64 table_entry(const struct image *img, u64 table, u64 index)
{
	__be64 *entry = read_at(img, table + index * QCOW2_ENTRY_BYTES, sizeof(*entry));
	u64 value = be64_to_cpu(*entry);

	free(entry);
	return value;
}

/* The L2 entry of a guest cluster, or 0 where there is no table. */
static u64 l2_entry(const struct image *img, u64 guest_off)
{
	const struct qcow2_geometry *g = &img->g;
	u64 page = qcow2_l2_page(g, guest_off);
	u64 in_table = page & ((1ULL << qcow2_table_page_bits(g)) - 1);
	u64 l2 = qcow2_entry_offset(table_entry(img, g->l1_offset,
						page >> qcow2_table_page_bits(g)));

	/* The first word of an extended one. */
	return l2 ? table_entry(img, l2 + (in_table << g->page_bits),
				qcow2_l2_slot(g, guest_off) << qcow2_has_subclusters(g)) :
		    0;
}

static void show_mapping(const struct image *img, u64 guest_off)
{
	u64 entry = l2_entry(img, guest_off);
	enum qcow2_entry_type type = qcow2_entry_type(&img->g, entry);

	if (type == QCOW2_ENTRY_DATA || type == QCOW2_ENTRY_SHARED)
		printf("%" PRIu64 " %" PRIu64 " %s\n", guest_off, qcow2_entry_offset(entry),
		       type == QCOW2_ENTRY_DATA ? "data" : "shared");
	else if (type >= QCOW2_ENTRY_COMPRESSED)
		die("bad or compressed L2 entry");
}

static void show_compressed(const struct image *img, u64 guest_off)
{
	const struct qcow2_geometry *g = &img->g;
	u64 entry = l2_entry(img, guest_off);
	u64 first = qcow2_compressed_first_cluster(g, entry);

	if (qcow2_entry_type(g, entry) != QCOW2_ENTRY_COMPRESSED)
		return;
	printf("%" PRIu64 " %" PRIu64 " %" PRIu32, guest_off, qcow2_compressed_offset(g, entry),
	       qcow2_compressed_bytes(g, entry));
	for (u32 i = 0; i < qcow2_compressed_clusters(g, entry); i++)
		printf(" %" PRIu64, (first + i) << g->cluster_bits);
	printf("\n");
}

static void show_clusters(const struct image *img,
			  void (*show)(const struct image *img, u64 guest_off))
{
	for (u64 off = 0; off < img->g.size; off += qcow2_cluster_bytes(&img->g))
		show(img, off);
}

static void show_block(const struct image *img, u64 first_cluster, u64 block)
{
	void *refcounts = read_at(img, block, qcow2_cluster_bytes(&img->g));
	u64 refcount;

	for (u32 i = 0; i < 1U << img->g.refblock_bits; i++) {
		refcount = qcow2_refcount_get(refcounts, img->g.refcount_order, i);
		if (refcount)
			printf("%" PRIu64 " %" PRIu64 "\n",
			       (first_cluster + i) << img->g.cluster_bits, refcount);
	}
	free(refcounts);
}

static void show_refcounts(const struct image *img)
{
	u64 entries = (u64)img->h.reftable_clusters << img->g.l2_bits;

	for (u64 i = 0; i < entries; i++) {
		u64 block = qcow2_reftable_offset(table_entry(img, img->h.reftable_offset, i));

		if (block)
			show_block(img, i << img->g.refblock_bits, block);
	}
}

static int check_extensions(struct image *img, const char **why)
{
	u64 next = img->h.length;
	u64 bytes = qcow2_header_ext_end(&img->h);
	void *area = read_at(img, 0, bytes);
	int err = qcow2_header_ext_check(&img->h, 0, area, bytes, &next, why);

	if (!err && next < bytes)
		die("the check of extensions stopped too early");
	free(area);
	return err;
}

/* As the tools and the module judge it. */
static int judge(const char *path, bool writable, const char **why)
{
	u8 buf[QCOW2_HEADER_BYTES];
	struct image img;
	int err;

	img.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (img.fd < 0)
		die("cannot open the image");
	err = qcow2_header_parse(buf, pread(img.fd, buf, sizeof(buf), 0), &img.h, why);
	if (!err)
		err = qcow2_header_supported(&img.h, writable, why);
	if (!err)
		err = qcow2_header_verify(&img.h, image_end(&img), why);
	if (!err)
		err = check_extensions(&img, why);
	/* Nobody names its data file here, as nobody does to QEMU. */
	if (!err && qcow2_header_has_data_file(&img.h)) {
		*why = "external data file";
		err = -EINVAL;
	}
	close(img.fd);
	return err;
}

static void show_verdict(const char *path)
{
	const char *why = "";

	if (!judge(path, true, &why))
		printf("read-write\n");
	else if (!judge(path, false, &why))
		printf("read-only %s\n", why);
	else
		printf("refused %s\n", why);
}

int main(int argc, char **argv)
{
	struct image img;

	if (argc > 2 && !strcmp(argv[1], "judge")) {
		for (int i = 2; i < argc; i++)
			show_verdict(argv[i]);
		return 0;
	}
	if (argc != 3)
		die("wants a verb and an image");
	open_image(&img, argv[2]);
	if (!strcmp(argv[1], "header"))
		show_header(&img);
	else if (!strcmp(argv[1], "map"))
		show_clusters(&img, show_mapping);
	else if (!strcmp(argv[1], "compressed"))
		show_clusters(&img, show_compressed);
	else if (!strcmp(argv[1], "refcounts"))
		show_refcounts(&img);
	else
		die("unknown verb");
	close(img.fd);
	return 0;
}
