// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps that are left out; in a test build only.
 */
#include <linux/module.h>

#include "test-skip.h"

static int skip_step = -1;
module_param(skip_step, int, 0644);
MODULE_PARM_DESC(skip_step, "number of the step of copy-on-write to leave out");

bool qcow2_test_skips(enum qcow2_step step)
{
	return READ_ONCE(skip_step) == (int)step;
}
