/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_BACKING_NAME_H
#define VBLK_BACKING_NAME_H

#include <limits.h>

#include "image.h"

#define BACKING_WHY_BYTES	2048

/* What a name allows its file to be; QEMU is as strict. */
enum backing_kind {
	BACKING_ANY,
	BACKING_FILE,
	BACKING_DEVICE,
};

/**
 * struct backing_name - the file that the name in a header means
 * @path: for open()
 * @kind: what it has to be
 * @format: what a json: name says of it, else IMAGE_UNKNOWN
 */
struct backing_name {
	char path[PATH_MAX];
	enum backing_kind kind;
	enum image_format format;
};

int backing_name_parse(const char *name, const char *namer, struct backing_name *out, char *why);
const char *image_format_name(enum image_format format);
enum image_format image_format_find(const char *name);

#endif
