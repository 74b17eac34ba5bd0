/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_IMAGE_H
#define VBLK_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/**
 * struct image - an image file or a block device that holds one
 * @arg: path as the user gave it, for messages
 * @name: of the device, if the user gave one, for hints; else NULL
 * @path: the same, absolute, links resolved
 * @uuid: of the device that it is attached as
 * @st: identity
 * @fd: the locked description that the kernel is to keep, or -1
 * @virtual_bytes: size of the disk; valid once open
 * @has_compressed: compressed clusters were seen; valid once open
 */
struct image {
	const char *arg;
	const char *name;
	char path[PATH_MAX];
	char uuid[64];
	struct stat st;
	int fd;
	uint64_t virtual_bytes;
	bool has_compressed;
};

int image_identify(struct image *img, const char *arg);
int image_uuid(const struct stat *st, char *uuid, size_t size);
int image_open(struct image *img, bool read_only);
void image_close(struct image *img);

#endif
