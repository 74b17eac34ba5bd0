/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The registry of files in use: for open.c only. What it says to others is in file.h.
 */
#ifndef DM_QCOW2_REGISTRY_H
#define DM_QCOW2_REGISTRY_H

#include "file.h"

/**
 * qcow2_registry_add - a table has a file as one of its backing images
 * @user: its use; all but @node and @has_failed are set
 *
 * Return: 0, or -EBUSY when the table has the file already, or another mapped device
 * writes to it.
 */
int __must_check qcow2_registry_add(struct qcow2_file_user *user);

/**
 * qcow2_registry_add_top - a table has a file as its top
 * @f: the file; of its @top all but @node and @has_failed are set
 * @ti: the target that is being constructed
 * @by_path: the table line has a path: the kernel locks the image, as QEMU does
 *
 * @f->filp becomes that of another table of the mapped device, if that has one with the locks.
 * Sets @ti->error on failure.
 *
 * Return: 0, -EBUSY as above, -EAGAIN when another process has the image, or another
 * negative errno.
 */
int __must_check qcow2_registry_add_top(struct qcow2_file *f, struct dm_target *ti, bool by_path);

void qcow2_registry_remove(struct qcow2_file_user *user);

static inline struct inode *qcow2_file_inode(const struct qcow2_file *f)
{
	return f->filp->f_mapping->host;
}

#endif /* DM_QCOW2_REGISTRY_H */
