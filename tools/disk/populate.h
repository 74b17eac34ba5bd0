/* SPDX-License-Identifier: GPL-2.0-only */
/* The top of a disk gets what is below it: by the target's message "populate". */
#ifndef VBLK_POPULATE_H
#define VBLK_POPULATE_H

#include <stdint.h>

int populate_some(const char *device, uint64_t sectors, uint64_t max_bytes, uint64_t *next,
		  uint64_t *copied);

#endif
