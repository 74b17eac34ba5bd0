/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_LAYERS_H
#define VBLK_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "image.h"

/**
 * struct layer - one image of a chain, for people
 * @path: absolute
 * @format: raw or qcow2
 * @bytes: the size that it has as a disk, 0 where that is not known
 * @data: absolute path of its data file, or NULL
 */
struct layer {
	char *path;
	char *data;
	enum image_format format;
	uint64_t bytes;
};

/**
 * struct layers - the images of a disk
 * @list: the top first
 * @n: how many there are
 */
struct layers {
	struct layer list[MAX_CHAIN];
	size_t n;
};

int layers_of_chain(const struct chain *chain, struct layers *layers);
int layers_of_device(const char *device, uint64_t *bytes, struct layers *layers);
void layers_drop(struct layers *layers, size_t first, size_t n);
void layers_free(struct layers *layers);

#endif
