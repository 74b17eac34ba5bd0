// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading and changing the header of an image.
 */
#include <linux/sizes.h>
#include <linux/slab.h>

#include "format/header-ext.h"

#include "barrier.h"
#include "header-io.h"
#include "image.h"

/* The header's first sector as direct I/O can read and write it. */
static int header_sector(struct qcow2_image *img, enum req_op op, void *buf)
{
	struct qcow2_iovec vec = {
		.host_off = 0,
		.buf = buf,
		.bytes = img->file.io_align,
	};

	return qcow2_file_rw(&img->file, op, &vec, 1);
}

/**
 * struct front - a piece of the first cluster
 * @buf: what it holds; zeroes behind the end of a file
 * @host_off: where it is
 * @bytes: its length
 */
struct front {
	void *buf;
	u64 host_off;
	u32 bytes;
};

/* Wherever a header extension starts, the piece holds all that is looked at of it. */
static u32 max_front(const struct qcow2_image *img)
{
	return img->file.io_align + SZ_16K;
}

static int read_front(struct qcow2_image *img, struct front *f, u64 host_off)
{
	struct qcow2_iovec vec;

	f->host_off = round_down(host_off, img->file.io_align);
	f->bytes = round_down(max_front(img), img->file.io_align);
	if (!qcow2_is_file(img))
		f->bytes = min_t(u64, f->bytes, qcow2_file_bytes(&img->file) - f->host_off);
	vec = (struct qcow2_iovec) {
		.host_off = f->host_off,
		.buf = f->buf,
		.bytes = f->bytes,
	};
	return qcow2_file_rw(&img->file, REQ_OP_READ, &vec, 1);
}

/* @f has the start of the image; nearly always that is all. */
static int check_extensions(struct qcow2_image *img, struct qcow2_header *h, struct front *f,
			    const char **why)
{
	u64 next = h->length;
	int err;

	for (;;) {
		err = qcow2_header_ext_check(h, f->host_off, f->buf, f->bytes, &next, why);
		if (err || next >= qcow2_header_ext_end(h))
			return err;
		*why = "header cannot be read";
		err = read_front(img, f, next);
		if (err)
			return err;
	}
}

int qcow2_read_header(struct qcow2_image *img, struct qcow2_header *h, const char **why)
{
	u64 bytes = qcow2_file_bytes(&img->file);
	struct front f;
	int err;

	*why = "header cannot be read";
	f.buf = kmalloc(max_front(img), GFP_KERNEL);
	if (!f.buf)
		return -ENOMEM;
	err = read_front(img, &f, 0);
	if (!err)
		err = qcow2_header_parse(f.buf, min_t(u64, bytes, f.bytes), h, why);
	if (!err)
		err = qcow2_header_supported(h, qcow2_may_write(img), why);
	if (!err)
		err = qcow2_header_verify(h, qcow2_image_end(h->cluster_bits, bytes,
							     qcow2_is_file(img)), why);
	if (!err)
		err = check_extensions(img, h, &f, why);
	kfree(f.buf);
	return err;
}

void qcow2_take_header(struct qcow2_image *img, const struct qcow2_header *h)
{
	img->reftable_offset = h->reftable_offset;
	img->reftable_clusters = h->reftable_clusters;
	qcow2_set_end(img, qcow2_image_end(img->geo.cluster_bits, qcow2_file_bytes(&img->file),
					   qcow2_is_file(img)));
}

int qcow2_write_header(struct qcow2_image *img,
		       void (*change)(struct qcow2_disk_header *d, const void *arg),
		       const void *arg)
{
	void *buf;
	int err;

	/* Some have no way back from here. */
	buf = kmalloc(img->file.io_align, GFP_NOIO | __GFP_NOFAIL);
	mutex_lock(&img->header_lock);
	err = header_sector(img, REQ_OP_READ, buf);
	if (!err) {
		change(buf, arg);
		err = header_sector(img, REQ_OP_WRITE, buf);
	}
	if (!err)
		err = qcow2_barrier(img, QCOW2_BARRIER_HEADER);
	mutex_unlock(&img->header_lock);
	kfree(buf);
	return err;
}
