// SPDX-License-Identifier: GPL-2.0-only
/*
 * One vhost-user connection: the front-end's messages turned into the state of
 * /dev/vhost-blk.
 *
 *            KICK                     GET_VRING_BASE, reset, end
 *   stopped ------> started, enabled ----------------------------> stopped
 *                   = running, while its addresses are in mapped memory
 *
 * What the front-end says is kept here, and the kernel device is opened when
 * the first queue is to run. That way a reset is a close, and a table that
 * misses the memory of a ring for a moment only pauses that ring.
 */
#include <errno.h>
#include <linux/vhost_blk.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "trouble.h"
#include "vhost-conn.h"
#include "vhost-kernel.h"
#include "vhost-peer.h"
#include "vhost-user-msg.h"
#include "vhost-user.h"

#define BIT(n)		(1ULL << (n))
#define MAX_RING_SIZE	32768

/* A table that misses a ring's memory is replaced at once when all is well. */
#define MEMORY_WAIT_MS	2000

#define PROTOCOL_FEATURES					\
	(BIT(VHOST_USER_PROTOCOL_F_MQ) |			\
	 BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |			\
	 BIT(VHOST_USER_PROTOCOL_F_CONFIG) |			\
	 BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |		\
	 BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

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
	struct ring rings[VHOST_BLK_MAX_QUEUES];
};

static void replace_fd(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* Say why a message is refused, where an errno does not. */
static int refuse(struct vhost_user *vu, int err, const char *why)
{
	vu->why = why;
	return err;
}

static struct ring *find_ring(struct vhost_user *vu, unsigned int index)
{
	return index < vu->disk->serving->queues ? &vu->rings[index] : NULL;
}

/* Features that the kernel acts on; the rest is configuration space. */
static uint64_t kernel_features(const struct vhost_user *vu)
{
	return vu->features & vu->disk->kernel_features;
}

static int translate_ring(const struct vhost_mem *m, const struct ring *r,
			  struct vhost_vring_addr *out)
{
	const uint64_t n = r->size;
	uint64_t desc, used, avail;

	if (!r->has_addr || !n ||
	    vhost_mem_translate(m, r->addr.desc, 16 * n, &desc) ||
	    vhost_mem_translate(m, r->addr.avail, 6 + 2 * n, &avail) ||
	    vhost_mem_translate(m, r->addr.used, 6 + 8 * n, &used))
		return -EFAULT;
	*out = (struct vhost_vring_addr){
		.index = r->addr.index,
		.flags = r->addr.flags,
		.desc_user_addr = desc,
		.used_user_addr = used,
		.avail_user_addr = avail,
		.log_guest_addr = r->addr.log,
	};
	return 0;
}

static bool should_run(const struct vhost_user *vu, const struct ring *r)
{
	/* Without protocol features there is no message that enables. */
	bool is_enabled = r->is_enabled ||
		!(vu->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return r->is_started && is_enabled;
}

static int open_kernel(struct vhost_user *vu)
{
	int err;

	if (vu->kernel.fd >= 0)
		return 0;
	err = vhost_kernel_open(&vu->kernel, vu->disk, vu->stop_fd);
	if (err)
		return err;
	err = vhost_kernel_set_features(&vu->kernel, kernel_features(vu));
	if (!err)
		err = vhost_kernel_set_memory(&vu->kernel, vu->mem);
	if (err)
		vhost_kernel_close(&vu->kernel);
	return err;
}

/* A driver without indirect descriptors takes seg_max at its word. */
static void say_short(struct vhost_user *vu, const struct ring *r)
{
	const struct serving *serving = vu->disk->serving;

	if (vu->has_said_short || r->size >= serving->queue_size ||
	    vu->features & BIT(VIRTIO_RING_F_INDIRECT_DESC))
		return;
	vu->has_said_short = true;
	err_report(VBLK_FAILED, vu->disk->name,
		   "queue %ld has %u descriptors, but the driver was told of up to %u segments a request",
		   (long)(r - vu->rings), r->size,
		   serving->queue_size - 2);
	err_hint("vblk-attach --queue-size %u, or queues of %u in the front-end",
		 r->size, serving->queue_size);
}

static int start_ring(struct vhost_user *vu, struct ring *r)
{
	struct vhost_kernel_ring kr = {
		.size = r->size,
		.kick = r->kick,
		.call = r->call,
		.err = r->err,
	};
	int err;

	if (translate_ring(vu->mem, r, &kr.addr))
		return 0;	/* until its memory is there */
	err = open_kernel(vu);
	if (!err)
		err = vhost_kernel_start_ring(&vu->kernel, &kr);
	if (err)
		return err;
	r->is_running = true;
	r->running_addr = kr.addr;
	say_short(vu, r);
	return 0;
}

static int stop_ring(struct vhost_user *vu, struct ring *r)
{
	unsigned int index = r - vu->rings;
	int err;

	if (!r->is_running)
		return 0;
	err = vhost_kernel_stop_ring(&vu->kernel, index);
	if (!err)
		err = vhost_kernel_get_base(&vu->kernel, index, &r->base);
	if (!err)
		r->is_running = false;
	return err;
}

/* Make the kernel run the queue, or not, as the front-end has it now. */
static int update_ring(struct vhost_user *vu, struct ring *r)
{
	if (!should_run(vu, r))
		return stop_ring(vu, r);
	return r->is_running ? 0 : start_ring(vu, r);
}

/* Queues stop, and their requests are done, when this returns. */
static void close_kernel(struct vhost_user *vu)
{
	unsigned int i;

	vhost_kernel_close(&vu->kernel);
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++)
		vu->rings[i].is_running = false;
}

static void reset_device(struct vhost_user *vu)
{
	unsigned int i;

	close_kernel(vu);
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++) {
		vu->rings[i].is_started = false;
		vu->rings[i].is_enabled = false;
		vu->rings[i].has_addr = false;
	}
	vu->features = 0;
}

