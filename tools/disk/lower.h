/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * NAME-below: a device on the lower images of a disk, through which the disk reads them while the highest of them takes what
 * was above it. A raw one has a shell there (shell.h), in the directory of the image above it, which is given.
 */
#ifndef VBLK_LOWER_H
#define VBLK_LOWER_H

#include "live.h"

/* So much of the disk's name is in its own, in front of "-below". */
#define LOWER_NAME_BYTES	121

int lower_find(const struct dmdev *disk, struct dmdev *below);
int lower_check_name(const struct dmdev *disk);
int lower_create(const struct dmdev *disk, const struct live_chain *c, size_t first,
		 struct dmdev *below);
int lower_open(const struct dmdev *below, struct live_chain *lower);
int lower_reload(struct dmdev *below, const struct live_chain *lower,
		 const struct live_image *above, bool read_only);
int lower_resume(const struct dmdev *below);
void lower_wake(const struct dmdev *disk);
void lower_forget(const struct dmdev *disk, const struct live_image *above);
int lower_remove(const struct dmdev *disk);

#endif
