// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that no sane driver sends.
 *
 * Each must be answered as it deserves, or break its own queue and nothing else;
 * a good write and read follow every one of them.
 */
#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "virtio-front.h"

#define ANSWER_MS	20000
#define BYTES		(2 * FRONT_PAGE)
/* Unused guest memory beyond the last region. */
#define NO_MEMORY	(FRONT_GPA + (1ULL << 40))

/**
 * struct fault_context - where faults happen
 * @front: all
 * @ring: the queue that is tormented
 * @slot: its buffers
 * @bystander: buffers of another queue, which must not notice; or NULL
 * @hole: guest page that its owner has no access to
 * @name: of the fault
 */
struct fault_context {
	struct front *front;
	struct front_ring *ring;
	struct front_slot *slot;
	struct front_slot *bystander;
	uint8_t *hole;
	const char *name;
};

struct fault {
	const char *name;
	void (*run)(struct fault_context *context);
};

static uint64_t gpa(const struct fault_context *context, const void *address)
{
	return front_gpa(&context->front->memory, address);
}

/* Header and status of the slot, for a request to be cut by hand. */
static uint64_t prepare(struct fault_context *context, uint32_t type, uint64_t sector,
			uint32_t bytes)
{
	struct front_slot *slot = context->slot;

	slot->type = type;
	slot->bytes = bytes;
	slot->header->type = type;
	slot->header->sector = sector;
	slot->data[bytes] = 0xff;
	return gpa(context, slot->data);
}

static void send(struct fault_context *context, const struct front_segment *segments,
		 unsigned int nr)
{
	if (front_ring_add(context->ring, segments, nr, context->slot) < 0)
		errx(1, "%s: no room", context->name);
	front_ring_kick(context->ring);
}

static void expect(struct fault_context *context, uint8_t status, uint32_t used)
{
	uint32_t used_bytes;

	if (!front_ring_wait(context->ring, ANSWER_MS))
		errx(1, "%s: no answer", context->name);
	front_ring_get(context->ring, &used_bytes);
	if (front_status(context->slot) != status || used_bytes != used)
		errx(1, "%s: status %u, used length %u; expected %u, %u", context->name,
		     front_status(context->slot), used_bytes, status, used);
}

static void write_and_read(struct front *front, struct front_slot *slot,
			   const char *name)
{
	uint32_t i;

	for (i = 0; i < BYTES; i++)
		slot->data[i] = i * 7 + slot->ring->index;
	if (front_do(front, slot, VIRTIO_BLK_T_OUT, 64, BYTES, NULL))
		errx(1, "%s: a good write fails afterwards", name);
	memset(slot->data, 0, BYTES);
	if (front_do(front, slot, VIRTIO_BLK_T_IN, 64, BYTES, NULL))
		errx(1, "%s: a good read fails afterwards", name);
	for (i = 0; i < BYTES; i++)
		if (slot->data[i] != (uint8_t)(i * 7 + slot->ring->index))
			errx(1, "%s: byte %u is wrong afterwards", name, i);
}

/* The queue gives up: it says so, answers nothing, and works again after a reset. */
static void expect_broken(struct fault_context *context)
{
	struct pollfd pollfd = { .fd = context->ring->err_fd, .events = POLLIN };
	struct front *front = context->front;
	struct front_ring *ring = context->ring;
	uint64_t one = 1;

	if (poll(&pollfd, 1, ANSWER_MS) != 1)
		errx(1, "%s: the queue is not given up", context->name);
	if (write(ring->kick_fd, &one, sizeof(one)) < 0)
		err(1, "kick");
	if (context->bystander)
		write_and_read(front, context->bystander, context->name);
	if (ring->used->idx != ring->last_used)
		errx(1, "%s: a broken queue answers", context->name);
	if (front_vhost_call(front, FRONT_STOP, ring->index))
		errx(1, "%s: a broken queue cannot be stopped", context->name);
	front_ring_reset(ring);
	if (front_vhost_call(front, FRONT_RUN, ring->index))
		errx(1, "%s: the queue cannot be started again", context->name);
}

/* Layouts that are legal and that earlier drivers refused */

