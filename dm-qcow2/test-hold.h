/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places where a test build can hold tasks, to show that whoever comes meanwhile does no
 * harm. Nothing is left of them in any other build.
 */
#ifndef DM_QCOW2_TEST_HOLD_H
#define DM_QCOW2_TEST_HOLD_H

/**
 * enum qcow2_hold - the places
 * @QCOW2_HOLD_PART: a write of a part of a block that the file system may see, before it does
 * @QCOW2_HOLD_LEAVING: whoever takes blocks out of what is written past the file system, before it
 *	waits for I/O on them
 * @QCOW2_HOLD_THREAD: whoever makes a thread for a slow pool
 * @QCOW2_NR_HOLDS: how many there are
 */
enum qcow2_hold {
	QCOW2_HOLD_PART,
	QCOW2_HOLD_LEAVING,
	QCOW2_HOLD_THREAD,
	QCOW2_NR_HOLDS,
};

#ifdef DM_QCOW2_TEST_BUILD
/**
 * qcow2_test_hold - wait here while the module parameter "hold" has the bit of this place
 * @where: the place
 *
 * Sleeps. The parameter "held" says how many wait, for each place.
 */
void qcow2_test_hold(enum qcow2_hold where);
#else
static inline void qcow2_test_hold(enum qcow2_hold where)
{
}
#endif

#endif /* DM_QCOW2_TEST_HOLD_H */
