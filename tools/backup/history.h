/* SPDX-License-Identifier: GPL-2.0-only */
/* Where backups are, by their tokens: kept over reboots of the host. */
#ifndef VBLK_HISTORY_H
#define VBLK_HISTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define HISTORY_DIR	"/var/lib/vblk"

/**
 * struct history - a backup that was made by a bitmap
 * @target: absolute path of it
 * @inode: of that file
 * @bytes: its size
 * @mtime_ns: when it was written to last
 */
struct history {
	char target[PATH_MAX];
	uint64_t inode;
	uint64_t bytes;
	uint64_t mtime_ns;
};

int history_check(bool is_dry);
int history_read(const char *token, struct history *h);
int history_write(const char *token, const struct history *h);
int history_forget(const char *token);
void history_prune(const char *target);
void history_take_file(struct history *h, const struct stat *st);
bool history_is_file(const struct history *h, const struct stat *st);

#endif
