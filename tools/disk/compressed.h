/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_COMPRESSED_H
#define VBLK_COMPRESSED_H

#include <stdbool.h>

struct qcow2_header;

bool compressed_found(int fd, const struct qcow2_header *h);

#endif
