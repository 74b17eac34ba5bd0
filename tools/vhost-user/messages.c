// SPDX-License-Identifier: GPL-2.0-only
/* Parser of vhost-user messages. The front-end may be hostile. */
#include <errno.h>
#include <string.h>

#include "messages.h"

#define FLAG_VERSION_MASK	0x3U
#define FLAG_VERSION		0x1U
#define FLAG_REPLY		0x4U
#define FLAG_NEED_REPLY		0x8U

#define VRING_FD_INDEX_MASK	0xffU
#define VRING_FD_NONE		0x100U

#define CONFIG_HEADER_BYTES	offsetof(struct vhost_user_config, data)
#define MEM_HEADER_BYTES	8	/* count and padding */

enum payload {
	PAYLOAD_NONE = 1,
	PAYLOAD_FD,
	PAYLOAD_U64,
	PAYLOAD_STATE,
	PAYLOAD_ADDR,
	PAYLOAD_VRING_FD,
	PAYLOAD_MEMORY,
	PAYLOAD_REGION,
	PAYLOAD_CONFIG,
};

static const enum payload payload_of[] = {
	[VHOST_USER_GET_FEATURES] = PAYLOAD_NONE,
	[VHOST_USER_SET_FEATURES] = PAYLOAD_U64,
	[VHOST_USER_SET_OWNER] = PAYLOAD_NONE,
	[VHOST_USER_RESET_OWNER] = PAYLOAD_NONE,
	[VHOST_USER_SET_MEM_TABLE] = PAYLOAD_MEMORY,
	[VHOST_USER_SET_VRING_NUM] = PAYLOAD_STATE,
	[VHOST_USER_SET_VRING_ADDR] = PAYLOAD_ADDR,
	[VHOST_USER_SET_VRING_BASE] = PAYLOAD_STATE,
	[VHOST_USER_GET_VRING_BASE] = PAYLOAD_STATE,
	[VHOST_USER_SET_VRING_KICK] = PAYLOAD_VRING_FD,
	[VHOST_USER_SET_VRING_CALL] = PAYLOAD_VRING_FD,
	[VHOST_USER_SET_VRING_ERR] = PAYLOAD_VRING_FD,
	[VHOST_USER_GET_PROTOCOL_FEATURES] = PAYLOAD_NONE,
	[VHOST_USER_SET_PROTOCOL_FEATURES] = PAYLOAD_U64,
	[VHOST_USER_GET_QUEUE_NUM] = PAYLOAD_NONE,
	[VHOST_USER_SET_VRING_ENABLE] = PAYLOAD_STATE,
	[VHOST_USER_SET_BACKEND_REQ_FD] = PAYLOAD_FD,
	[VHOST_USER_GET_CONFIG] = PAYLOAD_CONFIG,
	[VHOST_USER_SET_CONFIG] = PAYLOAD_CONFIG,
	[VHOST_USER_RESET_DEVICE] = PAYLOAD_NONE,
	[VHOST_USER_GET_MAX_MEM_SLOTS] = PAYLOAD_NONE,
	[VHOST_USER_ADD_MEM_REG] = PAYLOAD_REGION,
	[VHOST_USER_REM_MEM_REG] = PAYLOAD_REGION,
};

#define NAME(request)	[VHOST_USER_ ## request] = #request

static const char *const name_of[] = {
	NAME(GET_FEATURES),
	NAME(SET_FEATURES),
	NAME(SET_OWNER),
	NAME(RESET_OWNER),
	NAME(SET_MEM_TABLE),
	NAME(SET_VRING_NUM),
	NAME(SET_VRING_ADDR),
	NAME(SET_VRING_BASE),
	NAME(GET_VRING_BASE),
	NAME(SET_VRING_KICK),
	NAME(SET_VRING_CALL),
	NAME(SET_VRING_ERR),
	NAME(GET_PROTOCOL_FEATURES),
	NAME(SET_PROTOCOL_FEATURES),
	NAME(GET_QUEUE_NUM),
	NAME(SET_VRING_ENABLE),
	NAME(SET_BACKEND_REQ_FD),
	NAME(GET_CONFIG),
	NAME(SET_CONFIG),
	NAME(RESET_DEVICE),
	NAME(GET_MAX_MEM_SLOTS),
	NAME(ADD_MEM_REG),
	NAME(REM_MEM_REG),
};

