// SPDX-License-Identifier: GPL-2.0-only
/*
 * Feeds tools/vhost-user/messages.c with front-end messages.
 *
 * With libFuzzer, LLVMFuzzerTestOneInput is all there is. Without it, main() makes messages: one of each
 * request as the vhost-user specification lays it out, changed at random from a seed that it prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/messages.h"

#define MAX_INPUT	(1 + 2 * VHOST_USER_MAX_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "vhost-user-msg-fuzz: violated: %s\n", what);
	abort();
}

static void check_message(const struct vhost_user_msg *msg, unsigned int nr_fds)
{
	require(msg->nr_fds == nr_fds && nr_fds <= VHOST_USER_MAX_FDS, "descriptors");
	switch (msg->request) {
	case VHOST_USER_SET_MEM_TABLE:
		require(msg->memory.nr_regions == nr_fds, "a descriptor a region");
		break;
	case VHOST_USER_ADD_MEM_REG:
		require(nr_fds == 1, "one descriptor");
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		require(msg->config.bytes <= VHOST_USER_CONFIG_BYTES, "config size");
		require(msg->config.offset <= VHOST_USER_CONFIG_BYTES - msg->config.bytes, "config offset");
		break;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		require(msg->vring_fd_index < 256 && nr_fds <= 1, "ring of a descriptor");
		break;
	default:
		break;
	}
}

/* The first byte is the number of descriptors. The copy ends where the input ends, for the sanitizer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhost_user_msg msg;
	unsigned int nr_fds;
	uint8_t *message;
	size_t bytes;

	if (size < 1)
		return 0;
	nr_fds = data[0];
	size--;
	message = malloc(size ? size : 1);
	memcpy(message, data + 1, size);
	if (size >= sizeof(struct vhost_user_header) &&
	    !vhost_user_message_bytes(message, &bytes))
		require(bytes <= VHOST_USER_MAX_BYTES, "message fits the buffer");
	if (!vhost_user_parse(message, size, nr_fds, &msg))
		check_message(&msg, nr_fds);
	free(message);
	return 0;
}

#ifndef LIBFUZZER

struct example {
	uint32_t request;
	uint32_t payload_bytes;
	uint8_t nr_fds;
};

static const struct example examples[] = {
	{ VHOST_USER_GET_FEATURES, 0, 0 },
	{ VHOST_USER_SET_FEATURES, 8, 0 },
	{ VHOST_USER_SET_OWNER, 0, 0 },
	{ VHOST_USER_RESET_OWNER, 0, 0 },
	{ VHOST_USER_SET_MEM_TABLE, 8 + 3 * 32, 3 },
	{ VHOST_USER_SET_VRING_NUM, 8, 0 },
	{ VHOST_USER_SET_VRING_ADDR, 40, 0 },
	{ VHOST_USER_SET_VRING_BASE, 8, 0 },
	{ VHOST_USER_GET_VRING_BASE, 8, 0 },
	{ VHOST_USER_SET_VRING_KICK, 8, 1 },
	{ VHOST_USER_SET_VRING_CALL, 8, 1 },
	{ VHOST_USER_SET_VRING_ERR, 8, 1 },
	{ VHOST_USER_GET_PROTOCOL_FEATURES, 0, 0 },
	{ VHOST_USER_SET_PROTOCOL_FEATURES, 8, 0 },
	{ VHOST_USER_GET_QUEUE_NUM, 0, 0 },
	{ VHOST_USER_SET_VRING_ENABLE, 8, 0 },
	{ VHOST_USER_GET_CONFIG, 12 + 60, 0 },
	{ VHOST_USER_SET_CONFIG, 12 + 1, 0 },
	{ VHOST_USER_RESET_DEVICE, 0, 0 },
	{ VHOST_USER_GET_MAX_MEM_SLOTS, 0, 0 },
	{ VHOST_USER_ADD_MEM_REG, 40, 1 },
	{ VHOST_USER_REM_MEM_REG, 40, 0 },
};

#define NR_EXAMPLES	(sizeof(examples) / sizeof(examples[0]))

static size_t make_example(const struct example *e, uint8_t *data)
{
	struct vhost_user_header h = { e->request, 1, e->payload_bytes };
	uint8_t *payload = data + 1 + sizeof(h);
	uint32_t count;

	data[0] = e->nr_fds;
	memcpy(data + 1, &h, sizeof(h));
	memset(payload, 0, e->payload_bytes);
	if (e->request == VHOST_USER_SET_MEM_TABLE) {
		count = e->nr_fds;
		memcpy(payload, &count, sizeof(count));
	}
	if (e->request == VHOST_USER_GET_CONFIG || e->request == VHOST_USER_SET_CONFIG) {
		count = e->payload_bytes - 12;
		memcpy(payload + 4, &count, sizeof(count));
	}
	return 1 + sizeof(h) + e->payload_bytes;
}

/* Every example is a message, and is none when it is cut or has another descriptor. */
static void check_examples(void)
{
	uint8_t data[MAX_INPUT];
	struct vhost_user_msg msg;
	size_t i, size;

	for (i = 0; i < NR_EXAMPLES; i++) {
		size = make_example(&examples[i], data);
		require(!vhost_user_parse(data + 1, size - 1, data[0], &msg), "an example is accepted");
		require(msg.request == examples[i].request, "the example's request");
		require(vhost_user_parse(data + 1, size - 2, data[0], &msg), "a cut example is refused");
		require(vhost_user_parse(data + 1, size - 1, data[0] + 2, &msg), "two descriptors more are refused");
	}
}

static size_t change(uint8_t *data, size_t size)
{
	int changes = random() % 8;

	while (changes--)
		data[random() % size] = random() % 3 ? random() % 4 : random();
	if (random() % 4 == 0)
		size = 1 + random() % (MAX_INPUT - 1);
	return size;
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	unsigned int seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	uint8_t data[MAX_INPUT] = { 0 };
	unsigned long i;
	size_t size;

	printf("%lu messages, seed %u\n", rounds, seed);
	srandom(seed);
	check_examples();
	for (i = 0; i < rounds; i++) {
		size = make_example(&examples[i % NR_EXAMPLES], data);
		LLVMFuzzerTestOneInput(data, change(data, size));
	}
	return 0;
}

#endif
