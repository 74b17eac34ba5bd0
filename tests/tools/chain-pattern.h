/* SPDX-License-Identifier: GPL-2.0-only */
/* What is written to images of a chain: numbered patterns, of which no two sectors are alike. */
#ifndef CHAIN_PATTERN_H
#define CHAIN_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define CHAIN_PATTERNS 64

/*
 * A prime: within one write a sector repeats after 2 MiB only. qemu-io repeats the content of a
 * file ("write -s") in the same way.
 */
#define CHAIN_PATTERN_BYTES 4093

/* Odd ones are of 16 letters, so that clusters of any size can be compressed. */
void chain_pattern_make(uint8_t *bytes, unsigned int number);

/* Fill @buf with pattern @number from its beginning, again and again. */
void chain_pattern_fill(uint8_t *buf, size_t bytes, unsigned int number);

#endif
