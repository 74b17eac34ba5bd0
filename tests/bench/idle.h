/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_BENCH_IDLE_H
#define VBLK_BENCH_IDLE_H

#include <stdint.h>

/*
 * idle_ns: how long all CPUs together have been idle since boot. Emulated time that is counted in instructions
 * jumps to the next timer whenever the CPU is idle; to take it off is to count instructions only.
 */
uint64_t idle_ns(void);

#endif
