/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_SIZE_H
#define VBLK_SIZE_H

#include <stdint.h>

int number_parse(const char *what, const char *text, unsigned int min,
		 unsigned int max, unsigned int *value);
int size_parse(const char *what, const char *text, uint64_t *bytes);
int bandwidth_parse(const char *text, uint64_t *bandwidth);

#endif
