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
#include <linux/slab.h>

#include "header.h"
#include "layout.h"
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

int qcow2_read_header(struct qcow2 *q, struct qcow2_header *h, const char **why)
{
	u64 bytes = qcow2_layer_bytes(&q->layer);
	void *buf;
	int err;

	*why = "header cannot be read";
	buf = kmalloc(q->layer.io_align, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	err = header_sector(q, REQ_OP_READ, buf);
	if (!err)
		err = qcow2_header_parse(buf, min_t(u64, bytes, q->layer.io_align), h, why);
	if (!err)
		err = qcow2_header_supported(h, may_write(q), why);
	if (!err)
		err = qcow2_header_verify(h, round_up(bytes, BIT_ULL(h->cluster_bits)), why);
	kfree(buf);
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

	/* The last cluster is whole: nothing is ever written behind the end of a file. */
	err = qcow2_layer_extend(&q->layer, round_up(qcow2_layer_bytes(&q->layer),
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

	qcow2_layer_invalidate(&q->layer);
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
	q->host_bytes = round_up(qcow2_layer_bytes(&q->layer), qcow2_cluster_bytes(&q->geo));
	qcow2_space_activate(q);
	qcow2_layout_start(q->layer.layout);
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
	set_bit(QCOW2_ACTIVE, &q->state);
	return 0;
}

/*
 * Usually dm has waited for all bios, but not when the device is destroyed:
 * wait for our own work. Bios that wait for a commit complete with the last one.
 */
static void drain(struct qcow2 *q)
{
	qcow2_slow_drain(q);
	synchronize_srcu(&q->inflight);
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
	memalloc_noio_restore(noio);

	clear_bit(QCOW2_ACTIVE, &q->state);
	qcow2_layer_deactivate(&q->layer, qcow2_failed(q));
}