#define NR_REQUESTS	(sizeof(payload_of) / sizeof(payload_of[0]))

/** vhost_user_request_name() - as the specification has it, for messages */
const char *vhost_user_request_name(uint32_t request)
{
	if (request < sizeof(name_of) / sizeof(name_of[0]) && name_of[request])
		return name_of[request];
	return "unknown request";
}

/**
 * vhost_user_message_bytes() - how long the message is that starts so
 * @header: struct vhost_user_header as received
 * @bytes: set to the length with the header
 *
 * Return: 0, -EPROTO when no message may look like this.
 */
int vhost_user_message_bytes(const void *header, size_t *bytes)
{
	struct vhost_user_header h;

	memcpy(&h, header, sizeof(h));
	if ((h.flags & FLAG_VERSION_MASK) != FLAG_VERSION ||
	    (h.flags & FLAG_REPLY) ||
	    h.payload_bytes > VHOST_USER_MAX_BYTES - sizeof(h))
		return -EPROTO;
	*bytes = sizeof(h) + h.payload_bytes;
	return 0;
}

static int take(const uint8_t *payload, size_t bytes, void *to, size_t want)
{
	if (bytes != want)
		return -EPROTO;
	memcpy(to, payload, want);
	return 0;
}

static int expect_fds(const struct vhost_user_msg *msg, unsigned int n)
{
	return msg->nr_fds == n ? 0 : -EPROTO;
}

static int parse_vring_fd(const uint8_t *payload, size_t bytes,
			  struct vhost_user_msg *msg)
{
	uint64_t word;

	if (take(payload, bytes, &word, sizeof(word)) ||
	    (word & ~(uint64_t)(VRING_FD_INDEX_MASK | VRING_FD_NONE)))
		return -EPROTO;
	msg->vring_fd_index = word & VRING_FD_INDEX_MASK;
	return expect_fds(msg, word & VRING_FD_NONE ? 0 : 1);
}

static int parse_memory(const uint8_t *payload, size_t bytes,
			struct vhost_user_msg *msg)
{
	uint32_t n;

	if (bytes < MEM_HEADER_BYTES)
		return -EPROTO;
	memcpy(&n, payload, sizeof(n));
	if (n > VHOST_USER_TABLE_REGIONS || expect_fds(msg, n))
		return -EPROTO;
	msg->memory.nr_regions = n;
	return take(payload + MEM_HEADER_BYTES, bytes - MEM_HEADER_BYTES,
		    msg->memory.regions, n * sizeof(msg->memory.regions[0]));
}

static int parse_region(const uint8_t *payload, size_t bytes,
			struct vhost_user_msg *msg)
{
	uint64_t padding;

	if (bytes < sizeof(padding))
		return -EPROTO;
	/* Some front-ends send the descriptor of a region to remove, too. */
	if (msg->request == VHOST_USER_REM_MEM_REG ? msg->nr_fds > 1 :
						     msg->nr_fds != 1)
		return -EPROTO;
	return take(payload + sizeof(padding), bytes - sizeof(padding),
		    &msg->region, sizeof(msg->region));
}

static int parse_config(const uint8_t *payload, size_t bytes,
			struct vhost_user_msg *msg)
{
	struct vhost_user_config *c = &msg->config;

