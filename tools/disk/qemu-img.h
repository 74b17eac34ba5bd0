/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_QEMU_IMG_H
#define VBLK_QEMU_IMG_H

#include <stdbool.h>
#include <stddef.h>

#include "live.h"

bool qemu_is_there(void);
char *qemu_describe(const struct live_chain *c, size_t first, bool with_backing);
char *qemu_describe_fd(int fd);
char *qemu_describe_ours(const struct live_chain *c);
char *qemu_describe_merge(int overlay, const struct live_chain *c);
int qemu_run(const struct live_chain *c, const char *const argv[], const char *name);

#endif
