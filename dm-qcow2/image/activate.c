// SPDX-License-Identifier: GPL-2.0-only
/*
 * Becoming ready for I/O, and leaving a clean image behind.
 *
 * The constructor has read the header only. All that writes to the image is
 * between qcow2_activate(), from preresume, and qcow2_deactivate(), from
 * postsuspend: in between no other table of the mapped device is active on it,
 * and behind it qemu-img may work on the file.
 */
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "format/header-ext.h"
#include "format/header.h"
#include "lease/lease.h"
#include "qcow2.h"

/* The header's first sector as direct I/O can read and write it. */
static int header_sector(struct qcow2 *q, enum req_op op, void *buf)
{
	struct qcow2_iovec vec = {
		.host_off = 0,
		.buf = buf,
		.bytes = q->layer.io_align,
	};

	return qcow2_layer_rw(&q->layer, op, &vec, 1);
}

/* A failed image is only read from then on, even if it is marked corrupt. */
static bool may_write(const struct qcow2 *q)
{
	return q->layer.is_writable && !qcow2_failed(q);
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
static u32 max_front(const struct qcow2 *q)
{
	return q->layer.io_align + SZ_16K;
}

static int read_front(struct qcow2 *q, struct front *f, u64 host_off)
{
	struct qcow2_iovec vec;

	f->host_off = round_down(host_off, q->layer.io_align);
	f->bytes = round_down(max_front(q), q->layer.io_align);
	if (!qcow2_is_file(q))
		f->bytes = min_t(u64, f->bytes, qcow2_layer_bytes(&q->layer) - f->host_off);
	vec = (struct qcow2_iovec) {
		.host_off = f->host_off,
		.buf = f->buf,
		.bytes = f->bytes,
	};
	return qcow2_layer_rw(&q->layer, REQ_OP_READ, &vec, 1);
}

/* @f has the start of the image; nearly always that is all. */
static int check_extensions(struct qcow2 *q, const struct qcow2_header *h, struct front *f,
			    const char **why)
{
	u64 next = h->length;
	int err;

	for (;;) {
		err = qcow2_header_ext_check(h, f->host_off, f->buf, f->bytes, &next, why);
		if (err || next >= qcow2_header_ext_end(h))
			return err;
		*why = "header cannot be read";
		err = read_front(q, f, next);
		if (err)
			return err;
	}
}

int qcow2_read_header(struct qcow2 *q, struct qcow2_header *h, const char **why)
{
	u64 bytes = qcow2_layer_bytes(&q->layer);
	struct front f;
	int err;

	*why = "header cannot be read";
	f.buf = kmalloc(max_front(q), GFP_KERNEL);
	if (!f.buf)
		return -ENOMEM;
	err = read_front(q, &f, 0);
	if (!err)
		err = qcow2_header_parse(f.buf, min_t(u64, bytes, f.bytes), h, why);
	if (!err)
		err = qcow2_header_supported(h, may_write(q), why);
	if (!err)
		err = qcow2_header_verify(h, qcow2_image_end(h->cluster_bits, bytes,
							     qcow2_is_file(q)), why);
	if (!err)
		err = check_extensions(q, h, &f, why);
	kfree(f.buf);
	return err;
}

int qcow2_write_header(struct qcow2 *q,
		       void (*change)(struct qcow2_disk_header *d, const void *arg),
		       const void *arg)
{
	void *buf;
	int err;

	/* Some have no way back from here. */
	buf = kmalloc(q->layer.io_align, GFP_NOIO | __GFP_NOFAIL);
	mutex_lock(&q->header_lock);
	err = header_sector(q, REQ_OP_READ, buf);
	if (!err) {
		change(buf, arg);
		err = header_sector(q, REQ_OP_WRITE, buf);
	}
	if (!err)
		err = qcow2_barrier(q, QCOW2_BARRIER_HEADER);
	mutex_unlock(&q->header_lock);
	kfree(buf);
	return err;
}

static void clear_autoclear(struct qcow2_disk_header *d, const void *arg)
{
	const u64 *bits = arg;

	d->autoclear_features &= ~cpu_to_be64(*bits);
}

/* What somebody did to the image while we were suspended must fit the table. */
static int check_unchanged(struct qcow2 *q, const struct qcow2_header *h)
{
	struct qcow2_geometry now;

	qcow2_geometry_init(&now, h);
	if (memcmp(&now, &q->geo, sizeof(now))) {
		DMERR("%s: image has changed, reload the table", qcow2_name(q));
		return -ESTALE;
	}
	return 0;
}

static int prepare_write(struct qcow2 *q, const struct qcow2_header *h)
{
	u64 autoclear = qcow2_header_autoclear(h);
	int err;

	/*
	 * A FUA write in place relies on tables that whoever made the image may have
	 * left in the page cache, or in that of the disk: qemu-img convert does.
	 */
	err = qcow2_barrier(q, QCOW2_BARRIER_ACTIVATE);
	/* The last cluster is whole: nothing is ever written behind the end of a file. */
	if (!err)
		err = qcow2_layer_extend(&q->layer,
					 round_up(qcow2_layer_bytes(&q->layer),
						  qcow2_cluster_bytes(&q->geo)));
	if (!err && autoclear)
		err = qcow2_write_header(q, clear_autoclear, &autoclear);
	return err;
}

static int start(struct qcow2 *q)
{
	struct qcow2_header h;
	const char *why;
	int err;

	qcow2_scan_recall(q);
	why = "page cache of the layer cannot be written";
	err = qcow2_layer_invalidate(&q->layer);
	if (!err)
		err = qcow2_read_header(q, &h, &why);
	if (err) {
		DMERR("%s: %s", qcow2_name(q), why);
		return err;
	}
	err = check_unchanged(q, &h);
	if (!err && may_write(q))
		err = prepare_write(q, &h);
	if (err)
		return err;
	q->reftable_offset = h.reftable_offset;
	q->reftable_clusters = h.reftable_clusters;
	q->host_bytes = qcow2_image_end(q->geo.cluster_bits, qcow2_layer_bytes(&q->layer),
					qcow2_is_file(q));
	qcow2_full_reset(q);
	qcow2_space_activate(q);
	qcow2_layout_start(q->layer.layout);
	if (may_write(q))
		qcow2_scan_start(q);
	return 0;
}

/* What a table before this one could not write is lost, whichever table is asked. */
static void inherit_failure(struct qcow2 *q)
{
	if (!q->layer.has_failed || qcow2_failed(q))
		return;
	set_bit(QCOW2_NEEDS_CHECK, &q->state);
	set_bit(QCOW2_FAILED, &q->state);
	DMWARN("%s: image has failed before the table was reloaded, no more writes",
	       qcow2_name(q));
}

int qcow2_activate(struct qcow2 *q)
{
	unsigned int noio;
	int err;

	if (test_bit(QCOW2_ACTIVE, &q->state))
		return 0;
	err = qcow2_layer_activate(&q->layer);
	if (err) {
		DMERR("%s: image is active in another table", qcow2_name(q));
		return err;
	}
	inherit_failure(q);
	/* Writeback to this very device waits until it is resumed. */
	noio = memalloc_noio_save();
	err = start(q);
	memalloc_noio_restore(noio);
	if (err) {
		qcow2_layer_deactivate(&q->layer, qcow2_failed(q));
		return err;
	}
	clear_bit(QCOW2_SUSPENDING, &q->state);
	clear_bit(QCOW2_LEAVING, &q->state);
	set_bit(QCOW2_ACTIVE, &q->state);
	return 0;
}

/*
 * Usually dm has waited for all bios, but not when the device is destroyed:
 * wait for our own work, but not for space: there is no file system any more to give it to.
 * Bios that wait for a commit complete with the last one.
 */
static void drain(struct qcow2 *q)
{
	set_bit(QCOW2_LEAVING, &q->state);
	qcow2_space_release_waiters(q);
	qcow2_park_release(q);
	qcow2_slow_drain(q);
	synchronize_srcu(&q->inflight);
	/* Runs that found no space have become the pool's. */
	qcow2_slow_drain(q);
}

void qcow2_deactivate(struct qcow2 *q)
{
	unsigned int noio;
	int err;

	if (!test_bit(QCOW2_ACTIVE, &q->state))
		return;
	noio = memalloc_noio_save();
	drain(q);
	qcow2_layout_stop(q->layer.layout);
	err = qcow2_commit_wait(q);
	qcow2_space_stop(q);
	if (!err && may_write(q))
		err = qcow2_space_return(q);
	qcow2_corrupt_wait(q);
	if (err)
		DMERR("%s: image is not clean: error %d", qcow2_name(q), err);
	qcow2_metacache_drop(q);
	qcow2_layer_invalidate(&q->layer);
	qcow2_scan_remember(q, !err && !qcow2_failed(q));
	memalloc_noio_restore(noio);

	clear_bit(QCOW2_ACTIVE, &q->state);
	qcow2_layer_deactivate(&q->layer, qcow2_failed(q));
}