/* Give the kernel the next table, and the rings their place in it. */
static int switch_memory(struct vhost_user *vu)
{
	struct vhost_vring_addr addr;
	struct ring *r;
	int err;

	if (vu->kernel.fd < 0)
		return 0;
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		if (!r->is_running || !translate_ring(vu->next, r, &addr))
			continue;
		err = stop_ring(vu, r);
		if (err)
			return err;
	}
	err = vhost_kernel_set_memory(&vu->kernel, vu->next);
	if (err)
		return err;
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		if (!r->is_running || translate_ring(vu->next, r, &addr) ||
		    !memcmp(&addr, &r->running_addr, sizeof(addr)))
			continue;
		err = vhost_kernel_set_addr(&vu->kernel, &addr);
		if (err)
			return err;
		r->running_addr = addr;
	}
	return 0;
}

/* Make vu->next the memory table. No request uses the old one afterwards. */
static int commit_memory(struct vhost_user *vu)
{
	struct vhost_mem *old = vu->mem;
	struct ring *r;
	int err;

	err = switch_memory(vu);
	if (err) {
		/* It may have either table now; the caller unmaps the new one. */
		close_kernel(vu);
		return err;
	}
	vu->mem = vu->next;
	vu->next = old;
	vhost_mem_unmap_unshared(vu->next, vu->mem);
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		err = update_ring(vu, r);
		if (err)
			return err;
	}
	return 0;
}

static int add_region(struct vhost_user *vu,
		      const struct vhost_user_region *wire, int fd)
{
	int err = vhost_mem_add(vu->next, vu->mem, wire, fd);

	if (err == -EOPNOTSUPP)
		return refuse(vu, err,
			      "guest memory is in a file on a disk or in a device: it has to be a memfd, or on tmpfs or hugetlbfs");
	if (err == -EINVAL)
		return refuse(vu, err,
			      "a region of guest memory is empty, too long, or overlaps another");
	if (err == -ENOSPC)
		return refuse(vu, err, "guest memory has too many regions");
	return err;
}

/* From the region @from on, which are those that came with this message. */
static int commit_shared(struct vhost_user *vu, unsigned int from)
{
	const struct vhost_mem *m = vu->next;

	if (vhost_peer_has_private(vu->peer, m->regions + from, m->nr - from))
		return refuse(vu, -EINVAL,
			      "guest memory is not shared: QEMU's memory backend needs share=on");
	return commit_memory(vu);
}

static int replace_memory(struct vhost_user *vu,
			  const struct vhost_user_msg *msg)
{
	unsigned int i;
	int err;

	for (i = 0; i < msg->memory.nr_regions; i++) {
		err = add_region(vu, &msg->memory.regions[i], vu->conn.fds[i]);
		if (err)
			return err;
	}
	return commit_shared(vu, 0);
}

