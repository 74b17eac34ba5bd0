// SPDX-License-Identifier: GPL-2.0-only
/*
 * Places where tasks can be held; of a test build only.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "test-hold.h"

static unsigned int hold;
module_param(hold, uint, 0644);
MODULE_PARM_DESC(hold, "bit mask of the places where tasks are to wait");

static unsigned int held[QCOW2_NR_HOLDS];
module_param_array(held, uint, NULL, 0444);
MODULE_PARM_DESC(held, "how many wait in each place");

static DEFINE_SPINLOCK(held_lock);

static void count(enum qcow2_hold where, int change)
{
	spin_lock(&held_lock);
	held[where] += change;
	spin_unlock(&held_lock);
}

void qcow2_test_hold(enum qcow2_hold where)
{
	count(where, 1);
	while (READ_ONCE(hold) & BIT(where))
		msleep(20);
	count(where, -1);
}

bool qcow2_test_holds(void)
{
	return READ_ONCE(hold);
}
