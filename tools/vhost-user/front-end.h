/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the messages of one connection have said so far: of the files that act on
 * them. Everybody else sees session.h.
 */
#ifndef VBLK_VHOST_FRONT_END_H
#define VBLK_VHOST_FRONT_END_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "connection.h"
#include "disk.h"
#include "kernel.h"
#include "memory.h"

#define BIT(n)		(1ULL << (n))

struct trouble;

/**
 * struct ring - a queue as the front-end described it
 * @size: descriptors
 * @base: position given by the front-end; the kernel uses the used ring's
 * @addr: addresses of the front-end
 * @has_addr: @addr is valid
 * @is_started: between a kick eventfd and GET_VRING_BASE
 * @is_enabled: by SET_VRING_ENABLE
 * @is_running: in the kernel
 * @kick: eventfd, or -1; likewise @call and @err
 * @running_addr: addresses that the kernel has, with @is_running
 */
struct ring {
	unsigned int size;
	unsigned int base;
	struct vhost_user_vring_addr addr;
	bool has_addr;
	bool is_started;
	bool is_enabled;
	bool is_running;
	int kick;
	int call;
	int err;
	struct vhost_vring_addr running_addr;
};

/**
 * struct vhost_user - a connection
 * @conn: the socket
 * @stop_fd: readable when the server is to stop
 * @disk: what is served
 * @kernel: open once a queue has run, until a reset
 * @features: what the driver acknowledged
 * @protocol_features: what the front-end acknowledged
 * @mem: current memory table
 * @next: table under construction; empty otherwise
 * @peer: pid of the front-end, or -1
 * @trouble: where to tell what goes wrong
 * @why: the message that is being handled was refused for this
 * @waits: a ring is to run, but is not in the memory table
 * @waits_since_ms: since then, in CLOCK_MONOTONIC
 * @has_told: that it waits
 * @has_said_short: somebody was told that queues are too short
 * @is_paused: no queue is to run
 * @backend_fd: socket for requests to the front-end, or -1
 */
struct vhost_user {
	struct vhost_conn conn;
	int stop_fd;
	const struct disk *disk;
	struct vhost_kernel kernel;
	uint64_t features;
	uint64_t protocol_features;
	struct vhost_mem *mem;
	struct vhost_mem *next;
	pid_t peer;
	struct trouble *trouble;
	const char *why;
	bool waits;
	int64_t waits_since_ms;
	bool has_told;
	bool has_said_short;
	bool is_paused;
	int backend_fd;
	struct ring rings[VHOST_BLK_MAX_QUEUES];
};

static inline void vhost_user_replace_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* Say why a message is refused, where an errno does not. */
static inline int vhost_user_refuse(struct vhost_user *vu, int err, const char *why)
{
	vu->why = why;
	return err;
}

#endif
