/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a block device has been written to. */
#ifndef VBLK_WRITES_H
#define VBLK_WRITES_H

#include <stdbool.h>
#include <stdint.h>

uint64_t writes_count(int fd);
bool writes_were_made(int fd, uint64_t before);

#endif
