/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OUT_H
#define VBLK_OUT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attached.h"
#include "disk/layers.h"
#include "qemu.h"

enum out_format {
	OUT_TEXT,
	OUT_JSON,
	OUT_LIBVIRT_XML,
};

void out_attached(const struct attached *a, const struct layers *layers, enum out_format format,
		  enum qemu_reconnect reconnect);
int out_list(const struct attached *disks, size_t n, const char *column_list,
	     bool as_json);
int out_flush(void);
void out_json(json_object *o);
json_object *out_bytes_json(uint64_t bytes);
void out_format_bytes(uint64_t bytes, char *text, size_t size);

#endif