static int add_memory(struct vhost_user *vu, const struct vhost_user_msg *msg)
{
	int err;

	if (vu->mem->nr >= vu->disk->mem_slots)
		return refuse(vu, -ENOSPC, "guest memory has too many regions");
	*vu->next = *vu->mem;
	err = add_region(vu, &msg->region, vu->conn.fds[0]);
	return err ? err : commit_shared(vu, vu->mem->nr);
}

static int remove_memory(struct vhost_user *vu,
			 const struct vhost_user_msg *msg)
{
	int err;

	*vu->next = *vu->mem;
	err = vhost_mem_remove(vu->next, &msg->region);
	if (err)
		return refuse(vu, err, "there is no such region");
	return commit_memory(vu);
}

static int change_memory(struct vhost_user *vu,
			 const struct vhost_user_msg *msg)
{
	int err;

	if (msg->request == VHOST_USER_SET_MEM_TABLE)
		err = replace_memory(vu, msg);
	else if (msg->request == VHOST_USER_ADD_MEM_REG)
		err = add_memory(vu, msg);
	else
		err = remove_memory(vu, msg);
	/* Empty after a commit; after an error it may have mappings. */
	vhost_mem_unmap_unshared(vu->next, vu->mem);
	return err;
}

static int reply_u64(struct vhost_user *vu, const struct vhost_user_msg *msg,
		     uint64_t value)
{
	return vhost_conn_reply(&vu->conn, msg, &value, sizeof(value));
}

static int set_features(struct vhost_user *vu, uint64_t features)
{
	/* QEMU passes bits on that are between it and the driver. */
	vu->features = features & vu->disk->features;
	if (vu->kernel.fd < 0)
		return 0;
	return vhost_kernel_set_features(&vu->kernel, kernel_features(vu));
}

static int set_protocol_features(struct vhost_user *vu, uint64_t features)
{
	if (features & ~PROTOCOL_FEATURES)
		return refuse(vu, -EINVAL, "a bit that was not offered");
	vu->protocol_features = features;
	return 0;
}

static int set_ring_size(struct vhost_user *vu, struct ring *r,
			 unsigned int size)
{
	if (!size || size > MAX_RING_SIZE || (size & (size - 1)))
		return refuse(vu, -EINVAL, "no size that a queue may have");
	if (r->is_running)
		return refuse(vu, -EINVAL, "the queue runs");
	r->size = size;
	return 0;
}

static int set_ring_addr(struct vhost_user *vu, struct ring *r,
			 const struct vhost_user_vring_addr *addr)
{
	int err;

	if (addr->flags)
		return refuse(vu, -EINVAL, "flags: no dirty log was negotiated");
	err = stop_ring(vu, r);
	if (err)
		return err;
	r->addr = *addr;
	r->has_addr = true;
	return update_ring(vu, r);
}

static int change_fd(struct vhost_user *vu, struct ring *r, int *slot, int fd)
{
	int err = stop_ring(vu, r);

	replace_fd(slot, fd);
	return err ? err : update_ring(vu, r);
}

static int set_kick(struct vhost_user *vu, struct ring *r)
{
	int fd = vhost_conn_take_fd(&vu->conn, 0);

	if (fd < 0)
		return refuse(vu, -EOPNOTSUPP,
			      "without an eventfd: queues are not polled");
	r->is_started = true;
	return change_fd(vu, r, &r->kick, fd);
}

/*
 * Nobody may look at the old eventfd any more. A queue that starts signals the
 * new one, so nothing that was done before is missed.
 */
static int set_call(struct vhost_user *vu, struct ring *r)
{
	return change_fd(vu, r, &r->call, vhost_conn_take_fd(&vu->conn, 0));
}

static int set_err(struct vhost_user *vu, struct ring *r)
{
	replace_fd(&r->err, vhost_conn_take_fd(&vu->conn, 0));
	if (!r->is_running)
		return 0;
	return vhost_kernel_set_err(&vu->kernel, r - vu->rings, r->err);
}

