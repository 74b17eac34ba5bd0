/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Places where a test build can hold tasks, to show that whoever comes meanwhile does no
 * harm. Nothing is left of them in any other build.
 */
#ifndef DM_QCOW2_TEST_HOLD_H
#define DM_QCOW2_TEST_HOLD_H

#include <linux/types.h>

/**
 * enum qcow2_hold - the places
 * @QCOW2_HOLD_PART: a write of a part of a block that the file system may see, before it does
 * @QCOW2_HOLD_LEAVING: whoever takes blocks out of what is written past the file system, before it
 *	waits for I/O on them
 * @QCOW2_HOLD_THREAD: whoever makes a thread for a slow pool
 * @QCOW2_HOLD_LOOKED: a request of the slow pool that has looked at its entry, unless that is data
 *	in place, before it looks for a fill
 * @QCOW2_HOLD_STREAM: a read that knows which compressed stream it wants, before it reads that
 * @QCOW2_HOLD_ENTERED: a write that is let into a fill, before it starts
 * @QCOW2_HOLD_COPY: who copies the rest of a fill, with that read and not yet written
 * @QCOW2_HOLD_ENTRY: who publishes a fill, before its entry is set
 * @QCOW2_HOLD_UNMAP: a discard that has looked at entries, before it changes them
 * @QCOW2_HOLD_CLEAR: who clears clusters of a raw data file, and has seen no fill of them
 * @QCOW2_HOLD_TRIM: who is about to make discarded clusters of a data file a hole
 * @QCOW2_NR_HOLDS: how many there are
 */
enum qcow2_hold {
	QCOW2_HOLD_PART,
	QCOW2_HOLD_LEAVING,
	QCOW2_HOLD_THREAD,
	QCOW2_HOLD_LOOKED,
	QCOW2_HOLD_STREAM,
	QCOW2_HOLD_ENTERED,
	QCOW2_HOLD_COPY,
	QCOW2_HOLD_ENTRY,
	QCOW2_HOLD_UNMAP,
	QCOW2_HOLD_CLEAR,
	QCOW2_HOLD_TRIM,
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

/**
 * qcow2_test_holds - are tasks to wait anywhere?
 *
 * Who must not sleep leaves to others then what might come to such a place. Any context.
 */
bool qcow2_test_holds(void);
#else
static inline void qcow2_test_hold(enum qcow2_hold where)
{
}

static inline bool qcow2_test_holds(void)
{
	return false;
}
#endif

#endif /* DM_QCOW2_TEST_HOLD_H */
