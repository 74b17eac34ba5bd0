// SPDX-License-Identifier: GPL-2.0-only
/*
 * One vhost-user connection: messages are received, acted on and answered, and what
 * goes wrong is told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "peer.h"
#include "request.h"
#include "ring.h"
#include "session.h"
#include "trouble.h"

/* A table that misses a ring's memory is replaced at once when all is well. */
#define MEMORY_WAIT_MS	2000

static void tell_refusal(struct vhost_user *vu, int err)
{
	const char *why = vu->why ?: strerror(-err);
	struct vhost_user_header h = {};

	if (vu->conn.bytes >= sizeof(h))
		memcpy(&h, vu->conn.buf, sizeof(h));
	if (!vhost_rings_run(vu))
		trouble_begin(vu->trouble, why);
	trouble_log(vu->trouble, "%s of process %d refused: %s",
		    vhost_user_request_name(h.request), vu->peer, why);
}

static int dispatch(struct vhost_user *vu, const struct vhost_user_msg *msg)
{
	int err = vhost_request_handle(vu, msg);

	if (err && err != -EPIPE)
		tell_refusal(vu, err);
	if (vhost_request_has_own_reply(msg) || !msg->needs_reply ||
	    !(vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)))
		return err;
	return vhost_request_reply_u64(vu, msg, err ? 1 : 0);
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
		waits = waits || (vhost_ring_should_run(vu, r) && !r->is_running);
	if (waits && !vu->waits)
		vu->waits_since_ms = now_ms();
	vu->waits = waits;
	vu->has_told = vu->has_told && waits;
	if (!waits && vhost_rings_run(vu))
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
	vu->backend_fd = -1;
	for (i = 0; i < VHOST_BLK_MAX_QUEUES; i++) {
		vu->rings[i].kick = -1;
		vu->rings[i].call = -1;
		vu->rings[i].err = -1;
	}
	return vu;
}

/**
 * vhost_user_set_paused() - stop all queues, or let those run again that are to
 *
 * A stop waits for the requests that are under way. Return: 0 or -errno.
 */
int vhost_user_set_paused(struct vhost_user *vu, bool is_paused)
{
	struct ring *r;
	int err, first = 0;

	vu->is_paused = is_paused;
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		err = vhost_ring_update(vu, r);
		first = first ?: err;
	}
	look_at_rings(vu);
	return first;
}

/** vhost_user_update_cache() - the disk's @is_write_through has changed; 0 or -errno */
int vhost_user_update_cache(struct vhost_user *vu)
{
	return vhost_rings_set_cache(vu);
}

/**
 * vhost_user_tell_config() - tell the guest that the configuration has changed
 *
 * The front-end asks for it then. It may be hostile: it is not waited for.
 *
 * Return: whether it can be told so, and took the word.
 */
bool vhost_user_tell_config(struct vhost_user *vu)
{
	uint8_t buf[sizeof(struct vhost_user_header)];
	size_t len = vhost_user_backend_request(VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, buf);

	if (vu->backend_fd < 0 ||
	    !(vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ)) ||
	    !(vu->protocol_features & BIT(VHOST_USER_PROTOCOL_F_CONFIG)))
		return false;
	return send(vu->backend_fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/** vhost_user_features() - what the driver has acknowledged */
uint64_t vhost_user_features(const struct vhost_user *vu)
{
	return vu->features;
}

/** vhost_user_stats() - what a queue did; -ENODEV when none has run, another -errno */
int vhost_user_stats(struct vhost_user *vu, unsigned int queue,
		     struct vhost_blk_vring_stats *stats)
{
	if (vu->kernel.fd < 0)
		return -ENODEV;
	*stats = (struct vhost_blk_vring_stats){ .index = queue };
	return vhost_kernel_get_stats(&vu->kernel, stats);
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
		vhost_user_replace_fd(&vu->rings[i].kick, -1);
		vhost_user_replace_fd(&vu->rings[i].call, -1);
		vhost_user_replace_fd(&vu->rings[i].err, -1);
	}
	vhost_user_replace_fd(&vu->backend_fd, -1);
	vhost_conn_forget(&vu->conn);
	close(vu->conn.fd);
	free(vu->mem);
	free(vu->next);
	free(vu);
}
