/* SPDX-License-Identifier: GPL-2.0-only */
/* A server that is given descriptors of ours. */
#ifndef VBLK_HAND_OVER_H
#define VBLK_HAND_OVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Where it finds them: the socket as from systemd, then others. */
#define HAND_OVER_FIRST		3
#define HAND_OVER_NOT_FOUND	127

pid_t hand_over_start(const char *const argv[], const int fds[], size_t n, bool has_no_terminal);
int hand_over_report(const char *program, const char *name, int status);

#endif
