/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OPEN_FILE_H
#define VBLK_OPEN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

bool open_file_locker(int fd, char *who, size_t size);
bool open_file_opener(int fd, char *who, size_t size);
bool open_file_user(dev_t dev, pid_t except, char *who, size_t size);

#endif
