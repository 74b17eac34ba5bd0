// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copying what a cluster lacks from what its guest cluster was before: what the entry pointed at,
 * or what is below the top.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "image/base.h"
#include "image/below.h"
#include "image/compressed.h"

#include "fill.h"

/* What is copied at a time. */
#define PIECE_BYTES	(32U << 10)

/**
 * struct piece - a part of a cluster
 * @img: the image
 * @guest_off: of its first byte
 * @host_off: likewise
 * @old: the entry of the guest cluster
 * @valid: the sectors of the cluster that are there
 * @first: its first sector, in the cluster
 * @end: the first one behind it
 * @buf: as long as the piece
 */
struct piece {
	struct qcow2_image *img;
	u64 guest_off;
	u64 host_off;
	u64 old;
	const unsigned long *valid;
	u32 first;
	u32 end;
	void *buf;
};

/* A device may end inside its last cluster; nobody can have written behind that. */
static int read_cluster(const struct piece *p, u64 host_off, void *buf, u32 bytes)
{
	u64 host_end = READ_ONCE(p->img->host_bytes);
	u32 there = host_off < host_end ? min_t(u64, bytes, host_end - host_off) : 0;

	memset(buf + there, 0, bytes - there);
	return there ? qcow2_file_read(&p->img->file, host_off, buf, there) : 0;
}

/* What the guest cluster was before. */
static int read_old(const struct piece *p, u32 off, u32 bytes)
{
	u64 guest_off = p->guest_off + off;

	switch (qcow2_entry_type(&p->img->geo, p->old)) {
	case QCOW2_ENTRY_UNALLOCATED:
		return qcow2_below_read(p->img->base, guest_off, p->buf + off, bytes);
	case QCOW2_ENTRY_COMPRESSED:
		return qcow2_compressed_read(p->img, p->old, guest_off, p->buf + off, bytes);
	default:
		return read_cluster(p, qcow2_entry_offset(p->old) +
				       qcow2_in_cluster(&p->img->geo, guest_off),
				    p->buf + off, bytes);
	}
}

/* Read what is missing, each run to its place in the buffer. */
static int read_missing(const struct piece *p)
{
	u32 start = p->first, stop, off;
	int err = 0;

	while (!err) {
		start = find_next_zero_bit(p->valid, p->end, start);
		if (start >= p->end)
			break;
		stop = find_next_bit(p->valid, p->end, start);
		off = (start - p->first) << SECTOR_SHIFT;
		err = read_old(p, off, (stop - start) << SECTOR_SHIFT);
		start = stop;
	}
	return err;
}

/* The guest has been told that it has written: where the host has no space, that is waited for. */
static int rw(const struct piece *p, enum req_op op, u32 first, u32 end)
{
	u32 off = (first - p->first) << SECTOR_SHIFT;
	const struct qcow2_iovec vec = {
		.host_off = p->host_off + off,
		.buf = p->buf + off,
		.bytes = (end - first) << SECTOR_SHIFT,
	};
	unsigned long since = jiffies;
	int err;

	do {
		err = qcow2_file_rw(&p->img->file, op, &vec, 1);
	} while (op == REQ_OP_WRITE && qcow2_full_wait(p->img, err, since));
	return err;
}

/* The one run of sectors that is missing, or the whole piece. */
static bool is_one_run(const struct piece *p, u32 *first, u32 *end)
{
	const struct qcow2_file *file = &p->img->file;
	u32 mask = (max(file->io_align, file->mem_align) >> SECTOR_SHIFT) - 1;

	*first = find_next_zero_bit(p->valid, p->end, p->first);
	*end = find_next_bit(p->valid, p->end, *first);
	return find_next_zero_bit(p->valid, p->end, *end) >= p->end &&
	       !((*first | *end) & mask);
}

static int copy_piece(const struct piece *p)
{
	u32 first, end;
	int err = 0;

	/* Else what is there is read as well, and written again: nobody else writes now. */
	if (!is_one_run(p, &first, &end)) {
		first = p->first;
		end = p->end;
		err = rw(p, REQ_OP_READ, first, end);
	}
	return err ?: read_missing(p) ?: rw(p, REQ_OP_WRITE, first, end);
}

int qcow2_fill_copy(struct qcow2_image *img, u64 old, u64 guest_off, u64 host_off,
		    const unsigned long *valid)
{
	u32 bytes = min_t(u64, qcow2_cluster_bytes(&img->geo), PIECE_BYTES);
	u32 step = bytes >> SECTOR_SHIFT;
	u32 sectors = qcow2_cluster_bytes(&img->geo) >> SECTOR_SHIFT;
	struct piece p = { .img = img, .old = old, .valid = valid };
	int err = 0;

	p.buf = kmalloc(bytes, GFP_NOIO);
	if (!p.buf)
		return -ENOMEM;
	for (p.first = 0; p.first < sectors && !err; p.first = p.end) {
		p.end = p.first + step;
		p.guest_off = guest_off + ((u64)p.first << SECTOR_SHIFT);
		p.host_off = host_off + ((u64)p.first << SECTOR_SHIFT);
		if (find_next_zero_bit(valid, p.end, p.first) < p.end)
			err = copy_piece(&p);
	}
	kfree(p.buf);
	return err;
}
