/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest was offered: features and the configuration space.
 *
 * A guest that runs has built on it, and does not look again when the server is another one, of a
 * newer version perhaps. So it is kept in NAME.json by the first server of a disk, and those that
 * take the disk over offer that, and nothing else.
 */
#ifndef VBLK_OFFER_H
#define VBLK_OFFER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFFER_MAX_CONFIG	256	/* as vhost-user has it */

/**
 * struct offer - what a guest was offered
 * @is_known: the rest is valid: not in the files of versions that did not write it
 * @features: virtio bits
 * @config: configuration space, as the guest reads it
 * @config_bytes: how much of it there was
 */
struct offer {
	bool is_known;
	uint64_t features;
	uint8_t config[OFFER_MAX_CONFIG];
	size_t config_bytes;
};

struct disk;

json_object *offer_to_json(const struct offer *offer);
bool offer_from_json(json_object *o, struct offer *offer);
void offer_take(struct offer *offer, const struct disk *disk);
int offer_keep(const struct offer *offer, struct disk *disk);

#endif