static void header_in_three_pieces(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 3, false }, { data - 13, 8, false }, { data - 5, 5, false },
		{ data, BYTES, false }, { data + BYTES, 1, true },
	};

	send(context, segments, 5);
	expect(context, VIRTIO_BLK_S_OK, 1);
}

static void header_joined_with_data(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16 + BYTES, false }, { data + BYTES, 1, true },
	};

	send(context, segments, 2);
	expect(context, VIRTIO_BLK_S_OK, 1);
}

static void status_joined_with_data(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data, BYTES - 1, true },
		{ data + BYTES - 1, 2, true },
	};

	send(context, segments, 3);
	expect(context, VIRTIO_BLK_S_OK, BYTES + 1);
}

static void data_in_odd_pieces(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data, 1, true }, { data + 1, 510, true },
		{ data + 511, 4097, true }, { data + 4608, BYTES - 4608, true },
		{ data + BYTES, 1, true },
	};

	send(context, segments, 6);
	expect(context, VIRTIO_BLK_S_OK, BYTES + 1);
}

static void empty_descriptors(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = {
		{ data, 0, false }, { data - 16, 16, false }, { data, 0, false },
		{ data, BYTES, false }, { data, 0, true }, { data + BYTES, 1, true },
	};

	send(context, segments, 6);
	expect(context, VIRTIO_BLK_S_OK, 1);
}

static void nothing_to_read(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, 0);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data, 1, true },
	};

	send(context, segments, 2);
	expect(context, VIRTIO_BLK_S_OK, 1);
}

static void id_into_a_short_buffer(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_GET_ID, 0, 5);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data, 5, true }, { data + 5, 1, true },
	};

	send(context, segments, 3);
	expect(context, VIRTIO_BLK_S_OK, 6);
}

/* Requests that are answered with an error */

static void answer_plain(struct fault_context *context, uint32_t type,
			 uint64_t sector, uint32_t bytes, uint8_t status)
{
	struct front_slot *slot = context->slot;
	uint32_t used;

	if (front_do(context->front, slot, type, sector, bytes, &used) != status ||
	    used != 1)
		errx(1, "%s: status %u, used length %u; expected %u, 1", context->name,
		     front_status(slot), used, status);
}

static void unknown_type(struct fault_context *context)
{
	answer_plain(context, 0x1234, 0, BYTES, VIRTIO_BLK_S_UNSUPP);
}

/* VIRTIO_BLK_T_ZONE_REPORT */
static void zone_report(struct fault_context *context)
{
	answer_plain(context, 16, 0, 0, VIRTIO_BLK_S_UNSUPP);
}

static void read_across_the_end(struct fault_context *context)
{
	answer_plain(context, VIRTIO_BLK_T_IN, context->front->capacity - 8, BYTES,
		     VIRTIO_BLK_S_IOERR);
}

static void write_beyond_the_end(struct fault_context *context)
{
	answer_plain(context, VIRTIO_BLK_T_OUT, context->front->capacity, BYTES,
		     VIRTIO_BLK_S_IOERR);
}

static void sector_that_overflows(struct fault_context *context)
{
	answer_plain(context, VIRTIO_BLK_T_IN, UINT64_MAX - 7, BYTES, VIRTIO_BLK_S_IOERR);
	answer_plain(context, VIRTIO_BLK_T_IN, 1ULL << 55, BYTES, VIRTIO_BLK_S_IOERR);
}

static void half_a_sector(struct fault_context *context)
{
	answer_plain(context, VIRTIO_BLK_T_IN, 0, 256, VIRTIO_BLK_S_IOERR);
	answer_plain(context, VIRTIO_BLK_T_OUT, 0, BYTES + 1, VIRTIO_BLK_S_IOERR);
}

static void header_cut_short(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, 0);
	struct front_segment segments[] = {
		{ data - 16, 15, false }, { data, 1, true },
	};

	send(context, segments, 2);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
}

static void no_header(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, 0);
	struct front_segment segments[] = { { data, 1, true } };

	send(context, segments, 1);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
}

