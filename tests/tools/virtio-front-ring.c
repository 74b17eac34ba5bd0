// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory and the driver's side of a split ring.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "virtio-front.h"

/* A device is as large as it is; a file without a name is made as large as needed. */
static int open_memory(const char *path, size_t bytes)
{
	struct stat st;
	int fd;

	if (path && stat(path, &st) == 0 && S_ISBLK(st.st_mode))
		return open(path, O_RDWR | O_CLOEXEC);
	fd = path ? open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) :
		    memfd_create("guest", MFD_CLOEXEC);
	return fd < 0 || ftruncate(fd, bytes) ? -1 : fd;
}

void front_memory_init(struct front_memory *memory, size_t bytes, const char *path)
{
	memory->bytes = (bytes + FRONT_PAGE - 1) & ~(size_t)(FRONT_PAGE - 1);
	memory->used = 0;
	memory->fd = open_memory(path, memory->bytes);
	if (memory->fd < 0)
		err(1, "guest memory");
	memory->base = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			    memory->fd, 0);
	if (memory->base == MAP_FAILED)
		err(1, "mmap");
}

void *front_memory_get(struct front_memory *memory, size_t bytes, size_t align)
{
	size_t at = (memory->used + align - 1) & ~(align - 1);

	if (at + bytes > memory->bytes)
		errx(1, "guest memory is too small");
	memory->used = at + bytes;
	return memory->base + at;
}

uint64_t front_gpa(const struct front_memory *memory, const void *address)
{
	return FRONT_GPA + ((const uint8_t *)address - memory->base);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		err(1, "eventfd");
	return fd;
}

void front_ring_init(struct front_ring *ring, struct front_memory *memory,
		     unsigned int index, const struct front_options *options)
{
	unsigned int size = options->queue_size;

	ring->memory = memory;
	ring->index = index;
	ring->size = size;
	ring->has_event_idx = options->has_event_idx;
	ring->has_indirect = options->has_indirect;
	ring->desc = front_memory_get(memory, size * sizeof(*ring->desc), FRONT_PAGE);
	ring->avail = front_memory_get(memory, 6 + 2 * size, FRONT_PAGE);
	ring->used = front_memory_get(memory, 6 + 8 * size, FRONT_PAGE);
	ring->tables = front_memory_get(memory, (size_t)size * FRONT_MAX_SEGMENTS *
					sizeof(*ring->tables), FRONT_PAGE);
	ring->tokens = calloc(size, sizeof(*ring->tokens));
	ring->lengths = calloc(size, sizeof(*ring->lengths));
	if (!ring->tokens || !ring->lengths)
		err(1, "ring");
	ring->kick_fd = new_eventfd();
	ring->call_fd = new_eventfd();
	ring->err_fd = new_eventfd();
	front_ring_reset(ring);
}

/* As after a reset of the device: nothing in flight, indices zero. */
void front_ring_reset(struct front_ring *ring)
{
	uint64_t drop;
	unsigned int i;

	memset(ring->avail, 0, 6 + 2 * ring->size);
	memset(ring->used, 0, 6 + 8 * ring->size);
	for (i = 0; i < ring->size; i++)
		ring->desc[i].next = i + 1;
	ring->free = 0;
	ring->nr_free = ring->size;
	ring->last_used = 0;
	ring->kicked = 0;
	(void)!read(ring->kick_fd, &drop, sizeof(drop));
	(void)!read(ring->err_fd, &drop, sizeof(drop));
}

static unsigned int take(struct front_ring *ring)
{
	unsigned int index = ring->free;

	ring->free = ring->desc[index].next;
	ring->nr_free--;
	return index;
}

static void fill(struct vring_desc *desc, const struct front_segment *segment)
{
	desc->addr = segment->gpa;
	desc->len = segment->bytes;
	desc->flags = segment->is_in ? VRING_DESC_F_WRITE : 0;
}

static unsigned int add_indirect(struct front_ring *ring,
				 const struct front_segment *segments, unsigned int nr)
{
	unsigned int i, head = take(ring);
	struct vring_desc *table = ring->tables + (size_t)head * FRONT_MAX_SEGMENTS;
	struct front_segment whole = {
		.gpa = front_gpa(ring->memory, table),
		.bytes = nr * sizeof(*table),
	};

	for (i = 0; i < nr; i++) {
		fill(&table[i], &segments[i]);
		if (i + 1 < nr)
			table[i].flags |= VRING_DESC_F_NEXT;
		table[i].next = i + 1;
	}
	fill(&ring->desc[head], &whole);
	ring->desc[head].flags = VRING_DESC_F_INDIRECT;
	ring->lengths[head] = 1;
	return head;
}