static int get_base(struct vhost_user *vu, struct ring *r,
		    const struct vhost_user_msg *msg)
{
	struct vhost_user_vring_state state = { .index = msg->state.index };
	int err;

	err = stop_ring(vu, r);
	if (err)
		return err;
	r->is_started = false;
	replace_fd(&r->kick, -1);
	state.num = r->base;
	return vhost_conn_reply(&vu->conn, msg, &state, sizeof(state));
}

static int get_config(struct vhost_user *vu, const struct vhost_user_msg *msg)
{
	uint8_t space[VHOST_USER_CONFIG_BYTES] = {};
	struct vhost_user_config config = msg->config;

	memcpy(space, &vu->disk->config, sizeof(vu->disk->config));
	memcpy(config.data, space + config.offset, config.bytes);
	return vhost_conn_reply(&vu->conn, msg, &config,
		     offsetof(struct vhost_user_config, data) + config.bytes);
}

/* Messages about one queue. */
static int handle_ring(struct vhost_user *vu, struct ring *r,
		       const struct vhost_user_msg *msg)
{
	if (!r)
		return refuse(vu, -EINVAL, "there is no such queue");
	switch (msg->request) {
	case VHOST_USER_SET_VRING_NUM:
		return set_ring_size(vu, r, msg->state.num);
	case VHOST_USER_SET_VRING_ADDR:
		return set_ring_addr(vu, r, &msg->addr);
	case VHOST_USER_SET_VRING_BASE:
		r->base = msg->state.num;
		return 0;
	case VHOST_USER_GET_VRING_BASE:
		return get_base(vu, r, msg);
	case VHOST_USER_SET_VRING_KICK:
		return set_kick(vu, r);
	case VHOST_USER_SET_VRING_CALL:
		return set_call(vu, r);
	case VHOST_USER_SET_VRING_ERR:
		return set_err(vu, r);
	case VHOST_USER_SET_VRING_ENABLE:
		r->is_enabled = msg->state.num;
		return update_ring(vu, r);
	default:
		return -EOPNOTSUPP;
	}
}

static int handle_message(struct vhost_user *vu,
			  const struct vhost_user_msg *msg)
{
	switch (msg->request) {
	case VHOST_USER_GET_FEATURES:
		return reply_u64(vu, msg, vu->disk->features);
	case VHOST_USER_SET_FEATURES:
		return set_features(vu, msg->u64);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return reply_u64(vu, msg, PROTOCOL_FEATURES);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(vu, msg->u64);
	case VHOST_USER_SET_OWNER:
		return 0;
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_RESET_DEVICE:
		reset_device(vu);
		return 0;
	case VHOST_USER_GET_QUEUE_NUM:
		return reply_u64(vu, msg, vu->disk->serving->queues);
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		return reply_u64(vu, msg, vu->disk->mem_slots);
	case VHOST_USER_SET_MEM_TABLE:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return change_memory(vu, msg);
	case VHOST_USER_GET_CONFIG:
		return get_config(vu, msg);
	case VHOST_USER_SET_CONFIG:
		return refuse(vu, -EOPNOTSUPP,
			      "nothing of the configuration can be written");
	case VHOST_USER_SET_VRING_ADDR:
		return handle_ring(vu, find_ring(vu, msg->addr.index), msg);
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return handle_ring(vu, find_ring(vu, msg->vring_fd_index), msg);
	default:
		return handle_ring(vu, find_ring(vu, msg->state.index), msg);
	}
}

static bool has_own_reply(const struct vhost_user_msg *msg)
{
	switch (msg->request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_GET_VRING_BASE:
		return true;
	default:
		return false;
	}
}

static bool has_running_ring(const struct vhost_user *vu)
{
	unsigned int i;

	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++)
		if (vu->rings[i].is_running)
			return true;
	return false;
}

static void tell_refusal(struct vhost_user *vu, int err)
{
	const char *why = vu->why ?: strerror(-err);
	struct vhost_user_header h = {};

	if (vu->conn.bytes >= sizeof(h))
		memcpy(&h, vu->conn.buf, sizeof(h));
	if (!has_running_ring(vu))
		trouble_begin(vu->trouble, why);
	trouble_log(vu->trouble, "%s of process %d refused: %s",
		    vhost_user_request_name(h.request), vu->peer, why);
}

