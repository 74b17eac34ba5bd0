/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHOST_BLK_SUBMIT_H
#define VHOST_BLK_SUBMIT_H

#include <linux/blk_types.h>
#include "request.h"

int vhost_blk_map(struct vhost_blk_request *req, blk_opf_t opf);
void vhost_blk_unmap(struct vhost_blk_request *req);
int vhost_blk_copy_out(struct vhost_blk_request *req);
enum vhost_blk_verdict vhost_blk_submit(struct vhost_blk_request *req);
void vhost_blk_submit_flush(struct vhost_blk_request *req);

#endif
