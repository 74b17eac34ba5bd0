/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An io_uring that holds reads and writes of one size on one file. All of its calls end the program
 * when they fail.
 */
#ifndef VBLK_BENCH_RING_H
#define VBLK_BENCH_RING_H

#include <stdbool.h>
#include <stdint.h>

struct ring;

/* ring_new: for depth I/Os of io_bytes on fd, each with a buffer of its own. */
struct ring *ring_new(int fd, unsigned int depth, unsigned int io_bytes);

/* ring_submit: hand one I/O to the kernel by a system call of its own. There must be room. */
void ring_submit(struct ring *ring, bool is_write, uint64_t offset);

/* ring_reap: take what has completed, waiting for one I/O if nothing has. */
void ring_reap(struct ring *ring);

/* ring_in_flight: how many were submitted and not reaped. */
unsigned int ring_in_flight(const struct ring *ring);

void ring_free(struct ring *ring);

#endif
