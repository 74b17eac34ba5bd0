// SPDX-License-Identifier: GPL-2.0-only
/*
 * Barriers, and what happens when one fails.
 */
#include <linux/module.h>
#include "qcow2.h"

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

void qcow2_fail(struct qcow2 *q, const char *what, int err)
{
	set_bit(QCOW2_NEEDS_CHECK, &q->state);
	if (test_and_set_bit(QCOW2_FAILED, &q->state))
		return;
	DMERR("%s: %s failed, no more writes: error %d", qcow2_name(q), what, err);
	wake_up_all(&q->cache.wait);
	dm_table_event(q->ti->table);
}

int qcow2_barrier(struct qcow2 *q, enum qcow2_barrier barrier)
{
	int err = 0;

	mutex_lock(&q->sync_lock);
	if (!is_skipped(barrier))
		err = qcow2_layer_sync(&q->layer);
	if (err)
		qcow2_fail(q, "making the image durable", err);
	if (qcow2_failed(q))
		err = -EIO;
	mutex_unlock(&q->sync_lock);
	return err;
}
