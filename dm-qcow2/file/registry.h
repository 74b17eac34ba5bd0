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
 * @by_path: the table line has a path, so that the kernel locks the image
 *
 * @f->filp becomes that of another table of the mapped device, if there is one that may do what
 * this one may.
 *
 * Return: 0, or -EBUSY as above.
 */
int __must_check qcow2_registry_add_top(struct qcow2_file *f, bool by_path);

/**
 * qcow2_registry_note_locked - the description of a top has the image's locks now
 * @f: the file, added
 *
 * Tables that share it from here on need not take them: that could fail for one who tries to
 * open the image, and is about to find that he cannot.
 */
void qcow2_registry_note_locked(struct qcow2_file *f);

void qcow2_registry_remove(struct qcow2_file_user *user);

static inline struct inode *qcow2_file_inode(const struct qcow2_file *f)
{
	return f->filp->f_mapping->host;
}

#endif /* DM_QCOW2_REGISTRY_H */
