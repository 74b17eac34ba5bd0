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
/**
 * struct out_table - how a list is printed
 * @columns: names separated by commas, or NULL: those of a table, or all for JSON
 * @as_json: as JSON
 * @no_headings: a table without its first line
 * @in_bytes: sizes in a table are numbers of bytes
 */
struct out_table {
	const char *columns;
	bool as_json;
	bool no_headings;
	bool in_bytes;
};

int out_list(const struct attached *disks, size_t n, const struct out_table *how);
int out_flush(void);
void out_json(json_object *o);
json_object *out_bytes_json(uint64_t bytes);
void out_format_bytes(uint64_t bytes, char *text, size_t size);

#endif
