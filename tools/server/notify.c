// SPDX-License-Identifier: GPL-2.0-only
/* What a service manager is told: sd_notify(3). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"

/** notify_ready() - tell who has started this process that guests can connect, if it wants to know */
void notify_ready(void)
{
	static const char ready[] = "READY=1";
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	int fd;

	if (!length || length >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, length);
	/* An abstract one. */
	if (*path == '@')
		*sun.sun_path = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* A manager that has gone asks no more. */
	sendto(fd, ready, strlen(ready), MSG_NOSIGNAL, (struct sockaddr *)&sun,
	       offsetof(struct sockaddr_un, sun_path) + length);
	close(fd);
}
