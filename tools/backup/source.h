/* SPDX-License-Identifier: GPL-2.0-only */
/* A backup that is put back: it, and all images that it lies on. */
#ifndef VBLK_SOURCE_H
#define VBLK_SOURCE_H

#include <stdbool.h>

#include "disk/chain.h"
#include "mark.h"

/**
 * struct source - a backup that is read
 * @policy: what its chain may have in it
 * @as_is: also if it is damaged, or was changed since it was made
 * @img: the backup
 * @chain: it, and what is below it
 * @mark: which backup it is; of one that does not say, all is 0
 * @is_doubtful: it is damaged, or was changed
 * @text: all of them, for qemu-img
 * @sealed: of each image, when nobody had changed it yet
 */
struct source {
	const struct backing_policy *policy;
	bool as_is;
	struct image img;
	struct chain chain;
	struct mark mark;
	bool is_doubtful;
	char *text;
	struct stat *sealed;
};

int source_open(struct source *s, const char *path, enum image_format format, const char *target);
bool source_has_direct_io(const struct source *s);
int source_check_still(const struct source *s);
void source_close(struct source *s);

/* source-check.c */
int source_check(struct source *s);

/* source-end.c */
struct qcow2_header;
int source_is_cut(const struct image *img, const struct qcow2_header *h);

#endif