static int dispatch(struct vhost_user *vu, const struct vhost_user_msg *msg)
{
	int err = handle_message(vu, msg);

	if (err && err != -EPIPE)
		tell_refusal(vu, err);
	if (has_own_reply(msg) || !msg->needs_reply ||
	    !(vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)))
		return err;
	return reply_u64(vu, msg, err ? 1 : 0);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Do all queues run that are to? */
static void look_at_rings(struct vhost_user *vu)
{
	bool waits = false;
	struct ring *r;

	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++)
		waits = waits || (should_run(vu, r) && !r->is_running);
	if (waits && !vu->waits)
		vu->waits_since_ms = now_ms();
	vu->waits = waits;
	vu->has_told = vu->has_told && waits;
	if (!waits && has_running_ring(vu))
		trouble_end(vu->trouble);
}

/**
 * vhost_user_timeout_ms() - when to call vhost_user_check()
 *
 * Return: a timeout for poll(), -1 for none.
 */
int vhost_user_timeout_ms(const struct vhost_user *vu)
{
	int64_t left;

	if (!vu->waits || vu->has_told)
		return -1;
	left = vu->waits_since_ms + MEMORY_WAIT_MS - now_ms();
	return left > 0 ? left : 0;
}

/** vhost_user_check() - say so if a queue has waited long for its memory */
void vhost_user_check(struct vhost_user *vu)
{
	const char *why = "a queue is not in the memory that the guest shares";

	if (vhost_user_timeout_ms(vu) != 0)
		return;
	if (!vu->mem->nr)
		why = "guest memory is not shared: QEMU needs a memory backend with share=on";
	trouble_begin(vu->trouble, why);
	trouble_log(vu->trouble, "cannot serve process %d: %s", vu->peer, why);
	vu->has_told = true;
}

/**
 * vhost_user_handle() - do what the front-end asks for
 * @vu: a connection that is readable
 *
 * Return: 0, -ECONNRESET when the front-end has gone, another -errno when the
 * connection cannot go on.
 */
int vhost_user_handle(struct vhost_user *vu)
{
	struct vhost_user_msg msg;
	int err;

	vu->why = NULL;
	err = vhost_conn_receive(&vu->conn, &msg);
	if (err == -EAGAIN || err == -EINTR)
		return 0;
	if (!err)
		err = dispatch(vu, &msg);
	else if (err != -ECONNRESET)
		tell_refusal(vu, err);
	vhost_conn_forget(&vu->conn);
	look_at_rings(vu);
	return err;
}

/**
 * vhost_user_new() - begin a connection
 * @conn: the socket; belongs to the connection on success
 * @disk: what is served
 * @stop_fd: readable when the server is to stop
 * @trouble: where to tell what goes wrong
 *
 * Return: NULL when there is no memory.
 */
struct vhost_user *vhost_user_new(int conn, const struct disk *disk,
				  int stop_fd, struct trouble *trouble)
{
	struct vhost_user *vu = calloc(1, sizeof(*vu));
	unsigned int i;

	if (!vu)
		return NULL;
	vu->mem = calloc(1, sizeof(*vu->mem));
	vu->next = calloc(1, sizeof(*vu->next));
	if (!vu->mem || !vu->next) {
		free(vu->mem);
		free(vu->next);
		free(vu);
		return NULL;
	}
	vu->conn.fd = conn;
	vu->stop_fd = stop_fd;
	vu->disk = disk;
	vu->peer = vhost_peer_pid(conn);
	vu->trouble = trouble;
	vu->kernel.fd = -1;
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++) {
		vu->rings[i].kick = -1;
		vu->rings[i].call = -1;
		vu->rings[i].err = -1;
	}
	return vu;
}

/**
 * vhost_user_free() - end a connection
 *
 * Waits for the requests that the guest has made: guest memory is unmapped only
 * when the kernel is done with it.
 */
void vhost_user_free(struct vhost_user *vu)
{
	unsigned int i;

	vhost_kernel_close(&vu->kernel);
	vhost_mem_unmap_unshared(vu->mem, vu->next);
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++) {
		replace_fd(&vu->rings[i].kick, -1);
		replace_fd(&vu->rings[i].call, -1);
		replace_fd(&vu->rings[i].err, -1);
	}
	vhost_conn_forget(&vu->conn);
	close(vu->conn.fd);
	free(vu->mem);
	free(vu->next);
	free(vu);
}
