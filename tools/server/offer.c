// SPDX-License-Identifier: GPL-2.0-only
/* What the guest was offered, kept and offered again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/err.h"
#include "offer.h"
#include "vhost-user/disk.h"

/** offer_to_json() - as it stands in NAME.json; the caller has it */
json_object *offer_to_json(const struct offer *offer)
{
	json_object *o = json_object_new_object();
	char text[2 * OFFER_MAX_CONFIG + 1];

	snprintf(text, sizeof(text), "0x%" PRIx64, offer->features);
	json_object_object_add(o, "features", json_object_new_string(text));
	for (size_t i = 0; i < offer->config_bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", offer->config[i]);
	text[2 * offer->config_bytes] = '\0';
	json_object_object_add(o, "config", json_object_new_string(text));
	return o;
}

static const char *get_text(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ?
	       json_object_get_string(v) : "";
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower-case digits only. */
static bool get_hex(const char *text, size_t max_digits, uint64_t *value)
{
	size_t digits = strlen(text);

	*value = 0;
	if (!digits || digits > max_digits)
		return false;
	for (; *text; text++) {
		if (hex_digit(*text) < 0)
			return false;
		*value = *value << 4 | hex_digit(*text);
	}
	return true;
}

static bool get_config(const char *text, struct offer *offer)
{
	char byte[3] = "";
	uint64_t value;

	for (offer->config_bytes = 0; *text; text += 2) {
		if (offer->config_bytes == OFFER_MAX_CONFIG || !text[1])
			return false;
		memcpy(byte, text, 2);
		if (!get_hex(byte, 2, &value))
			return false;
		offer->config[offer->config_bytes++] = value;
	}
	return offer->config_bytes > 0;
}

/** offer_from_json() - whether that is one; NULL is none, and stands for one that is not known */
bool offer_from_json(json_object *o, struct offer *offer)
{
	const char *features;

	memset(offer, 0, sizeof(*offer));
	if (!o)
		return true;
	features = get_text(o, "features");
	offer->is_known = !strncmp(features, "0x", 2) &&
			  get_hex(features + 2, 16, &offer->features) &&
			  get_config(get_text(o, "config"), offer);
	return offer->is_known;
}

/** offer_take() - note what a guest is offered of a disk */
void offer_take(struct offer *offer, const struct disk *disk)
{
	memset(offer, 0, sizeof(*offer));
	offer->is_known = true;
	offer->features = disk->features;
	offer->config_bytes = sizeof(disk->config);
	memcpy(offer->config, &disk->config, sizeof(disk->config));
}

/**
 * offer_keep() - have a disk offered as it was
 * @offer: as it was; @is_known
 * @disk: as it would be offered now; changed
 *
 * Only its size is what it is now: it may have grown while there was no server.
 *
 * Return: 0, or -EOPNOTSUPP when something was offered that is not there any more.
 */
int offer_keep(const struct offer *offer, struct disk *disk)
{
	struct virtio_blk_config config = {};
	size_t bytes = sizeof(config);

	if (offer->features & ~disk->features)
		return -EOPNOTSUPP;
	if (offer->config_bytes < bytes)
		bytes = offer->config_bytes;
	memcpy(&config, offer->config, bytes);
	config.capacity = disk->config.capacity;
	disk->config = config;
	disk->features = offer->features;
	return 0;
}
