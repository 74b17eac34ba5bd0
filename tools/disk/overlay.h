/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OVERLAY_H
#define VBLK_OVERLAY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/**
 * struct overlay - a new image over another one
 * @path: of the file, absolute
 * @dir: directory that it is made in, open
 * @name: in @dir
 * @backing: absolute path of the image below
 * @is_raw_below: that is a raw image, not a qcow2 one
 * @bytes: size of the disk
 * @uid: whose it is to be
 * @gid: likewise
 * @mode: likewise, permissions only
 * @st: identity, once it is made
 * @fd: it, open, once it is made; closed by overlay_close()
 */
struct overlay {
	char path[PATH_MAX];
	int dir;
	const char *name;
	const char *backing;
	bool is_raw_below;
	uint64_t bytes;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	struct stat st;
	int fd;
};

int overlay_check(const struct overlay *o);
int overlay_make(struct overlay *o);
void overlay_close(struct overlay *o);
void overlay_remove(const struct overlay *o);

#endif
