// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether the file of an image ends before what its tables point at does. QEMU takes the last cluster for whole, as files of its
 * own may end in one: so qemu-img check misses what was cut off by less than a cluster. What is read there is zeroes.
 *
 * Of a table of refcounts that was cut qemu-img check complains; bitmaps and snapshots are not restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dm-qcow2/format/compressed-entry.h"
#include "dm-qcow2/format/l2-entry.h"
#include "source.h"

/**
 * struct walk - through the tables of an image
 * @fd: of the file, through the page cache
 * @bytes: where that ends
 * @g: of the image
 * @l1: table
 * @l2: a table
 */
struct walk {
	int fd;
	uint64_t bytes;
	struct qcow2_geometry g;
	__be64 *l1;
	__be64 *l2;
};

static bool is_cut(const struct walk *w, uint64_t offset, uint64_t bytes)
{
	return bytes && offset + bytes > w->bytes;
}

/* Of the cluster that the guest's offset is in: the disk may end there, and subclusters behind the last one not be written. */
static uint64_t data_bytes(const struct walk *w, struct qcow2_l2_entry e, uint64_t guest_off)
{
	uint64_t bytes = qcow2_cluster_bytes(&w->g), left;

	if (qcow2_has_subclusters(&w->g))
		bytes = qcow2_l2_allocated(e) ? (32ULL - __builtin_clz(qcow2_l2_allocated(e))) <<
						w->g.subcluster_bits : 0;
	left = guest_off < w->g.size ? w->g.size - guest_off : 0;
	return min(bytes, left);
}

/* A stream ends in the last of its sectors, nobody knows where. */
static bool is_stream_cut(const struct walk *w, uint64_t entry)
{
	uint64_t end = qcow2_compressed_offset(&w->g, entry) + qcow2_compressed_bytes(&w->g, entry);

	return end - QCOW2_COMPRESSED_SECTOR_BYTES >= w->bytes;
}

static bool is_entry_cut(const struct walk *w, struct qcow2_l2_entry e, uint64_t guest_off)
{
	if (e.word & QCOW2_OFLAG_COMPRESSED)
		return is_stream_cut(w, e.word);
	if (!qcow2_entry_offset(e.word))
		return false;
	if (!qcow2_has_subclusters(&w->g) && e.word & QCOW2_OFLAG_ZERO)
		return false;
	return is_cut(w, qcow2_entry_offset(e.word), data_bytes(w, e, guest_off));
}

static bool is_table_cut(const struct walk *w, uint64_t guest_off)
{
	const unsigned int words = qcow2_has_subclusters(&w->g) ? 2 : 1;
	struct qcow2_l2_entry e = {};

	for (uint64_t i = 0; i < BIT_ULL(w->g.l2_bits); i++) {
		e.word = be64_to_cpu(w->l2[i * words]);
		if (words > 1)
			e.bitmap = be64_to_cpu(w->l2[i * words + 1]);
		if (is_entry_cut(w, e, guest_off + (i << w->g.cluster_bits)))
			return true;
	}
	return false;
}

/* Return: 1 if something is cut, 0, or -errno. */
static int walk_tables(const struct walk *w)
{
	const uint64_t table_bytes = qcow2_cluster_bytes(&w->g);
	uint64_t at;
	ssize_t n;

	for (uint64_t i = 0; i < w->g.l1_size; i++) {
		at = qcow2_entry_offset(be64_to_cpu(w->l1[i]));
		if (!at)
			continue;
		n = pread(w->fd, w->l2, table_bytes, at);
		if (n < 0)
			return -errno;
		if ((uint64_t)n != table_bytes ||
		    is_table_cut(w, i << (w->g.l2_bits + w->g.cluster_bits)))
			return 1;
	}
	return 0;
}

static int walk(struct walk *w)
{
	const size_t l1_bytes = w->g.l1_size * sizeof(*w->l1);
	ssize_t n;
	int ret;

	w->l1 = malloc(l1_bytes ?: 1);
	w->l2 = malloc(qcow2_cluster_bytes(&w->g));
	n = w->l1 && w->l2 ? pread(w->fd, w->l1, l1_bytes, w->g.l1_offset) : -1;
	if (n < 0)
		ret = w->l1 && w->l2 ? -errno : -ENOMEM;
	else
		ret = (size_t)n != l1_bytes ? 1 : walk_tables(w);
	free(w->l1);
	free(w->l2);
	return ret;
}

/**
 * source_is_cut() - whether the file of an image ends before what is in it
 * @h: its header; the tables have been checked
 *
 * Return: 1 if it does, 0, or -errno.
 */
int source_is_cut(const struct image *img, const struct qcow2_header *h)
{
	struct walk w = { .bytes = img->st.st_size };
	char self[32];
	int ret;

	/* A device has no end of its own. */
	if (!S_ISREG(img->st.st_mode))
		return 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", img->fd);
	w.fd = open(self, O_RDONLY | O_CLOEXEC);
	if (w.fd < 0)
		return -errno;
	qcow2_geometry_init(&w.g, h);
	ret = walk(&w);
	close(w.fd);
	return ret;
}
