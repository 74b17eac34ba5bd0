// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process at the other end of a vhost-user socket.
 *
 * A front-end that maps guest memory with MAP_PRIVATE passes its file all the same,
 * but what the guest writes is not in it: rings that stay empty for ever, and no
 * error anywhere. Only that process's map of its memory tells.
 *
 * To read that map takes a lock of the other process, which may be held for as
 * long as a file server that has hung likes. So a thread reads, which a signal
 * that ends this process ends too, and the answer is waited for a second.
 */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <fcntl.h>

#include "peer.h"

#define ANSWER_MS	1000

/**
 * struct question - is one of these regions mapped privately?
 * @pid: by this process
 * @answer: pipe for one byte
 * @n: regions
 * @regions: which; the thread's own copy
 */
struct question {
	pid_t pid;
	int answer;
	unsigned int n;
	struct vhost_mem_region regions[];
};

/**
 * vhost_peer_pid() - which process has connected
 *
 * Return: its pid, or -1 where it has none in our namespace.
 */
pid_t vhost_peer_pid(int conn)
{
	struct ucred cred = {};
	socklen_t len = sizeof(cred);

	getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.pid > 0 ? cred.pid : -1;
}

/* A line of the map: is it a private mapping of one of the regions? */
static bool is_private(const char *line, const struct question *q)
{
	const struct vhost_mem_region *r;
	unsigned int major, minor;
	uintmax_t start, end, ino;
	char mode[5];

	if (sscanf(line, "%jx-%jx %4s %*x %x:%x %ju", &start, &end, mode,
		   &major, &minor, &ino) != 6 || mode[3] != 'p')
		return false;
	for (r = q->regions; r < q->regions + q->n; r++)
		if (r->wire.user_addr >= start && r->wire.user_addr < end &&
		    r->ino == ino && r->dev == makedev(major, minor))
			return true;
	return false;
}

static bool search_map(const struct question *q)
{
	bool found = false;
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *map;

	snprintf(path, sizeof(path), "/proc/%d/maps", q->pid);
	map = fopen(path, "re");
	if (!map)
		return false;
	while (!found && getline(&line, &size, map) > 0)
		found = is_private(line, q);
	free(line);
	fclose(map);
	return found;
}

static void *look(void *arg)
{
	struct question *q = arg;
	char found = search_map(q);

	/* Nobody may listen any more. */
	if (write(q->answer, &found, 1) < 0)
		found = false;
	close(q->answer);
	free(q);
	return NULL;
}

/* The thread owns the question once it runs. */
static int ask(struct question *q)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, look, q);
	pthread_attr_destroy(&attr);
	return -err;
}

static bool wait_answer(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char found = false;

	if (poll(&p, 1, ANSWER_MS) <= 0 || read(fd, &found, 1) != 1)
		return false;
	return found;
}

/**
 * vhost_peer_has_private() - is guest memory not shared with us?
 * @pid: of the front-end
 * @regions: what it has passed
 * @n: how many
 *
 * Return: true if it maps one of the files privately where it says that the region
 * is; false also when that cannot be told.
 */
bool vhost_peer_has_private(pid_t pid, const struct vhost_mem_region *regions,
			    unsigned int n)
{
	struct question *q;
	bool found = false;
	int fds[2];

	if (pid <= 0 || pipe2(fds, O_CLOEXEC) < 0)
		return false;
	q = malloc(sizeof(*q) + n * sizeof(*regions));
	if (q) {
		*q = (struct question){ .pid = pid, .answer = fds[1], .n = n };
		memcpy(q->regions, regions, n * sizeof(*regions));
	}
	if (!q || ask(q)) {
		free(q);
		close(fds[1]);
	} else {
		found = wait_answer(fds[0]);
	}
	close(fds[0]);
	return found;
}
