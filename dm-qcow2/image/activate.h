/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Becoming ready for I/O, and leaving a clean image behind.
 */
#ifndef DM_QCOW2_ACTIVATE_H
#define DM_QCOW2_ACTIVATE_H

struct qcow2_image;

/**
 * qcow2_activate - read the header again and become ready for I/O
 * @img: an image that is not active
 *
 * The first function to write to the image. Under memalloc_noio_save().
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_activate(struct qcow2_image *img);

/**
 * qcow2_deactivate - leave an image that qemu-img check finds clean
 * @img: an active image; no request is under way, and none waits
 *
 * Under memalloc_noio_save().
 */
void qcow2_deactivate(struct qcow2_image *img);

#endif /* DM_QCOW2_ACTIVATE_H */
