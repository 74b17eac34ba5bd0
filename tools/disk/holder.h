/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_HOLDER_H
#define VBLK_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

bool holder_of_device(dev_t dev, pid_t except, char *who, size_t size);

#endif
