/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading and changing the header of an image.
 */
#ifndef DM_QCOW2_HEADER_IO_H
#define DM_QCOW2_HEADER_IO_H

#include "format/header.h"

struct qcow2_disk_header;
struct qcow2_image;

/**
 * qcow2_read_header - read and check the header
 * @img: an image with an open file
 * @h: filled in on success
 * @why: set to a sentence on failure
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_read_header(struct qcow2_image *img, struct qcow2_header *h,
				   const char **why);

/**
 * qcow2_take_header - go by what may differ whenever the header is read again
 * @img: the image; its geometry is set
 * @h: its header
 *
 * Where the refcount table is, and, by the size of the file, where the image ends.
 */
void qcow2_take_header(struct qcow2_image *img, const struct qcow2_header *h);

/**
 * qcow2_write_header - change fields of the header, durably
 * @img: the image
 * @change: called with the header in its on-disk form
 * @arg: handed to @change
 *
 * Rewrites the first sector only. Return: 0 or a negative errno.
 */
int __must_check qcow2_write_header(struct qcow2_image *img,
				    void (*change)(struct qcow2_disk_header *d,
						   const void *arg),
				    const void *arg);

#endif /* DM_QCOW2_HEADER_IO_H */
