// SPDX-License-Identifier: GPL-2.0-only
/*
 * An io_uring, used as fio does: one system call submits one I/O, and completions are taken out of
 * shared memory. Their work is deferred to the submitter, so no I/O interrupts it.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <err.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
	int ring_fd;
	int fd;
	unsigned int depth, io_bytes;
	struct io_uring_sqe *sqes;
	char *memory;			/* both queues, mapped at once */
	size_t memory_bytes;
	unsigned int *sq_tail, *sq_array, sq_mask;
	unsigned int *cq_head, *cq_tail, cq_mask;
	const struct io_uring_cqe *cqes;
	char *buffers;
	unsigned int *free_buffers;	/* the first depth - in_flight are free */
	unsigned int in_flight;
};

static void *map(const struct ring *ring, size_t bytes, off_t what)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			    ring->ring_fd, what);

	if (memory == MAP_FAILED)
		err(1, "io_uring: mmap");
	return memory;
}

static void set_up_queues(struct ring *ring)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};

	ring->ring_fd = syscall(__NR_io_uring_setup, ring->depth, &params);
	if (ring->ring_fd < 0)
		err(1, "io_uring_setup");
	ring->memory_bytes = params.cq_off.cqes + params.cq_entries * sizeof(*ring->cqes);
	ring->memory = map(ring, ring->memory_bytes, IORING_OFF_SQ_RING);
	ring->sqes = map(ring, params.sq_entries * sizeof(*ring->sqes), IORING_OFF_SQES);
	ring->sq_tail = (unsigned int *)(ring->memory + params.sq_off.tail);
	ring->sq_array = (unsigned int *)(ring->memory + params.sq_off.array);
	ring->sq_mask = params.sq_entries - 1;
	ring->cq_head = (unsigned int *)(ring->memory + params.cq_off.head);
	ring->cq_tail = (unsigned int *)(ring->memory + params.cq_off.tail);
	ring->cq_mask = params.cq_entries - 1;
	ring->cqes = (struct io_uring_cqe *)(ring->memory + params.cq_off.cqes);
}

/* Not of zeros only: a layer below may treat these in a way of its own. */
static void set_up_buffers(struct ring *ring)
{
	size_t bytes = (size_t)ring->depth * ring->io_bytes;
	unsigned int i;

	ring->buffers = aligned_alloc(4096, bytes);
	ring->free_buffers = calloc(ring->depth, sizeof(*ring->free_buffers));
	if (!ring->buffers || !ring->free_buffers)
		errx(1, "out of memory");
	memset(ring->buffers, 0xa5, bytes);
	for (i = 0; i < ring->depth; i++)
		ring->free_buffers[i] = i;
}

struct ring *ring_new(int fd, unsigned int depth, unsigned int io_bytes)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		errx(1, "out of memory");
	ring->fd = fd;
	ring->depth = depth;
	ring->io_bytes = io_bytes;
	set_up_queues(ring);
	set_up_buffers(ring);
	return ring;
}

static void enter(const struct ring *ring, unsigned int to_submit, unsigned int to_wait_for)
{
	int ret;

	do {
		ret = syscall(__NR_io_uring_enter, ring->ring_fd, to_submit, to_wait_for,
			      IORING_ENTER_GETEVENTS, NULL, 0);
	} while (ret < 0 && errno == EINTR);
	if (ret != (int)to_submit)
		err(1, "io_uring_enter");
}

void ring_submit(struct ring *ring, bool is_write, uint64_t offset)
{
	unsigned int buffer = ring->free_buffers[ring->depth - ++ring->in_flight];
	unsigned int tail = *ring->sq_tail, i = tail & ring->sq_mask;

	ring->sqes[i] = (struct io_uring_sqe) {
		.opcode = is_write ? IORING_OP_WRITE : IORING_OP_READ,
		.fd = ring->fd,
		.off = offset,
		.addr = (uintptr_t)ring->buffers + (size_t)buffer * ring->io_bytes,
		.len = ring->io_bytes,
		.user_data = buffer,
	};
	ring->sq_array[i] = i;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	enter(ring, 1, 0);
}

void ring_reap(struct ring *ring)
{
	unsigned int head = *ring->cq_head;

	if (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head)
		enter(ring, 0, 1);
	for (; head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE); head++) {
		const struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];

		if (cqe->res < 0)
			errx(1, "I/O: %s", strerror(-cqe->res));
		if (cqe->res != (int)ring->io_bytes)
			errx(1, "I/O: only %d bytes", cqe->res);
		ring->free_buffers[ring->depth - ring->in_flight--] = cqe->user_data;
	}
	__atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
}

unsigned int ring_in_flight(const struct ring *ring)
{
	return ring->in_flight;
}

void ring_free(struct ring *ring)
{
	munmap(ring->sqes, (ring->sq_mask + 1) * sizeof(*ring->sqes));
	munmap(ring->memory, ring->memory_bytes);
	close(ring->ring_fd);
	free(ring->buffers);
	free(ring->free_buffers);
	free(ring);
}
