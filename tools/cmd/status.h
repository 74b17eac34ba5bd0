/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_STATUS_H
#define VBLK_STATUS_H

#include <stddef.h>
#include <stdio.h>

#include "disk-stats.h"

/**
 * struct disk_status - a disk, and what is known of it
 * @a: the disk
 * @s: its counters
 */
struct disk_status {
	struct attached a;
	struct disk_stats s;
};

int status_collect(char *const names[], size_t n, struct disk_status **disks, size_t *nr_disks);
json_object *status_disk_json(const struct disk_status *d);
int status_prometheus(const struct disk_status *disks, size_t n, bool are_all, const char *path);

#endif
