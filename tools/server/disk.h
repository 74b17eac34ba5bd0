/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_SERVER_DISK_H
#define VBLK_SERVER_DISK_H

#include "disk/dm.h"
#include "state.h"
#include "vhost-user/disk.h"

int disk_open(struct disk *disk, const struct dmdev *d,
	      const struct serving *serving);
int disk_update_size(struct disk *disk, bool *has_changed);
void disk_close(struct disk *disk);

#endif
