/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_QEMU_H
#define VBLK_QEMU_H

#include <stddef.h>

#include "attached.h"

#define QEMU_ARG_BYTES	512

/**
 * enum qemu_reconnect - how a QEMU is told to connect again
 * @QEMU_RECONNECT_UNKNOWN: to be found out
 * @QEMU_RECONNECT_SECS: "reconnect=", in versions before 11
 * @QEMU_RECONNECT_MS: "reconnect-ms=", in versions from 9.2 on
 */
enum qemu_reconnect {
	QEMU_RECONNECT_UNKNOWN,
	QEMU_RECONNECT_SECS,
	QEMU_RECONNECT_MS,
};

/* Values of the options that make a guest use a disk. */
struct qemu_args {
	char object[QEMU_ARG_BYTES];
	char chardev[QEMU_ARG_BYTES];
	char device[QEMU_ARG_BYTES];
};

int qemu_parse_version(const char *text, enum qemu_reconnect *reconnect);
void qemu_make_args(const struct attached *a, enum qemu_reconnect reconnect,
		    struct qemu_args *args);

#endif
