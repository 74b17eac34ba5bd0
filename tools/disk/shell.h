/* SPDX-License-Identifier: GPL-2.0-only */
/* A qcow2 image that maps a raw one, which is its data file, from the first sector to the last: nothing else is in it. */
#ifndef VBLK_SHELL_H
#define VBLK_SHELL_H

#include <stdint.h>

#include "dm.h"

int shell_take(const struct dmdev *d, uint64_t *bytes, int *fd);
int shell_make(const struct dmdev *d, const char *beside, uint64_t bytes, int *fd);
void shell_undo(const struct dmdev *d, const char *beside);
char *shell_path(const struct dmdev *d);

#endif
