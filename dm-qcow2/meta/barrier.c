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

static bool orders_data(enum qcow2_barrier barrier)
{
	return barrier == QCOW2_BARRIER_COMMIT_DATA || barrier == QCOW2_BARRIER_COMMIT ||
	       barrier == QCOW2_BARRIER_ACTIVATE;
}

/*
 * Beside a data file there is nothing but metadata in the image. A commit has it written by the
 * thread that then comes here, so most flushes find none.
 */
static bool is_image_durable(const struct qcow2_image *img, enum qcow2_barrier barrier)
{
	if (barrier == QCOW2_BARRIER_COMMIT_DATA)
		return true;
	return barrier == QCOW2_BARRIER_COMMIT && !READ_ONCE(img->is_written);
}

static int sync_image(struct qcow2_image *img)
{
	/* Before: what is written meanwhile is another barrier's. */
	WRITE_ONCE(img->is_written, false);
	return qcow2_file_sync(&img->file);
}

/*
 * The data file first: what entries say is there has to be. Of the barriers that order metadata it
 * knows nothing.
 */
static int sync_files(struct qcow2_image *img, enum qcow2_barrier barrier)
{
	int err;

	if (!qcow2_has_data_file(img))
		return qcow2_file_sync(&img->file);
	err = orders_data(barrier) ? qcow2_file_sync(qcow2_data_file(img)) : 0;
	if (err || is_image_durable(img, barrier))
		return err;
	return sync_image(img);
}

int qcow2_barrier(struct qcow2_image *img, enum qcow2_barrier barrier)
{
	int err = 0;

	mutex_lock(&img->sync_lock);
	if (!is_skipped(barrier))
		err = sync_files(img, barrier);
	if (err)
		qcow2_fail(img, "making the image durable", err);
	if (qcow2_failed(img))
		err = -EIO;
	mutex_unlock(&img->sync_lock);
	return err;
}
