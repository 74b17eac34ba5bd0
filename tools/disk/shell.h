/* SPDX-License-Identifier: GPL-2.0-only */
/* A qcow2 image that maps a raw one, which is its data file, from the first sector to the last: nothing else is in it. */
#ifndef VBLK_SHELL_H
#define VBLK_SHELL_H

#include "live.h"

int shell_take(const struct dmdev *d, uint64_t *bytes, int *fd);
int shell_make(const struct dmdev *d, const struct live_image *beside, uint64_t bytes, int *fd);
void shell_undo(const struct dmdev *d, const struct live_image *beside);
bool shell_look(const struct dmdev *d, struct live_image *file);
void shell_remove(const struct live_image *file);
char *shell_path(const struct dmdev *d);

#endif