static void send_range(struct fault_context *context, uint32_t type, uint64_t sector,
		       uint32_t nr_sectors, uint32_t flags, uint32_t bytes,
		       uint8_t status)
{
	struct virtio_blk_discard_write_zeroes range = { sector, nr_sectors, flags };

	memset(context->slot->data, 0, bytes);
	memcpy(context->slot->data, &range, sizeof(range));
	answer_plain(context, type, 0, bytes, status);
}

static void ranges_out_of_order(struct fault_context *context)
{
	uint64_t end = context->front->capacity;

	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, end - 8, 16, 0, 16, VIRTIO_BLK_S_IOERR);
	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, 16, VIRTIO_BLK_S_UNSUPP);
	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0, 15, VIRTIO_BLK_S_IOERR);
	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0, 17, VIRTIO_BLK_S_IOERR);
	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0, 0, VIRTIO_BLK_S_IOERR);
	send_range(context, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0, 257 * 16, VIRTIO_BLK_S_IOERR);
}

/* Memory that the driver announced but its owner cannot touch */

static void data_in_a_hole(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, FRONT_PAGE);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { gpa(context, context->hole), FRONT_PAGE, true },
		{ data + FRONT_PAGE, 1, true },
	};

	send(context, segments, 3);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
	prepare(context, VIRTIO_BLK_T_OUT, 0, FRONT_PAGE);
	segments[1].is_in = false;
	send(context, segments, 3);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
}

static void odd_data_in_a_hole(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, FRONT_SECTOR);
	struct front_segment segments[] = {
		{ data - 16, 16, false },
		{ gpa(context, context->hole) + 1, FRONT_SECTOR, true },
		{ data + FRONT_SECTOR, 1, true },
	};

	send(context, segments, 3);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
}

static void header_in_a_hole(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, 0);
	struct front_segment segments[] = {
		{ gpa(context, context->hole), 16, false }, { data, 1, true },
	};

	send(context, segments, 2);
	expect(context, VIRTIO_BLK_S_IOERR, 1);
}

/* Without a status byte that can be written, the used length is zero. */
static void status_in_a_hole(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16 + BYTES, false }, { gpa(context, context->hole), 1, true },
	};

	send(context, segments, 2);
	expect(context, 0xff, 0);
}

static void no_status(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = { { data - 16, 16 + BYTES, false } };

	send(context, segments, 1);
	expect(context, 0xff, 0);
}

/* Rings that cannot be trusted any more */

static void readable_after_writable(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data + BYTES, 1, true }, { data, BYTES, false },
	};

	send(context, segments, 3);
	expect_broken(context);
}

static void address_outside_memory(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { NO_MEMORY, BYTES, true },
		{ data + BYTES, 1, true },
	};

	send(context, segments, 3);
	expect_broken(context);
}

/* One descriptor by hand, without an indirect table. */
static void send_raw(struct fault_context *context, struct vring_desc desc)
{
	context->ring->desc[0] = desc;
	front_ring_publish(context->ring, 0);
	front_ring_kick(context->ring);
}

static void chain_that_loops(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);

	send_raw(context, (struct vring_desc){ data - 16, 16, VRING_DESC_F_NEXT, 0 });
	expect_broken(context);
}

static void next_outside_the_table(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);

	send_raw(context, (struct vring_desc){ data - 16, 16, VRING_DESC_F_NEXT,
					       context->ring->size });
	expect_broken(context);
}

static void indirect_table_of_odd_length(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);

	send_raw(context, (struct vring_desc){ data, 17, VRING_DESC_F_INDIRECT, 0 });
	expect_broken(context);
}

static void indirect_table_in_itself(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct vring_desc inner = { data, 16, VRING_DESC_F_INDIRECT, 0 };

	memcpy(context->slot->data, &inner, sizeof(inner));
	send_raw(context, inner);
	expect_broken(context);
}

static void indirect_table_that_loops(struct fault_context *context)
{
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct vring_desc inner = { data, 16, VRING_DESC_F_NEXT, 0 };

	memcpy(context->slot->data, &inner, sizeof(inner));
	send_raw(context, (struct vring_desc){ data, 16, VRING_DESC_F_INDIRECT, 0 });
	expect_broken(context);
}

