// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading what is below the top of a chain into memory.
 */
#include <linux/slab.h>

#include "base.h"
#include "below.h"
#include "compressed.h"

#define BOUNCE_BYTES	(32U << 10)

static u32 file_align(const struct qcow2_file *f)
{
	return max(f->io_align, f->mem_align);
}

static int read_aligned(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes)
{
	const struct qcow2_iovec vec = {
		.host_off = host_off,
		.buf = buf,
		.bytes = bytes,
	};

	return qcow2_file_rw(f, REQ_OP_READ, &vec, 1);
}

/* A part of a block of a file, or memory that direct I/O does not take. */
static int read_bounced(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes)
{
	u32 align = file_align(f), skip = host_off & (align - 1), part;
	u32 room = min(round_up(skip + bytes, align), BOUNCE_BYTES);
	void *bounce = kmalloc(room, GFP_NOIO);
	int err = 0;

	if (!bounce)
		return -ENOMEM;
	for (; bytes && !err; bytes -= part, buf += part, host_off += part, skip = 0) {
		part = min(bytes, room - skip);
		err = read_aligned(f, host_off - skip, bounce, round_up(skip + part, align));
		if (!err)
			memcpy(buf, bounce + skip, part);
	}
	kfree(bounce);
	return err;
}

static int read_data(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes)
{
	if (IS_ALIGNED(host_off | bytes | (unsigned long)buf, file_align(f)))
		return read_aligned(f, host_off, buf, bytes);
	return read_bounced(f, host_off, buf, bytes);
}

static int read_compressed(struct qcow2_image *img, u64 entry, u64 guest_off, void *buf,
			   u32 bytes)
{
	struct qcow2_inflated *cluster = qcow2_compressed_get(img, entry);

	if (IS_ERR(cluster))
		return PTR_ERR(cluster);
	memcpy(buf, qcow2_inflated_data(cluster) + qcow2_in_cluster(&img->geo, guest_off), bytes);
	qcow2_compressed_put(img, cluster);
	return 0;
}

/* Return: how much of it there is now, or a negative errno. */
static int read_some(struct qcow2_base *base, u64 guest_off, void *buf, u32 bytes)
{
	struct qcow2_below run;
	int err;

	switch (qcow2_below_find(base, guest_off, bytes, &run)) {
	case QCOW2_BELOW_ZERO:
		memset(buf, 0, run.bytes);
		return run.bytes;
	case QCOW2_BELOW_DATA:
	case QCOW2_BELOW_TAIL:
		err = read_data(&run.img->file, run.where, buf, run.bytes);
		return err ?: run.bytes;
	case QCOW2_BELOW_COMPRESSED:
		err = read_compressed(run.img, run.where, guest_off, buf, run.bytes);
		return err ?: run.bytes;
	case QCOW2_BELOW_MISS:
		return qcow2_below_load(base, guest_off);
	default:
		return -EIO;
	}
}

int qcow2_below_read(struct qcow2_base *base, u64 guest_off, void *buf, u32 bytes)
{
	int done;

	for (; bytes; bytes -= done, buf += done, guest_off += done) {
		done = read_some(base, guest_off, buf, bytes);
		if (done < 0)
			return done;
	}
	return 0;
}
