/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OUT_CHAIN_H
#define VBLK_OUT_CHAIN_H

#include <json-c/json.h>
#include <stdbool.h>

#include "attached.h"
#include "disk/layers.h"

/**
 * struct plan - what an attach would do
 * @name: of the device
 * @bytes: its size
 * @is_read_only: attached read-only
 * @layers: its images
 * @table: the table line, with their paths
 */
struct plan {
	const char *name;
	uint64_t bytes;
	bool is_read_only;
	const struct layers *layers;
	const char *table;
};

void out_path(const char *what, const char *path);
void out_layers(const struct layers *layers);
json_object *out_layers_json(const struct layers *layers);
int out_plan(const struct plan *plan, bool as_json);
int out_chain(const struct attached *a, const struct layers *layers, bool as_json);

#endif
