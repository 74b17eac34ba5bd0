/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How every verb fails: one line `vblk-VERB: OBJECT: what failed: why`, a hint
 * with the command to run where one is known, and one of these exit codes.
 */
#ifndef VBLK_ERR_H
#define VBLK_ERR_H

#include <stdbool.h>

enum vblk_exit {
	VBLK_OK = 0,
	VBLK_FAILED = 1,
	VBLK_USAGE = 2,
	VBLK_NOT_FOUND = 3,
	VBLK_BUSY = 4,
	VBLK_DAMAGED = 5,
	VBLK_DENIED = 6,
	VBLK_UNSUPPORTED = 7,
};

void err_init(const char *verb);
void err_use_syslog(void);
void err_where(const char *where);
void err_wipe(bool has_bar);
enum vblk_exit err_code(int error);

__attribute__((format(printf, 3, 4)))
int err_report(enum vblk_exit code, const char *object, const char *fmt, ...);
__attribute__((format(printf, 3, 4)))
int err_errno(int error, const char *object, const char *fmt, ...);
void err_warn(const char *object, const char *text);
__attribute__((format(printf, 1, 2)))
void err_hint(const char *fmt, ...);
__attribute__((sentinel))
void err_hint_command(const char *word, ...);

#endif
