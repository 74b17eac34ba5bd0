/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How far a verb is that takes long: a bar on a terminal, lines, or JSON, on standard error; and a line whenever SIGUSR1
 * comes. All rooms may call it, as they may err.h.
 *
 *	progress_parse() - progress_init() - { progress_start() - progress_update()... - progress_end() }...
 */
#ifndef VBLK_PROGRESS_H
#define VBLK_PROGRESS_H

#include <stdint.h>

enum progress_mode {
	PROGRESS_AUTO,	/* a bar on a terminal, else nothing */
	PROGRESS_NONE,
	PROGRESS_PLAIN,
	PROGRESS_JSON,
};

int progress_parse(const char *text, enum progress_mode *mode);
void progress_init(enum progress_mode mode);
void progress_start(const char *verb, uint64_t total_bytes);
void progress_update(uint64_t done_bytes);
void progress_poll(void);
void progress_end(void);
void progress_undo(void);

#endif
