// SPDX-License-Identifier: GPL-2.0-only
/* What each message of a front-end does. */
#include <errno.h>
#include <linux/vhost_blk.h>
#include <stddef.h>
#include <string.h>

#include "request.h"
#include "ring.h"
#include "table.h"

#define MAX_RING_SIZE	32768

#define PROTOCOL_FEATURES					\
	(BIT(VHOST_USER_PROTOCOL_F_MQ) |			\
	 BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |			\
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |		\
	 BIT(VHOST_USER_PROTOCOL_F_CONFIG) |			\
	 BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |		\
	 BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

static struct ring *find_ring(struct vhost_user *vu, unsigned int index)
{
	return index < vu->disk->queues ? &vu->rings[index] : NULL;
}

/** vhost_request_reply_u64() - answer with a number; 0 or -errno */
int vhost_request_reply_u64(struct vhost_user *vu, const struct vhost_user_msg *msg,
		     uint64_t value)
{
	return vhost_conn_reply(&vu->conn, msg, &value, sizeof(value));
}

static int set_features(struct vhost_user *vu, uint64_t features)
{
	/* QEMU passes bits on that are between it and the driver. */
	vu->features = features & vu->disk->features;
	return vhost_rings_set_features(vu);
}

static int set_protocol_features(struct vhost_user *vu, uint64_t features)
{
	if (features & ~PROTOCOL_FEATURES)
		return vhost_user_refuse(vu, -EINVAL, "a bit that was not offered");
	vu->protocol_features = features;
	return 0;
}

static int set_ring_size(struct vhost_user *vu, struct ring *r,
			 unsigned int size)
{
	if (!size || size > MAX_RING_SIZE || (size & (size - 1)))
		return vhost_user_refuse(vu, -EINVAL, "no size that a queue may have");
	if (r->is_running)
		return vhost_user_refuse(vu, -EINVAL, "the queue runs");
	r->size = size;
	return 0;
}

static int set_ring_addr(struct vhost_user *vu, struct ring *r,
			 const struct vhost_user_vring_addr *addr)
{
	int err;

	if (addr->flags)
		return vhost_user_refuse(vu, -EINVAL, "flags: no dirty log was negotiated");
	err = vhost_ring_stop(vu, r);
	if (err)
		return err;
	r->addr = *addr;
	r->has_addr = true;
	return vhost_ring_update(vu, r);
}

static int change_fd(struct vhost_user *vu, struct ring *r, int *slot, int fd)
{
	int err = vhost_ring_stop(vu, r);

	vhost_user_replace_fd(slot, fd);
	return err ? err : vhost_ring_update(vu, r);
}

static int set_kick(struct vhost_user *vu, struct ring *r)
{
	int fd = vhost_conn_take_fd(&vu->conn, 0);

	if (fd < 0)
		return vhost_user_refuse(vu, -EOPNOTSUPP,
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
	vhost_user_replace_fd(&r->err, vhost_conn_take_fd(&vu->conn, 0));
	if (!r->is_running)
		return 0;
	return vhost_kernel_set_err(&vu->kernel, r - vu->rings, r->err);
}

static int get_base(struct vhost_user *vu, struct ring *r,
		    const struct vhost_user_msg *msg)
{
	struct vhost_user_vring_state state = { .index = msg->state.index };
	int err;

	err = vhost_ring_stop(vu, r);
	if (err)
		return err;
	r->is_started = false;
	vhost_user_replace_fd(&r->kick, -1);
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
		return vhost_user_refuse(vu, -EINVAL, "there is no such queue");
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
		return vhost_ring_update(vu, r);
	default:
		return -EOPNOTSUPP;
	}
}

/** vhost_request_handle() - do what a message says; 0, or -errno when it is refused */
int vhost_request_handle(struct vhost_user *vu,
			  const struct vhost_user_msg *msg)
{
	switch (msg->request) {
	case VHOST_USER_GET_FEATURES:
		return vhost_request_reply_u64(vu, msg, vu->disk->features);
	case VHOST_USER_SET_FEATURES:
		return set_features(vu, msg->u64);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return vhost_request_reply_u64(vu, msg, PROTOCOL_FEATURES);
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(vu, msg->u64);
	case VHOST_USER_SET_BACKEND_REQ_FD:
		vhost_user_replace_fd(&vu->backend_fd, vhost_conn_take_fd(&vu->conn, 0));
		return 0;
	case VHOST_USER_SET_OWNER:
		return 0;
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_RESET_DEVICE:
		vhost_rings_reset(vu);
		return 0;
	case VHOST_USER_GET_QUEUE_NUM:
		return vhost_request_reply_u64(vu, msg, vu->disk->queues);
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		return vhost_request_reply_u64(vu, msg, vu->disk->mem_slots);
	case VHOST_USER_SET_MEM_TABLE:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return vhost_table_change(vu, msg);
	case VHOST_USER_GET_CONFIG:
		return get_config(vu, msg);
	case VHOST_USER_SET_CONFIG:
		return vhost_user_refuse(vu, -EOPNOTSUPP,
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

/** vhost_request_has_own_reply() - has vhost_request_handle() answered it? */
bool vhost_request_has_own_reply(const struct vhost_user_msg *msg)
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
