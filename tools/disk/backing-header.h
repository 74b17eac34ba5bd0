/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_BACKING_HEADER_H
#define VBLK_BACKING_HEADER_H

#include "dm-qcow2/format/header.h"
#include "image.h"

int backing_header_read(struct image *img, const struct qcow2_header *h);

#endif
