/* SPDX-License-Identifier: GPL-2.0-only */
/* One walk over a frozen disk and the copy of it, a piece at a time. */
#ifndef VBLK_PASS_H
#define VBLK_PASS_H

#include "copy.h"

#define PASS_PIECES	16

/**
 * struct piece - a part of the disk on its way to or from the target
 * @data: the buffer: max_bytes of the pass
 * @is_busy: it is libnbd's
 * @error: how the last command with it has ended: a positive errno, or 0
 */
struct piece {
	char *data;
	bool is_busy;
	int error;
};

/**
 * struct pass - one walk
 * @c: the copy
 * @t: the target
 * @memory: of all pieces
 * @pieces: in turn
 * @max_bytes: of a piece
 * @next: which one is next
 * @due: when the next may be read, in nanoseconds
 * @next_passed: from where on the kernel is to know again how far the disk has been read
 */
struct pass {
	struct copy *c;
	struct target *t;
	char *memory;
	struct piece pieces[PASS_PIECES];
	uint64_t max_bytes;
	unsigned int next;
	uint64_t due;
	uint64_t next_passed;
};

int pass_begin(struct pass *p, struct copy *c, struct target *t, const char *verb);
void pass_end(struct pass *p);
int pass_spend(struct pass *p, uint64_t bytes);
int pass_read(struct pass *p, uint64_t offset, char *data, uint64_t bytes);
void pass_have_read(struct pass *p, uint64_t end);
int pass_report_lost(const struct copy *c, int error, const char *what);
uint64_t pass_piece_bytes(const struct pass *p, uint64_t offset, uint64_t end);
uint64_t pass_padded(const struct pass *p, uint64_t bytes);
int pass_wait(struct pass *p, struct piece *piece, const char *what);
nbd_completion_callback pass_start(struct piece *piece);

#endif
