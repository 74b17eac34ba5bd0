/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmsetup status, table and message; Documentation/dm-qcow2.rst says what they
 * print and take.
 */
#ifndef DM_QCOW2_STATUS_H
#define DM_QCOW2_STATUS_H

#include <linux/device-mapper.h>

void qcow2_status(struct dm_target *ti, status_type_t type, unsigned int flags,
		  char *result, unsigned int maxlen);
int qcow2_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		  unsigned int maxlen);

#endif /* DM_QCOW2_STATUS_H */
