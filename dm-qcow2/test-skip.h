/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Steps of copy-on-write that a test build can leave out, one at a time, to show that each is
 * needed. In any other build nothing can be.
 */
#ifndef DM_QCOW2_TEST_SKIP_H
#define DM_QCOW2_TEST_SKIP_H

#include <linux/types.h>

/**
 * enum qcow2_step - the steps
 * @QCOW2_STEP_PREPARE: a commit publishes the fills
 * @QCOW2_STEP_PUBLISHERS_EXCLUDED: a commit waits for who publishes a whole fill
 * @QCOW2_STEP_CLOSED: a closed fill takes no writes
 * @QCOW2_STEP_WRITES_END: writes under way end before the rest is copied
 * @QCOW2_STEP_COPY: the rest is copied before the entry is set
 * @QCOW2_STEP_DATA_SEQ: the entry waits for the barrier COMMIT_DATA
 * @QCOW2_STEP_ENTRY_FIRST: a fill is forgotten when its entry is set, and not before
 * @QCOW2_STEP_LAST_SECTOR: all sectors of a write are marked
 * @QCOW2_STEP_READ_FILLS: a read looks for a fill
 * @QCOW2_STEP_READ_AGAIN: a read that finds no fill looks at the entry once more
 * @QCOW2_STEP_WRITE_AGAIN: so does a write, before it begins a fill
 * @QCOW2_STEP_DROP_DURABLE: a cluster is let go of when the entry that does so is durable
 * @QCOW2_STEP_GRACE: and when nobody has I/O on it under way
 * @QCOW2_STEP_CUT: what is read behind the end of a file is zeroes
 * @QCOW2_NR_STEPS: how many there are
 *
 * Not among them: that the sector in which a raw file ends is a kind of its own. Without that it is
 * read as others are, comes back short, and is filled up all the same.
 */
enum qcow2_step {
	QCOW2_STEP_PREPARE,
	QCOW2_STEP_PUBLISHERS_EXCLUDED,
	QCOW2_STEP_CLOSED,
	QCOW2_STEP_WRITES_END,
	QCOW2_STEP_COPY,
	QCOW2_STEP_DATA_SEQ,
	QCOW2_STEP_ENTRY_FIRST,
	QCOW2_STEP_LAST_SECTOR,
	QCOW2_STEP_READ_FILLS,
	QCOW2_STEP_READ_AGAIN,
	QCOW2_STEP_WRITE_AGAIN,
	QCOW2_STEP_DROP_DURABLE,
	QCOW2_STEP_GRACE,
	QCOW2_STEP_CUT,
	QCOW2_NR_STEPS,
};

#ifdef DM_QCOW2_TEST_BUILD
/**
 * qcow2_test_skips - is a step to be left out?
 * @step: the step
 *
 * Any context. Return: whether the module parameter "skip_step" has its number.
 */
bool qcow2_test_skips(enum qcow2_step step);
#else
static inline bool qcow2_test_skips(enum qcow2_step step)
{
	return false;
}
#endif

#endif /* DM_QCOW2_TEST_SKIP_H */
