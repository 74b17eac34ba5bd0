/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels before the newest have another name for.
 */
#ifndef DM_QCOW2_COMPAT_H
#define DM_QCOW2_COMPAT_H

#include <linux/version.h>

/* struct file_kattr was struct fileattr before 6.17. */
#if KERNEL_VERSION(6, 17, 0) > LINUX_VERSION_CODE
#define file_kattr fileattr
#endif

#endif /* DM_QCOW2_COMPAT_H */
