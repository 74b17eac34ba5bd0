/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Compressed clusters as the guest sees them.
 */
#ifndef DM_QCOW2_COMPRESSED_H
#define DM_QCOW2_COMPRESSED_H

#include <linux/types.h>

struct qcow2_image;

/**
 * struct qcow2_inflated - a compressed cluster, decompressed
 * @data: a cluster long; constant while it is held
 */
struct qcow2_inflated {
	void *data;
};

/**
 * qcow2_compressed_init - be able to read compressed clusters
 * @img: the image; its geometry is set
 *
 * Memory for clusters is allocated when the first of them are read.
 *
 * Return: 0 or -ENOMEM.
 */
int __must_check qcow2_compressed_init(struct qcow2_image *img);

/**
 * qcow2_compressed_exit - undo qcow2_compressed_init()
 * @img: the image; no cluster of it is held
 */
void qcow2_compressed_exit(struct qcow2_image *img);

/**
 * qcow2_compressed_drop - forget what was read: others may change the image from now on
 * @img: the image; no cluster of it is held
 */
void qcow2_compressed_drop(struct qcow2_image *img);

/**
 * qcow2_compressed_get - have a compressed cluster in memory
 * @img: the image
 * @entry: the L2 entry, of type QCOW2_ENTRY_COMPRESSED
 *
 * To be released by qcow2_compressed_put(). There are few of them: whoever holds one gets no
 * other, and waits for nobody who may be about to get one.
 *
 * Context: our own threads, between qcow2_inflight_enter(), before @entry was looked up, and
 * its leave; sleeps for I/O and until one is free.
 *
 * Return: the cluster, or an ERR_PTR: -EIO when the stream is damaged, which has been reported,
 * -ENOMEM, or what reading it gives.
 */
struct qcow2_inflated *__must_check qcow2_compressed_get(struct qcow2_image *img, u64 entry);

/**
 * qcow2_compressed_put - release a cluster
 * @img: the image
 * @cluster: from qcow2_compressed_get()
 *
 * Context: any but an interrupt.
 */
void qcow2_compressed_put(struct qcow2_image *img, struct qcow2_inflated *cluster);

/**
 * qcow2_compressed_read - read a part of a compressed cluster
 * @img: the image
 * @entry: the L2 entry
 * @guest_off: where the part begins
 * @buf: where it goes
 * @bytes: its length; in one cluster
 *
 * As qcow2_compressed_get(). Return: 0 or a negative errno.
 */
int __must_check qcow2_compressed_read(struct qcow2_image *img, u64 entry, u64 guest_off,
				       void *buf, u32 bytes);

static inline const void *qcow2_inflated_data(const struct qcow2_inflated *cluster)
{
	return cluster->data;
}

#endif /* DM_QCOW2_COMPRESSED_H */
