/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_PIN_H
#define VHOST_BLK_PIN_H

struct bio;
struct iov_iter;

int vhost_blk_pin_pages(struct bio *bio, struct iov_iter *iter);

#endif /* VHOST_BLK_PIN_H */