	if (bytes < CONFIG_HEADER_BYTES || expect_fds(msg, 0))
		return -EPROTO;
	memcpy(c, payload, CONFIG_HEADER_BYTES);
	if (c->bytes > VHOST_USER_CONFIG_BYTES ||
	    c->offset > VHOST_USER_CONFIG_BYTES - c->bytes)
		return -EPROTO;
	return take(payload + CONFIG_HEADER_BYTES, bytes - CONFIG_HEADER_BYTES,
		    c->data, c->bytes);
}

static int parse_payload(const uint8_t *payload, size_t bytes,
			 struct vhost_user_msg *msg)
{
	switch (payload_of[msg->request]) {
	case PAYLOAD_NONE:
		return bytes ? -EPROTO : expect_fds(msg, 0);
	case PAYLOAD_FD:
		return bytes ? -EPROTO : expect_fds(msg, 1);
	case PAYLOAD_U64:
		return take(payload, bytes, &msg->u64, sizeof(msg->u64)) ?:
		       expect_fds(msg, 0);
	case PAYLOAD_STATE:
		return take(payload, bytes, &msg->state, sizeof(msg->state)) ?:
		       expect_fds(msg, 0);
	case PAYLOAD_ADDR:
		return take(payload, bytes, &msg->addr, sizeof(msg->addr)) ?:
		       expect_fds(msg, 0);
	case PAYLOAD_VRING_FD:
		return parse_vring_fd(payload, bytes, msg);
	case PAYLOAD_MEMORY:
		return parse_memory(payload, bytes, msg);
	case PAYLOAD_REGION:
		return parse_region(payload, bytes, msg);
	case PAYLOAD_CONFIG:
		return parse_config(payload, bytes, msg);
	}
	return -EOPNOTSUPP;
}

/**
 * vhost_user_parse() - check one whole message
 * @buf: the message, header first
 * @bytes: its length
 * @nr_fds: descriptors received with it
 * @msg: filled in
 *
 * Return: 0, -EPROTO for a malformed message, -EOPNOTSUPP for a request that
 * nothing we offer allows to send.
 */
int vhost_user_parse(const void *buf, size_t bytes, unsigned int nr_fds,
		     struct vhost_user_msg *msg)
{
	struct vhost_user_header h;
	size_t want;

	if (bytes < sizeof(h) || vhost_user_message_bytes(buf, &want) ||
	    bytes != want || nr_fds > VHOST_USER_MAX_FDS)
		return -EPROTO;
	memcpy(&h, buf, sizeof(h));
	if (h.request >= NR_REQUESTS || !payload_of[h.request])
		return -EOPNOTSUPP;

	memset(msg, 0, sizeof(*msg));
	msg->request = h.request;
	msg->needs_reply = h.flags & FLAG_NEED_REPLY;
	msg->nr_fds = nr_fds;
	return parse_payload((const uint8_t *)buf + sizeof(h),
			     bytes - sizeof(h), msg);
}

/**
 * vhost_user_backend_request() - build a request of the server's, without a payload
 * @request: of enum vhost_user_backend_request
 * @buf: at least the size of a header
 *
 * Return: its length.
 */
size_t vhost_user_backend_request(uint32_t request, void *buf)
{
	struct vhost_user_header h = { .request = request, .flags = FLAG_VERSION };

	memcpy(buf, &h, sizeof(h));
	return sizeof(h);
}

/**
 * vhost_user_reply() - build an answer
 * @request: the request it answers
 * @payload: what to answer
 * @payload_bytes: at most the size of struct vhost_user_config
 * @buf: VHOST_USER_MAX_BYTES to build it in
 *
 * Return: its length.
 */
size_t vhost_user_reply(uint32_t request, const void *payload,
			size_t payload_bytes, void *buf)
{
	struct vhost_user_header h = {
		.request = request,
		.flags = FLAG_VERSION | FLAG_REPLY,
		.payload_bytes = payload_bytes,
	};

	memcpy(buf, &h, sizeof(h));
	memcpy((uint8_t *)buf + sizeof(h), payload, payload_bytes);
	return sizeof(h) + payload_bytes;
}
