/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_CHAIN_H
#define VBLK_CHAIN_H

#include <stddef.h>

#include "backing-policy.h"
#include "image.h"

/**
 * struct chain - an image and what is below it
 * @images: the top first; those below it belong to the chain
 * @n: how many there are, at least one
 * @owners: of @images, each once; not of data files
 * @nr_owners: how many there are
 */
struct chain {
	struct image *images[MAX_CHAIN];
	size_t n;
	uid_t owners[MAX_CHAIN];
	size_t nr_owners;
};

int chain_open(struct chain *c, struct image *top, const struct backing_policy *policy);
void chain_close(struct chain *c);
char *chain_table(const struct chain *c, bool with_paths);

#endif
