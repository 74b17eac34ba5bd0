// SPDX-License-Identifier: GPL-2.0-only
/*
 * Transport: a vhost-user-blk server on a socket.
 *
 * When the server goes away the rings stay as they are; we connect again, as
 * QEMU's reconnect does, and name the used ring's index as the base.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <linux/vhost.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "virtio-front.h"

enum {
	GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8, SET_VRING_ADDR = 9, SET_VRING_BASE = 10,
	GET_VRING_BASE = 11, SET_VRING_KICK = 12, SET_VRING_CALL = 13,
	SET_VRING_ERR = 14, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17, SET_VRING_ENABLE = 18, GET_CONFIG = 24,
};

#define VERSION			1U
#define F_PROTOCOL_FEATURES	(1ULL << 30)
#define PROTOCOL_F_MQ		(1ULL << 0)
#define PROTOCOL_F_CONFIG	(1ULL << 9)
#define MAX_REGIONS		8
/* A server that is started again needs a while. */
#define CONNECT_SECONDS		60
#define IDLE_SECONDS		60
/* In place of an eventfd: bit 8 beside the queue's index. */
#define NO_FD			(1U << 8)

struct config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	struct virtio_blk_config blk;
} __attribute__((packed));

/* Those that every server has; some refuse to give more than they have. */
#define BLK_BYTES	offsetof(struct virtio_blk_config, max_secure_erase_sectors)

struct memory_table {
	uint32_t nr;
	uint32_t padding;
	struct {
		uint64_t gpa;
		uint64_t bytes;
		uint64_t user_address;
		uint64_t offset;
	} regions[MAX_REGIONS];
};

struct message {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	union {
		uint64_t number;
		struct vhost_vring_state state;
		struct vhost_vring_addr addresses;
		struct memory_table memory;
		struct config config;
	} payload;
} __attribute__((packed));

#define HEADER_BYTES	offsetof(struct message, payload)

