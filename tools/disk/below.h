/* SPDX-License-Identifier: GPL-2.0-only */
/* What a file or block device is made of. */
#ifndef VBLK_BELOW_H
#define VBLK_BELOW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/**
 * struct below_node - a file or device
 * @st: its number; of a device that is @st_rdev
 * @is_same: what is above shows no other bytes: loop devices alone are between
 */
struct below_node {
	struct stat st;
	bool is_same;
};

/**
 * struct below - a file or device, and all that is below it
 * @list: itself first, then each before what is below that
 * @n: how many there are
 */
struct below {
	struct below_node *list;
	size_t n;
};

int below_find(const struct stat *st, struct below *b);
bool below_meet(const struct below *a, const struct below *b);
void below_free(struct below *b);

/* Of sysfs */
bool below_read_number(const char *path, dev_t *dev);
bool below_is_partition(const char *sys);
void below_read_kname(const char *sys, char *kname, size_t size);

#endif
