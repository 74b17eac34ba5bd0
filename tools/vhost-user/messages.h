/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost-user messages: bytes from a front-end in, checked structures out.
 *
 * No I/O and no state, so that a fuzzer can call it. What comes from here has a
 * known request, the payload and the number of descriptors that this request
 * asks for; whether the values make sense for a disk is the session's business.
 */
#ifndef VBLK_VHOST_USER_MSG_H
#define VBLK_VHOST_USER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
};

/* What a server sends, on a connection of its own. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
};

/* The virtio feature bit that stands for "protocol features are spoken". */
#define VHOST_USER_F_PROTOCOL_FEATURES	30

#define VHOST_USER_TABLE_REGIONS	8	/* in one SET_MEM_TABLE */
#define VHOST_USER_CONFIG_BYTES		256
#define VHOST_USER_MAX_FDS		VHOST_USER_TABLE_REGIONS

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t payload_bytes;
};

/* As on the wire. Addresses: the guest's, the front-end's; offset into the fd. */
struct vhost_user_region {
	uint64_t guest_addr;
	uint64_t bytes;
	uint64_t user_addr;
	uint64_t fd_offset;
};

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

/* As on the wire; the three addresses are the front-end's. */
struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhost_user_config {
	uint32_t offset;
	uint32_t bytes;
	uint32_t flags;
	uint8_t data[VHOST_USER_CONFIG_BYTES];
};

/**
 * struct vhost_user_msg - a message that was checked
 * @request: says which member of the union is valid
 * @needs_reply: the front-end asks for an answer that tells success
 * @nr_fds: descriptors that came with it, as many as the request wants
 */
struct vhost_user_msg {
	enum vhost_user_request request;
	bool needs_reply;
	unsigned int nr_fds;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		unsigned int vring_fd_index;
		struct {
			unsigned int nr_regions;
			struct vhost_user_region
				regions[VHOST_USER_TABLE_REGIONS];
		} memory;
		struct vhost_user_region region;
		struct vhost_user_config config;
	};
};

/* Largest message in either direction. */
#define VHOST_USER_MAX_BYTES	(sizeof(struct vhost_user_header) + \
				 sizeof(struct vhost_user_config))

const char *vhost_user_request_name(uint32_t request);
int vhost_user_message_bytes(const void *header, size_t *bytes);
int vhost_user_parse(const void *buf, size_t bytes, unsigned int nr_fds,
		     struct vhost_user_msg *msg);
size_t vhost_user_backend_request(uint32_t request, void *buf);
size_t vhost_user_reply(uint32_t request, const void *payload,
			size_t payload_bytes, void *buf);

#endif
