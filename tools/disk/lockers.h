/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_LOCKERS_H
#define VBLK_LOCKERS_H

#include <sys/stat.h>

unsigned int lockers_count(const struct stat *st);

#endif
