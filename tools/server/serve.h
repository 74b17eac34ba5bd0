/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk that is served in this process: for server.c and commands.c. */
#ifndef VBLK_SERVE_H
#define VBLK_SERVE_H

#include <stdbool.h>

#include "control.h"
#include "state.h"
#include "vhost-user/disk.h"
#include "vhost-user/session.h"
#include "vhost-user/trouble.h"

/**
 * struct server - a disk being served
 * @serving: how
 * @disk: what
 * @claim: keeps NAME.pid locked
 * @listener: the bound socket
 * @signals: signalfd for the signals that stop the server
 * @session: the front-end that is connected, or NULL
 * @conn: its socket, for poll
 * @trouble: what goes wrong with it, or went with the last one
 * @control: the control socket, and who is connected to it
 * @is_paused: no queue runs until somebody says so
 * @holds: how many are connected for whom no queue runs
 * @has_to_stop: somebody has asked for that
 */
struct server {
	struct serving serving;
	struct disk disk;
	int claim;
	int listener;
	int signals;
	struct vhost_user *session;
	int conn;
	struct trouble trouble;
	struct control control;
	bool is_paused;
	unsigned int holds;
	bool has_to_stop;
};

#endif
