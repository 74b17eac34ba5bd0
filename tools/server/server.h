/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_SERVER_H
#define VBLK_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "disk/dm.h"
#include "state.h"

struct server;

int server_check(void);
bool server_owns_socket(const char *name, const char *path);
int server_check_socket(const char *name, const char *path);
int server_unlink_socket(const char *name, const char *path, int wait_ms,
			 int stop_fd);
int server_listen(int fd, const struct serving *serving);
int server_start(const struct dmdev *d, const struct serving *serving,
		 bool takes_over, pid_t *pid);
int server_open(const struct dmdev *d, const struct serving *serving,
		bool takes_over, struct server **server);
int server_run(struct server *server);
void server_close(struct server *server);
int server_check_guest(const char *device, pid_t guest, bool force);
int server_stop(const struct serving *serving, const char *device, pid_t pid,
		bool force);

#endif
