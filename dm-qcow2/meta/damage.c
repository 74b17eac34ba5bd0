// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens when metadata turns out to be wrong.
 *
 * Damage is found in any context, with locks held: whoever finds it only notes it.
 * The commit's thread then marks the header and fails the image, in this order, as a
 * failed image is not written to.
 */
#include <linux/sched/mm.h>

#include "format/header.h"
#include "qcow2.h"

int qcow2_bad_metadata(struct qcow2 *q, const char *what, u64 host_off)
{
	DMERR_LIMIT("%s: image is damaged: %s at offset %#llx", qcow2_name(q), what,
		    host_off);
	return -EUCLEAN;
}

int qcow2_corrupt(struct qcow2 *q, const char *what, u64 host_off)
{
	if (q->layer.is_writable && !test_and_set_bit(QCOW2_NEEDS_CHECK, &q->state))
		kthread_queue_work(q->commit.worker, &q->corrupt_work);
	return qcow2_bad_metadata(q, what, host_off);
}

static void set_corrupt(struct qcow2_disk_header *d, const void *arg)
{
	/* Version 2 has no feature bits. */
	if (be32_to_cpu(d->version) >= 3)
		d->incompatible_features |= cpu_to_be64(QCOW2_INCOMPAT_CORRUPT);
}

static void mark_corrupt(struct kthread_work *work)
{
	struct qcow2 *q = container_of(work, struct qcow2, corrupt_work);
	unsigned int noio = qcow2_worker_enter();

	if (!qcow2_failed(q) && qcow2_write_header(q, set_corrupt, NULL))
		DMERR("%s: image cannot be marked corrupt", qcow2_name(q));
	qcow2_fail(q, "using damaged metadata", -EUCLEAN);
	memalloc_noio_restore(noio);
}

void qcow2_corrupt_init(struct qcow2 *q)
{
	kthread_init_work(&q->corrupt_work, mark_corrupt);
}

void qcow2_corrupt_wait(struct qcow2 *q)
{
	kthread_flush_work(&q->corrupt_work);
}
