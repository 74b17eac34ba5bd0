/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_DURABLE_H
#define VBLK_DURABLE_H

int durable_directory(const char *path);
int durable_replace(const char *dir, const char *path, const char *new, const char *text);

#endif
