// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests, and how they are cut into descriptors.
 *
 * A slot's header, data and status lie side by side, so that a descriptor may
 * cover the end of one and the beginning of the next:
 *
 *	... [header 16][data ............][status 1] ...
 *	              ^ page, or page + odd bytes
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include "virtio-front.h"

#define LOST_AFTER_MS	60000

static uint64_t layout_random = 88172645463325252ULL;

struct front_slot *front_slots(struct front *front, struct front_ring *ring,
			       unsigned int nr)
{
	size_t bytes = front->options.max_bytes + 2 * FRONT_PAGE;
	struct front_slot *slots = calloc(nr, sizeof(*slots));
	unsigned int i;

	if (!slots)
		err(1, "slots");
	for (i = 0; i < nr; i++) {
		uint8_t *memory = front_memory_get(&front->memory, bytes, FRONT_PAGE);

		slots[i].ring = ring;
		slots[i].data = memory + FRONT_PAGE;
		if (front->options.is_unaligned)
			slots[i].data += 1 + front_random(&layout_random) % 509;
		slots[i].header = (void *)(slots[i].data - sizeof(*slots[i].header));
	}
	return slots;
}

static unsigned int add_whole(struct front_segment *segments, uint64_t gpa,
			      uint32_t bytes, bool is_in)
{
	if (!bytes)
		return 0;
	*segments = (struct front_segment){ gpa, bytes, is_in };
	return 1;
}

/* Where a scattered request is cut: blocks mostly, now and then anywhere. */
static uint32_t random_piece(uint32_t bytes)
{
	uint64_t random = front_random(&layout_random);
	uint32_t piece = 1 + random % 5000;

	if (random >> 60)
		piece = FRONT_SECTOR << (random >> 32) % 8;
	return piece < bytes ? piece : bytes;
}

static unsigned int add_pieces(struct front_segment *segments, unsigned int room,
			       uint64_t gpa, uint32_t bytes, bool is_in)
{
	unsigned int nr = 0;

	while (bytes && nr + 1 < room) {
		uint32_t piece = random_piece(bytes);

		nr += add_whole(&segments[nr], gpa, piece, is_in);
		gpa += piece;
		bytes -= piece;
	}
	return nr + add_whole(&segments[nr], gpa, bytes, is_in);
}

/* Data that the type carries to the device comes with the header. */
static bool is_out(uint32_t type)
{
	return type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
}

/* Header | data | status, as all drivers have it. */
static unsigned int cut_plain(const struct front_slot *slot, uint64_t data,
			      struct front_segment *segments)
{
	unsigned int nr = add_whole(segments, data - sizeof(*slot->header),
				    sizeof(*slot->header), false);

	nr += add_whole(&segments[nr], data, slot->bytes, !is_out(slot->type));
	return nr + add_whole(&segments[nr], data + slot->bytes, 1, true);
}

static unsigned int cut_anywhere(const struct front_slot *slot, uint64_t data,
				 struct front_segment *segments, unsigned int room)
{
	uint32_t out = sizeof(*slot->header) + (is_out(slot->type) ? slot->bytes : 0);
	uint32_t in = 1 + (is_out(slot->type) ? 0 : slot->bytes);
	unsigned int nr;

	nr = add_pieces(segments, room / 2, data - sizeof(*slot->header), out, false);
	return nr + add_pieces(&segments[nr], room - nr, data + slot->bytes + 1 - in,
			       in, true);
}

/* Make a request available; the caller kicks. */
void front_submit(struct front *front, struct front_slot *slot, uint32_t type,
		  uint64_t sector, uint32_t bytes)
{
	struct front_segment segments[FRONT_MAX_SEGMENTS];
	uint64_t data = front_gpa(&front->memory, slot->data);
	unsigned int room, nr;

	slot->type = type;
	slot->sector = sector;
	slot->bytes = bytes;
	slot->header->type = type;
	slot->header->ioprio = 0;
	slot->header->sector = sector;
	slot->data[bytes] = 0xff;

	room = slot->ring->has_indirect ? 128 : slot->ring->size / front->options.depth;
	if (front->options.is_scattered && room >= 4)
		nr = cut_anywhere(slot, data, segments, room);
	else
		nr = cut_plain(slot, data, segments);
	if (front_ring_add(slot->ring, segments, nr, slot) < 0)
		errx(1, "queue %u: no room for %u descriptors", slot->ring->index, nr);
}

uint8_t front_status(const struct front_slot *slot)
{
	return slot->data[slot->bytes];
}

/* The next request that completes; a server may be away meanwhile, not for long. */
struct front_slot *front_next(struct front_ring *ring, uint32_t *used_bytes)
{
	if (!front_ring_wait(ring, LOST_AFTER_MS))
		errx(1, "queue %u: a request is lost (available %u, used %u)",
		     ring->index, ring->avail->idx, ring->last_used);
	return front_ring_get(ring, used_bytes);
}

/* One request on an otherwise idle queue. */
uint8_t front_do(struct front *front, struct front_slot *slot, uint32_t type,
		 uint64_t sector, uint32_t bytes, uint32_t *used_bytes)
{
	front_submit(front, slot, type, sector, bytes);
	front_ring_kick(slot->ring);
	if (front_next(slot->ring, used_bytes) != slot)
		errx(1, "queue %u: another request completed", slot->ring->index);
	return front_status(slot);
}
