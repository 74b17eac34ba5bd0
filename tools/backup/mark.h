/* SPDX-License-Identifier: GPL-2.0-only */
/* Which backup an image is, and which one a bitmap says the changes since: Documentation/backup.rst. */
#ifndef VBLK_MARK_H
#define VBLK_MARK_H

#include <stdbool.h>

#include "disk/bitmaps.h"

/* Hexadecimal digits, and a NUL. */
#define TOKEN_SIZE	33

/**
 * struct mark - what the file of a backup says of itself
 * @token: its own
 * @base: of the backup that it lies on; "" without any
 * @name: by which the bitmaps of these backups are called
 * @is_changed: somebody has written to it since it was made
 */
struct mark {
	char token[TOKEN_SIZE];
	char base[TOKEN_SIZE];
	char name[BITMAP_NAME_SIZE];
	bool is_changed;
};

int token_make(char token[TOKEN_SIZE]);
bool token_of_bitmap(const char *bitmap, char token[TOKEN_SIZE]);
bool token_is_of(const char *bitmap, const char *name, char token[TOKEN_SIZE]);
int token_name_bitmap(const char *name, const char *token, char bitmap[BITMAP_NAME_SIZE]);

int mark_read(int fd, struct mark *m);
int mark_write(int fd, const char *path, const char *object, const struct mark *m);
int mark_begin_bitmap(int fd, const char *path, const char *object, const struct mark *m);

#endif
