// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens when metadata turns out to be wrong, or cannot be written.
 *
 * Damage is found in any context, with locks held: whoever finds it only notes it.
 * The commit's thread then marks the header and fails the image, in this order, as a
 * failed image is not written to.
 */
#include <linux/sched/mm.h>

#include "format/header.h"

#include "commit.h"
#include "header-io.h"

void qcow2_fail(struct qcow2_image *img, const char *what, int err)
{
	set_bit(QCOW2_NEEDS_CHECK, &img->state);
	if (test_and_set_bit(QCOW2_FAILED, &img->state))
		return;
	DMERR("%s: %s failed, no more writes: error %d", qcow2_name(img), what, err);
	wake_up_all(&img->cache.wait);
	dm_table_event(img->ti->table);
}

int qcow2_bad_metadata(struct qcow2_image *img, const char *what, u64 host_off)
{
	DMERR_LIMIT("%s: image is damaged: %s at offset %#llx", qcow2_name(img), what,
		    host_off);
	return -EUCLEAN;
}

int qcow2_corrupt(struct qcow2_image *img, const char *what, u64 host_off)
{
	if (img->file.is_writable && !test_and_set_bit(QCOW2_NEEDS_CHECK, &img->state))
		kthread_queue_work(img->commit->worker, &img->commit->corrupt_work);
	return qcow2_bad_metadata(img, what, host_off);
}

static void set_corrupt(struct qcow2_disk_header *d, const void *arg)
{
	/* Version 2 has no feature bits. */
	if (be32_to_cpu(d->version) >= 3)
		d->incompatible_features |= cpu_to_be64(QCOW2_INCOMPAT_CORRUPT);
}

void qcow2_mark_corrupt(struct kthread_work *work)
{
	struct qcow2_image *img = container_of(work, struct qcow2_commit, corrupt_work)->img;
	unsigned int noio = qcow2_worker_enter();

	if (!qcow2_failed(img) && qcow2_write_header(img, set_corrupt, NULL))
		DMERR("%s: image cannot be marked corrupt", qcow2_name(img));
	qcow2_fail(img, "using damaged metadata", -EUCLEAN);
	memalloc_noio_restore(noio);
}

void qcow2_corrupt_wait(struct qcow2_image *img)
{
	kthread_flush_work(&img->commit->corrupt_work);
}
