// SPDX-License-Identifier: GPL-2.0-only
/*
 * Barriers.
 */
#include <linux/module.h>

#include "barrier.h"
#include "image.h"

#ifdef DM_QCOW2_TEST_BUILD
/* A test build can leave out one barrier, to show that its absence is noticed. */
static int skip_barrier = -1;
module_param(skip_barrier, int, 0644);
MODULE_PARM_DESC(skip_barrier, "number of the barrier to leave out");

static bool is_skipped(enum qcow2_barrier barrier)
{
	return READ_ONCE(skip_barrier) == (int)barrier;
}
#else
static bool is_skipped(enum qcow2_barrier barrier)
{
	return false;
}
#endif

int qcow2_barrier(struct qcow2_image *img, enum qcow2_barrier barrier)
{
	int err = 0;

	mutex_lock(&img->sync_lock);
	if (!is_skipped(barrier))
		err = qcow2_file_sync(&img->file);
	if (err)
		qcow2_fail(img, "making the image durable", err);
	if (qcow2_failed(img))
		err = -EIO;
	mutex_unlock(&img->sync_lock);
	return err;
}
