/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_LOOP_H
#define VBLK_LOOP_H

#include <sys/stat.h>

#define LOOP_NAME_SIZE	32

int loop_file(const char *kname, struct stat *st);
int loop_of_file(const struct stat *st, char kname[LOOP_NAME_SIZE]);

#endif
