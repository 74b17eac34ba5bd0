/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The target "qcow2-view": a read-only device that shows a frozen disk (cow/instant.h).
 */
#ifndef DM_QCOW2_VIEW_H
#define DM_QCOW2_VIEW_H

extern struct target_type qcow2_view_target;

#endif /* DM_QCOW2_VIEW_H */
