/* SPDX-License-Identifier: GPL-2.0-only */
/* The name of the backing file in the header of an image, changed while nobody else writes to that. */
#ifndef VBLK_BACKING_SET_H
#define VBLK_BACKING_SET_H

#include <stdbool.h>

#include "live.h"

/**
 * struct backing_place - where in the header's cluster a name is
 * @offset: of its first byte
 * @bytes: its length
 * @format: of the file that it names
 */
struct backing_place {
	uint64_t offset;
	uint32_t bytes;
	enum image_format format;
};

char *backing_get(const struct live_image *img);
int backing_resolve(const char *name, const char *namer, const struct stat *st, char *path);
bool backing_means(const char *name, const char *namer, const struct stat *st);
int backing_find_room(const struct live_image *img, const char *name, enum image_format format,
		      struct backing_place *place);
int backing_set(const struct live_image *img, const char *name, enum image_format format,
		struct backing_place *was);
int backing_set_back(const struct live_image *img, const struct backing_place *was);

#endif
