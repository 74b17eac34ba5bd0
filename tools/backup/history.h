/* SPDX-License-Identifier: GPL-2.0-only */
/* Which backup a bitmap says the changes since: kept over reboots of the host. */
#ifndef VBLK_HISTORY_H
#define VBLK_HISTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define HISTORY_DIR	"/var/lib/vblk"
#define HISTORY_IMAGE_SIZE	64

/**
 * struct history - the last backup that was made by a bitmap
 * @target: absolute path of it
 * @inode: of that file
 * @bytes: its size
 * @mtime_ns: when it was written to last
 * @image: of the disk's top then, as the target's message "images" says it
 */
struct history {
	char target[PATH_MAX];
	uint64_t inode;
	uint64_t bytes;
	uint64_t mtime_ns;
	char image[HISTORY_IMAGE_SIZE];
};

int history_check(void);
int history_read(const char *disk, const char *bitmap, struct history *h);
int history_write(const char *disk, const char *bitmap, const struct history *h);
int history_forget(const char *disk, const char *bitmap);
void history_take_file(struct history *h, const struct stat *st);
bool history_is_file(const struct history *h, const struct stat *st);

#endif
