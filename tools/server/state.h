/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a disk keeps under /run/vblk while it is attached:
 *
 *   NAME.json   how it is served; read again by a server that takes over
 *   NAME.pid    the server's claim, a lock that dies with the server
 *   NAME.sock   the vhost-user socket, unless another path was asked for
 *   NAME.ctl    the control socket: Documentation/control.rst
 *   NAME.nbd    the socket of vblk-export, likewise
 *   UUID.lock   held while an attach or a detach of that image runs, or its chain changes
 *   UUID.job    a long change of its chain: job.h
 *   UUID.disk   link to the UUID of the device whose top the image of this UUID is, where the device has another
 */
#ifndef VBLK_STATE_H
#define VBLK_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "offer.h"

#define STATE_DIR	"/run/vblk"
#define STATE_NAME_SIZE	128	/* as a device-mapper device's name */
#define STATE_UUID_SIZE	129
#define SOCKET_MODE	0660	/* unless something else was asked for */
#define SOCKET_ID_UNSET	(-1U)	/* owner root, group kvm if there is one */
#define SERIAL_BYTES	20	/* as GET_ID returns it; no terminating NUL */
#define DEFAULT_POLL_US	50	/* several times what a guest takes to submit another request */

/* The bounds of what a disk may be given. */
#define SERVER_MAX_QUEUES	64
#define SERVER_MIN_QUEUE_SIZE	16
#define SERVER_MAX_QUEUE_SIZE	1024	/* QEMU's limit for a virtqueue */
#define SERVER_MAX_POLL_US	1000000

/**
 * struct serving - how a disk is served to a guest
 * @name: of its files here; the device's, unless that has been renamed since
 * @uuid: of its device, "" in the files of versions that did not write it
 * @image: absolute path of the image
 * @socket: absolute path of the vhost-user socket
 * @socket_uid: owner of the socket, or SOCKET_ID_UNSET
 * @socket_gid: its group, likewise
 * @socket_mode: its permissions
 * @serial: what the guest sees as the disk's serial number
 * @queues: request queues offered
 * @queue_size: descriptors a queue
 * @workers: kernel threads that the queues share, or 0 for one each
 * @poll_us: how long such a thread looks at a ring before it sleeps, if that pays
 * @batch: these threads let whoever has a CPU finish its turn
 * @is_write_through: writes are to be durable when they complete
 * @offer: what the first server has offered to the guest
 */
struct serving {
	char name[STATE_NAME_SIZE];
	char uuid[STATE_UUID_SIZE];
	char image[PATH_MAX];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	uid_t socket_uid;
	gid_t socket_gid;
	unsigned int socket_mode;
	char serial[SERIAL_BYTES + 1];
	unsigned int queues;
	unsigned int queue_size;
	unsigned int workers;
	unsigned int poll_us;
	bool batch;
	bool is_write_through;
	struct offer offer;
};

int state_lock(const char *uuid);
void state_share_lock(int fd);
void state_unlock(const char *uuid, int fd);

int state_save(const struct serving *serving);
int state_load(const char *name, struct serving *serving);
int state_find(const char *name, const char *uuid, struct serving *serving);
int state_set_offer(const char *name, const struct offer *offer);
int state_set_image(const char *name, const char *image);
int state_set_write_through(const char *name, bool is_write_through);
int state_control_path(const char *name, char *path, size_t size);
int state_export_path(const char *name, char *path, size_t size);
int state_set_top(const char *uuid, const char *device_uuid);
int state_find_top(const char *uuid, char *device_uuid, size_t size);
void state_forget_top(const char *uuid);
void state_forget_tops(const char *device_uuid);
void state_forget(const char *name);

int state_claim(const char *name);
void state_set_guest(int claim, pid_t guest);
void state_set_problem(int claim, const char *problem);
pid_t state_server(const char *name, pid_t *guest);
void state_problem(const char *name, char *problem, size_t size);

#endif