static void head_outside_the_table(struct fault_context *context)
{
	front_ring_publish(context->ring, context->ring->size);
	front_ring_kick(context->ring);
	expect_broken(context);
}

static void available_index_that_jumps(struct fault_context *context)
{
	context->ring->avail->idx += context->ring->size + 1;
	front_ring_kick(context->ring);
	expect_broken(context);
}

static void too_many_segments(struct fault_context *context)
{
	struct front_segment segments[FRONT_MAX_SEGMENTS];
	uint64_t data = prepare(context, VIRTIO_BLK_T_OUT, 0, BYTES);
	unsigned int i;

	if (!context->ring->has_indirect)
		return;
	for (i = 0; i < FRONT_MAX_SEGMENTS; i++)
		segments[i] = (struct front_segment){ data, 1, false };
	send(context, segments, FRONT_MAX_SEGMENTS);
	expect_broken(context);
}

/* A head that is in flight already is the driver's own problem, not ours. */
static void one_head_twice(struct fault_context *context)
{
	struct front_ring *ring = context->ring;
	uint64_t data = prepare(context, VIRTIO_BLK_T_IN, 0, BYTES);
	struct front_segment segments[] = {
		{ data - 16, 16, false }, { data, BYTES + 1, true },
	};
	uint16_t target = ring->last_used + 2;
	unsigned int ms;
	int head;

	head = front_ring_add(ring, segments, 2, context->slot);
	front_ring_publish(ring, head);
	front_ring_kick(ring);
	for (ms = 0; *(volatile uint16_t *)&ring->used->idx != target; ms++) {
		if (ms == ANSWER_MS)
			errx(1, "%s: used index %u, expected %u", context->name,
			     ring->used->idx, target);
		usleep(1000);
	}
	front_vhost_call(context->front, FRONT_STOP, ring->index);
	front_ring_reset(ring);
	front_vhost_call(context->front, FRONT_RUN, ring->index);
}

static const struct fault faults[] = {
#define FAULT(name) { #name, name }
	FAULT(header_in_three_pieces),
	FAULT(header_joined_with_data),
	FAULT(status_joined_with_data),
	FAULT(data_in_odd_pieces),
	FAULT(empty_descriptors),
	FAULT(nothing_to_read),
	FAULT(id_into_a_short_buffer),
	FAULT(unknown_type),
	FAULT(zone_report),
	FAULT(read_across_the_end),
	FAULT(write_beyond_the_end),
	FAULT(sector_that_overflows),
	FAULT(half_a_sector),
	FAULT(header_cut_short),
	FAULT(no_header),
	FAULT(ranges_out_of_order),
	FAULT(data_in_a_hole),
	FAULT(odd_data_in_a_hole),
	FAULT(header_in_a_hole),
	FAULT(status_in_a_hole),
	FAULT(no_status),
	FAULT(readable_after_writable),
	FAULT(address_outside_memory),
	FAULT(chain_that_loops),
	FAULT(next_outside_the_table),
	FAULT(indirect_table_of_odd_length),
	FAULT(indirect_table_in_itself),
	FAULT(indirect_table_that_loops),
	FAULT(head_outside_the_table),
	FAULT(available_index_that_jumps),
	FAULT(too_many_segments),
	FAULT(one_head_twice),
};

static bool is_chosen(const char *name, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return !argc;
}

/* All faults, or these that are named. */
int front_faults(struct front *front, int argc, char **argv)
{
	struct fault_context context = { .front = front, .ring = &front->rings[0] };
	size_t i, nr = 0;

	context.slot = front_slots(front, context.ring, 1);
	if (front->options.nr_queues > 1)
		context.bystander = front_slots(front, &front->rings[1], 1);
	context.hole = front_memory_get(&front->memory, FRONT_PAGE, FRONT_PAGE);
	if (mprotect(context.hole, FRONT_PAGE, PROT_NONE))
		err(1, "mprotect");
	front->transport->start(front);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (!is_chosen(faults[i].name, argc, argv))
			continue;
		context.name = faults[i].name;
		faults[i].run(&context);
		write_and_read(front, context.slot, context.name);
		nr++;
	}
	front->transport->stop(front);
	printf("%zu faults survived\n", nr);
	return nr ? 0 : 2;
}