static unsigned int add_direct(struct front_ring *ring,
			       const struct front_segment *segments, unsigned int nr)
{
	unsigned int i, index = 0, head = ring->free;

	for (i = 0; i < nr; i++) {
		index = take(ring);
		fill(&ring->desc[index], &segments[i]);
		if (i + 1 < nr) {
			ring->desc[index].flags |= VRING_DESC_F_NEXT;
			ring->desc[index].next = ring->free;
		}
	}
	/* The free list went on from the last one; keep that link. */
	ring->desc[index].next = ring->free;
	ring->lengths[head] = nr;
	return head;
}

/* Build a chain and make it available. Returns its head, or -1 if there is no room. */
int front_ring_add(struct front_ring *ring, const struct front_segment *segments,
		   unsigned int nr, void *token)
{
	bool is_indirect = ring->has_indirect && nr > 1;
	unsigned int head;

	if (nr > FRONT_MAX_SEGMENTS || ring->nr_free < (is_indirect ? 1 : nr))
		return -1;
	head = is_indirect ? add_indirect(ring, segments, nr) :
			     add_direct(ring, segments, nr);
	ring->tokens[head] = token;
	front_ring_publish(ring, head);
	return head;
}

void front_ring_publish(struct front_ring *ring, unsigned int head)
{
	uint16_t index = ring->avail->idx;

	ring->avail->ring[index % ring->size] = head;
	atomic_thread_fence(memory_order_release);
	*(volatile uint16_t *)&ring->avail->idx = index + 1;
}

static volatile uint16_t *avail_event(struct front_ring *ring)
{
	return (uint16_t *)&ring->used->ring[ring->size];
}

static volatile uint16_t *used_event(struct front_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

/* Tell the device, unless it said that it is looking anyway. */
void front_ring_kick(struct front_ring *ring)
{
	uint16_t new = ring->avail->idx, old = ring->kicked;
	uint64_t one = 1;
	bool is_wanted;

	ring->kicked = new;
	atomic_thread_fence(memory_order_seq_cst);
	if (ring->has_event_idx)
		is_wanted = vring_need_event(*avail_event(ring), new, old);
	else
		is_wanted = !(*(volatile uint16_t *)&ring->used->flags &
			      VRING_USED_F_NO_NOTIFY);
	if (is_wanted && write(ring->kick_fd, &one, sizeof(one)) < 0)
		err(1, "kick");
}

static bool has_used(struct front_ring *ring)
{
	return *(volatile uint16_t *)&ring->used->idx != ring->last_used;
}

/* Take one used entry. Returns its token, NULL if there is none. */
void *front_ring_get(struct front_ring *ring, uint32_t *used_bytes)
{
	struct vring_used_elem *element;
	unsigned int i, head, last;

	if (!has_used(ring))
		return NULL;
	atomic_thread_fence(memory_order_acquire);
	element = &ring->used->ring[ring->last_used % ring->size];
	head = element->id;
	if (head >= ring->size || !ring->lengths[head])
		errx(1, "queue %u: used entry %u names %u, which is not in flight",
		     ring->index, ring->last_used, head);
	if (used_bytes)
		*used_bytes = element->len;
	ring->last_used++;

	for (last = head, i = 1; i < ring->lengths[head]; i++)
		last = ring->desc[last].next;
	ring->desc[last].next = ring->free;
	ring->free = head;
	ring->nr_free += ring->lengths[head];
	ring->lengths[head] = 0;
	return ring->tokens[head];
}

/* Sleep until there is a used entry. Returns false after the timeout. */
bool front_ring_wait(struct front_ring *ring, int timeout_ms)
{
	struct pollfd pollfd = { .fd = ring->call_fd, .events = POLLIN };
	uint64_t drop;

	while (!has_used(ring)) {
		if (ring->has_event_idx)
			*used_event(ring) = ring->last_used;
		else
			ring->avail->flags = 0;
		atomic_thread_fence(memory_order_seq_cst);
		if (has_used(ring))
			break;
		if (poll(&pollfd, 1, timeout_ms) == 0)
			return has_used(ring);
		(void)!read(ring->call_fd, &drop, sizeof(drop));
	}
	if (!ring->has_event_idx)
		ring->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	return true;
}

uint64_t front_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1DULL;
}

uint64_t front_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}
