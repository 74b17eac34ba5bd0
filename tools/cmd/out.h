/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OUT_H
#define VBLK_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "attached.h"
#include "qemu.h"

enum out_format {
	OUT_TEXT,
	OUT_JSON,
	OUT_LIBVIRT_XML,
};

void out_attached(const struct attached *a, enum out_format format,
		  enum qemu_reconnect reconnect);
int out_list(const struct attached *disks, size_t n, const char *column_list,
	     bool as_json);
int out_flush(void);

#endif