/* False, here and below, means that the server is gone. */
static bool send_message(int link, struct message *message, const int *fds,
			 unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(MAX_REGIONS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { message, HEADER_BYTES + message->size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	message->flags = VERSION;
	if (nr_fds) {
		struct cmsghdr *cmsg = &control.align;

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	return sendmsg(link, &header, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

static bool receive_all(int link, void *to, size_t bytes)
{
	return recv(link, to, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static bool receive_reply(int link, struct message *message, uint32_t request)
{
	if (!receive_all(link, message, HEADER_BYTES))
		return false;
	if (message->request != request || message->size > sizeof(message->payload))
		errx(1, "request %u is answered by %u, %u bytes", request,
		     message->request, message->size);
	return !message->size || receive_all(link, &message->payload, message->size);
}

static bool set_number(int link, uint32_t request, uint64_t number)
{
	struct message message = { .request = request, .size = sizeof(number) };

	message.payload.number = number;
	return send_message(link, &message, NULL, 0);
}

static bool get_number(int link, uint32_t request, uint64_t *number)
{
	struct message message = { .request = request };

	if (!send_message(link, &message, NULL, 0) ||
	    !receive_reply(link, &message, request))
		return false;
	*number = message.payload.number;
	return true;
}

static bool set_state(int link, uint32_t request, unsigned int index, unsigned int num)
{
	struct message message = { .request = request, .size = sizeof(message.payload.state) };

	message.payload.state = (struct vhost_vring_state){ index, num };
	return send_message(link, &message, NULL, 0);
}

static bool set_fd(int link, uint32_t request, unsigned int index, int fd)
{
	struct message message = { .request = request, .size = sizeof(uint64_t) };

	message.payload.number = index;
	return send_message(link, &message, &fd, 1);
}

static bool negotiate(struct front *front)
{
	uint64_t features, protocol, nr_queues;
	uint64_t wanted = front_features(&front->options) | F_PROTOCOL_FEATURES;
	struct message own = { .request = SET_OWNER };

	if (!get_number(front->link, GET_FEATURES, &features))
		return false;
	if (wanted & ~features)
		errx(1, "features %#llx are not offered",
		     (unsigned long long)(wanted & ~features));
	if (!get_number(front->link, GET_PROTOCOL_FEATURES, &protocol))
		return false;
	protocol &= PROTOCOL_F_MQ | PROTOCOL_F_CONFIG;
	if (!set_number(front->link, SET_PROTOCOL_FEATURES, protocol) ||
	    !get_number(front->link, GET_QUEUE_NUM, &nr_queues))
		return false;
	if (nr_queues < front->options.nr_queues)
		errx(1, "%llu queues are offered", (unsigned long long)nr_queues);
	return send_message(front->link, &own, NULL, 0) &&
	       set_number(front->link, SET_FEATURES, wanted);
}

static bool get_config(struct front *front)
{
	struct message message = { .request = GET_CONFIG, .size = offsetof(struct config, blk) + BLK_BYTES };

	message.payload.config = (struct config){ .size = BLK_BYTES };
	if (!send_message(front->link, &message, NULL, 0) ||
	    !receive_reply(front->link, &message, GET_CONFIG))
		return false;
	if (message.size < offsetof(struct config, blk) + BLK_BYTES)
		errx(1, "the configuration of the disk is refused");
	front->capacity = message.payload.config.blk.capacity;
	front->max_discard = message.payload.config.blk.max_discard_sectors * (uint64_t)FRONT_SECTOR;
	return true;
}

static bool set_memory(struct front *front)
{
	const struct front_memory *memory = &front->memory;
	struct message message = { .request = SET_MEM_TABLE };
	struct memory_table table = { .nr = front->options.nr_regions };
	unsigned int i, nr = table.nr;
	size_t piece = memory->bytes / nr & ~(size_t)(FRONT_PAGE - 1);
	int fds[MAX_REGIONS];

	if (nr > MAX_REGIONS)
		errx(2, "vhost-user takes %u regions", MAX_REGIONS);
	for (i = 0; i < nr; i++) {
		fds[i] = memory->fd;
		table.regions[i].gpa = FRONT_GPA + i * piece;
		table.regions[i].user_address = (uintptr_t)memory->base + i * piece;
		table.regions[i].offset = i * piece;
		table.regions[i].bytes = i + 1 < nr ? piece : memory->bytes - i * piece;
	}
	message.payload.memory = table;
	message.size = offsetof(struct memory_table, regions) +
		       nr * sizeof(table.regions[0]);
	return send_message(front->link, &message, fds, nr);
}

static bool set_addresses(int link, const struct front_ring *ring)
{
	struct message message = {
		.request = SET_VRING_ADDR,
		.size = sizeof(message.payload.addresses),
	};

	message.payload.addresses = (struct vhost_vring_addr){
		.index = ring->index,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->avail,
		.used_user_addr = (uintptr_t)ring->used,
	};
	return send_message(link, &message, NULL, 0);
}

static bool start_ring(struct front *front, const struct front_ring *ring)
{
	uint16_t base = *(volatile uint16_t *)&ring->used->idx;
	int link = front->link;

	return set_state(link, SET_VRING_NUM, ring->index, ring->size) &&
	       set_state(link, SET_VRING_BASE, ring->index, base) &&
	       set_addresses(link, ring) &&
	       set_fd(link, SET_VRING_KICK, ring->index, ring->kick_fd) &&
	       set_fd(link, SET_VRING_CALL, ring->index, ring->call_fd) &&
	       set_fd(link, SET_VRING_ERR, ring->index, ring->err_fd) &&
	       set_state(link, SET_VRING_ENABLE, ring->index, 1);
}

static bool hand_over(struct front *front)
{
	unsigned int i;

	if (!negotiate(front) || !get_config(front) || !set_memory(front))
		return false;
	for (i = 0; i < front->options.nr_queues; i++)
		if (!start_ring(front, &front->rings[i]))
			return false;
	return true;
}

static bool connect_once(struct front *front)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(front->options.socket) >= sizeof(address.sun_path))
		errx(2, "%s: too long", front->options.socket);
	strcpy(address.sun_path, front->options.socket);
	front->link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (front->link < 0)
		err(1, "socket");
	if (!connect(front->link, (struct sockaddr *)&address, sizeof(address)) &&
	    hand_over(front))
		return true;
	close(front->link);
	front->link = -1;
	return false;
}

static void user_start(struct front *front)
{
	uint64_t deadline = front_now_ns() + CONNECT_SECONDS * 1000000000ULL;

	while (!connect_once(front)) {
		if (front_now_ns() > deadline)
			errx(1, "%s: no server", front->options.socket);
		usleep(20000);
	}
}

static void user_kill(struct front *front)
{
	close(front->link);
	front->link = -1;
}

/* Stop one ring. Everything popped must be in the used ring then. */
static bool stop_ring(struct front *front, const struct front_ring *ring)
{
	struct message message = {
		.request = GET_VRING_BASE,
		.size = sizeof(message.payload.state),
	};

	message.payload.state = (struct vhost_vring_state){ ring->index, 0 };
	if (!send_message(front->link, &message, NULL, 0) ||
	    !receive_reply(front->link, &message, GET_VRING_BASE))
		return false;
	if (message.payload.state.num != *(volatile uint16_t *)&ring->used->idx)
		errx(1, "queue %u: base %u, but used index %u", ring->index,
		     message.payload.state.num, ring->used->idx);
	return true;
}

static void user_stop(struct front *front)
{
	unsigned int i = 0;

	while (i < front->options.nr_queues) {
		if (stop_ring(front, &front->rings[i])) {
			i++;
			continue;
		}
		/* The server has died, and the next one lets all of them run again. */
		user_kill(front);
		user_start(front);
		i = 0;
	}
	user_kill(front);
}

static bool is_idle(const struct front_ring *ring)
{
	return *(volatile uint16_t *)&ring->used->idx ==
	       *(volatile uint16_t *)&ring->avail->idx;
}

static void wait_idle(const struct front_ring *ring)
{
	uint64_t deadline = front_now_ns() + IDLE_SECONDS * 1000000000ULL;

	while (!is_idle(ring)) {
		if (front_now_ns() > deadline)
			errx(1, "queue %u: requests are not done", ring->index);
		usleep(1000);
	}
}

/*
 * Nobody hears of what is done while there is no eventfd, so the queue comes to
 * rest. The next eventfd has to say that there may be something.
 */
static bool give_call(struct front *front, const struct front_ring *ring, int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	if (!set_number(front->link, SET_VRING_CALL, ring->index | NO_FD))
		return false;
	wait_idle(ring);
	if (!set_fd(front->link, SET_VRING_CALL, ring->index, fd))
		return false;
	if (poll(&pollfd, 1, IDLE_SECONDS * 1000) != 1)
		errx(1, "queue %u: its new eventfd is not signalled", ring->index);
	return true;
}

static void change_call(struct front *front, const struct front_ring *ring)
{
	int old = dup(ring->call_fd), new = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const uint64_t one = 1;

	if (old < 0 || new < 0)
		err(1, "eventfd");
	/* Whoever waits meanwhile waits on the old one. */
	if (give_call(front, ring, new) &&
	    (dup2(new, ring->call_fd) < 0 || write(old, &one, sizeof(one)) < 0))
		err(1, "eventfd");
	close(old);
	close(new);
}

static void user_disturb(struct front *front)
{
	unsigned int i;

	switch (front->options.disturb) {
	case DISTURB_KILL:
		user_kill(front);
		user_start(front);
		break;
	case DISTURB_STOP:
		for (i = 0; i < front->options.nr_queues; i++)
			if (!stop_ring(front, &front->rings[i]) ||
			    !start_ring(front, &front->rings[i]))
				return;
		break;
	case DISTURB_MEMORY:
		set_memory(front);
		break;
	case DISTURB_CALL:
		for (i = 0; i < front->options.nr_queues; i++)
			change_call(front, &front->rings[i]);
		break;
	default:
		errx(2, "this disturbance needs --device");
	}
}

/* The server never speaks unasked: something to read is the end. */
static bool user_is_alive(struct front *front, int timeout_ms)
{
	struct pollfd pollfd = { .fd = front->link, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 0;
}

const struct front_transport front_user = {
	.start = user_start,
	.stop = user_stop,
	.kill = user_kill,
	.disturb = user_disturb,
	.is_alive = user_is_alive,
};
