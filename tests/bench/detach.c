// SPDX-License-Identifier: GPL-2.0-only
/* Detach a mapped device or a network block device, and return when whoever served it has let go. */
#define _GNU_SOURCE
#include "detach.h"

#include <err.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/nbd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void detach_dm(const char *name)
{
	struct dm_ioctl request = {
		.version = { DM_VERSION_MAJOR, 0, 0 },
		.data_size = sizeof(request),
		.data_start = sizeof(request),
	};
	int fd = open("/dev/mapper/control", O_RDWR);

	if (fd < 0)
		err(1, "/dev/mapper/control");
	strncpy(request.name, name, sizeof(request.name) - 1);
	if (ioctl(fd, DM_DEV_REMOVE, &request))
		err(1, "%s: remove", name);
	close(fd);
}

/* The server writes what it still holds when it ends. */
static void detach_nbd(pid_t pid)
{
	int fd = open("/dev/nbd0", O_RDWR), server = syscall(__NR_pidfd_open, pid, 0);
	struct pollfd end = { .fd = server, .events = POLLIN };

	if (fd < 0 || server < 0)
		err(1, "/dev/nbd0 and its server");
	if (ioctl(fd, NBD_DISCONNECT))
		err(1, "/dev/nbd0: disconnect");
	close(fd);
	if (poll(&end, 1, -1) != 1)
		err(1, "poll");
	close(server);
}

static void end_server(pid_t pid)
{
	struct pollfd end = { .fd = syscall(__NR_pidfd_open, pid, 0), .events = POLLIN };

	if (end.fd < 0 || kill(pid, SIGTERM))
		err(1, "process %d", pid);
	if (poll(&end, 1, -1) != 1)
		err(1, "poll");
	close(end.fd);
}

void detach(const char *how)
{
	if (!strncmp(how, "dm:", 3))
		detach_dm(how + 3);
	else if (!strncmp(how, "nbd:", 4))
		detach_nbd(atoi(how + 4));
	else if (!strncmp(how, "pid:", 4))
		end_server(atoi(how + 4));
	else
		errx(2, "%s: not dm:NAME, nbd:PID or pid:PID", how);
}
