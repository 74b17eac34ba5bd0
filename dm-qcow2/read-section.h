/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Read sections of SRCU that begin in one context and end in another, as I/O does.
 */
#ifndef DM_QCOW2_READ_SECTION_H
#define DM_QCOW2_READ_SECTION_H

#include <linux/srcu.h>

/**
 * qcow2_read_enter - begin a read section
 * @domain: the SRCU domain
 *
 * Any context. Return: to be handed to qcow2_read_leave().
 */
static inline int qcow2_read_enter(struct srcu_struct *domain)
{
	int idx = srcu_down_read(domain);

	__release(domain); /* left in another context: not for sparse to follow */
	return idx;
}

/**
 * qcow2_read_leave - end a read section, here or where it was begun
 * @domain: the SRCU domain
 * @idx: from qcow2_read_enter()
 *
 * Any context.
 */
static inline void qcow2_read_leave(struct srcu_struct *domain, int idx)
{
	__acquire(domain);
	srcu_up_read(domain, idx);
}

#endif /* DM_QCOW2_READ_SECTION_H */
