// SPDX-License-Identifier: GPL-2.0-only
/*
 * Transport: /dev/vhost-blk, driven by a child process.
 *
 * The child owns the vhost device and does ioctls, like a vhost-user server; we
 * are the guest, and stay when it is killed. It is told what to do by a pair of
 * integers on a socket and answers with an errno or a value.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vhost_blk.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "virtio-front.h"
#include "vhost-user/compat.h"

/* A predecessor's requests may take long; its claim goes with the last one. */
#define CLAIM_ATTEMPTS	600
#define CLAIM_PAUSE_US	50000

struct command {
	int operation;
	int argument;
};

struct server {
	struct front *front;
	int vhost;
	int device;
};

uint64_t front_features(const struct front_options *options)
{
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1;

	if (options->has_event_idx)
		features |= 1ULL << VIRTIO_RING_F_EVENT_IDX;
	if (options->has_indirect)
		features |= 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	if (options->has_flush)
		features |= 1ULL << VIRTIO_BLK_F_FLUSH;
	if (options->has_ranges)
		features |= 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES |
			    1ULL << VIRTIO_BLK_F_SECURE_ERASE;
	if (options->trim)
		features |= 1ULL << VIRTIO_BLK_F_DISCARD;
	if (options->nr_queues > 1)
		features |= 1ULL << VIRTIO_BLK_F_MQ;
	return features;
}

static int do_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static int set_memory(struct server *server)
{
	const struct front_memory *memory = &server->front->memory;
	unsigned int i, nr = server->front->options.nr_regions;
	size_t piece = memory->bytes / nr & ~(size_t)(FRONT_PAGE - 1);
	struct vhost_memory *table;
	int ret;

	table = calloc(1, sizeof(*table) + nr * sizeof(table->regions[0]));
	if (!table)
		return -ENOMEM;
	table->nregions = nr;
	for (i = 0; i < nr; i++) {
		table->regions[i].guest_phys_addr = FRONT_GPA + i * piece;
		table->regions[i].userspace_addr = (uintptr_t)memory->base + i * piece;
		table->regions[i].memory_size = i + 1 < nr ? piece :
						memory->bytes - i * piece;
	}
	ret = do_ioctl(server->vhost, VHOST_SET_MEM_TABLE, table);
	free(table);
	return ret;
}

static int set_fd(struct server *server, unsigned long request, unsigned int index,
		  int fd)
{
	struct vhost_vring_file file = { .index = index, .fd = fd };

	return do_ioctl(server->vhost, request, &file);
}

static int set_state(struct server *server, unsigned long request,
		     unsigned int index, unsigned int num)
{
	struct vhost_vring_state state = { .index = index, .num = num };

	return do_ioctl(server->vhost, request, &state);
}

static int set_ring(struct server *server, const struct front_ring *ring)
{
	struct vhost_vring_addr addresses = {
		.index = ring->index,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->avail,
		.used_user_addr = (uintptr_t)ring->used,
		.log_guest_addr = front_gpa(ring->memory, ring->used),
		.flags = server->front->log ? 1 << VHOST_VRING_F_LOG : 0,
	};
	int ret;

	ret = set_state(server, VHOST_SET_VRING_NUM, ring->index, ring->size);
	/* A base that is stale on purpose: the kernel must know better. */
	if (!ret)
		ret = set_state(server, VHOST_SET_VRING_BASE, ring->index, 0x5a5a);
	if (!ret)
		ret = do_ioctl(server->vhost, VHOST_SET_VRING_ADDR, &addresses);
	if (!ret)
		ret = set_fd(server, VHOST_SET_VRING_CALL, ring->index, ring->call_fd);
	if (!ret)
		ret = set_fd(server, VHOST_SET_VRING_ERR, ring->index, ring->err_fd);
	if (!ret)
		ret = set_fd(server, VHOST_SET_VRING_KICK, ring->index, ring->kick_fd);
	if (!ret && server->front->options.busyloop_us)
		ret = set_state(server, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, ring->index,
				server->front->options.busyloop_us);
	return ret;
}

static int attach_worker(struct server *server, unsigned int index)
{
	struct vhost_worker_state worker;
	int ret = do_ioctl(server->vhost, VHOST_NEW_WORKER, &worker);
	struct vhost_vring_worker ring = { .index = index };

	if (ret)
		return ret;
	ring.worker_id = worker.worker_id;
	return do_ioctl(server->vhost, VHOST_ATTACH_VRING_WORKER, &ring);
}

static int set_features(struct server *server, bool has_log)
{
	uint64_t features = front_features(&server->front->options);

	if (has_log)
		features |= 1ULL << VHOST_F_LOG_ALL;
	return do_ioctl(server->vhost, VHOST_SET_FEATURES, &features);
}

static int set_log_base(struct server *server)
{
	uint64_t log = (uintptr_t)server->front->log;

	return log ? do_ioctl(server->vhost, VHOST_SET_LOG_BASE, &log) : 0;
}

static int attach(struct server *server)
{
	int attempts = server->front->options.is_impatient ? 1 : CLAIM_ATTEMPTS;
	int i, ret = -EBUSY;

	for (i = 0; i < attempts && ret == -EBUSY; i++) {
		if (i)
			usleep(CLAIM_PAUSE_US);
		ret = set_fd(server, VHOST_BLK_SET_BACKEND, 0, server->device);
	}
	return ret;
}

static int begin(struct server *server)
{
	struct front_options *options = &server->front->options;
	unsigned int i;
	int ret;

	server->vhost = open("/dev/vhost-blk", O_RDWR | O_CLOEXEC);
	server->device = open(options->device,
			      (options->is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (server->vhost < 0 || server->device < 0)
		return -errno;
	ret = do_ioctl(server->vhost, VHOST_SET_OWNER, NULL);
	if (!ret)
		ret = set_features(server, false);
	if (!ret)
		ret = set_memory(server);
	if (!ret)
		ret = set_log_base(server);
	for (i = 0; !ret && i < options->nr_queues; i++)
		ret = set_ring(server, &server->front->rings[i]);
	for (i = 0; !ret && i < options->nr_workers; i++)
		ret = attach_worker(server, i);
	if (!ret && options->serial) {
		char serial[VIRTIO_BLK_ID_BYTES] = "";

		memcpy(serial, options->serial, strnlen(options->serial, sizeof(serial)));
		ret = do_ioctl(server->vhost, VHOST_BLK_SET_SERIAL, serial);
	}
	return ret ?: attach(server);
}

static int get_base(struct server *server, unsigned int index)
{
	struct vhost_vring_state state = { .index = index };
	int ret = do_ioctl(server->vhost, VHOST_GET_VRING_BASE, &state);

	return ret ?: (int)state.num;
}

struct stop {
	struct server *server;
	unsigned int index;
};

static int stop_in_clone(void *argument)
{
	struct stop *stop = argument;

	return set_state(stop->server, VHOST_BLK_SET_VRING_RUN, stop->index, 0) ? 1 : 0;
}

/* In an uninterruptible or killable wait. */
static bool is_waiting(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (file)
		fclose(file);
	return state == 'D';
}

/* Stop a queue in another process that has our memory, and kill that while it waits. */
static int stop_killed(struct server *server, unsigned int index)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct stop stop = { server, index };
	int status;
	pid_t pid;

	pid = clone(stop_in_clone, stack + sizeof(stack), CLONE_VM | CLONE_FILES | SIGCHLD,
		    &stop);
	if (pid < 0)
		return -errno;
	while (!is_waiting(pid))
		if (waitpid(pid, &status, WNOHANG) == pid)
			return -EALREADY;
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSIGNALED(status) ? 0 : -EALREADY;
}

static int obey(struct server *server, const struct command *command)
{
	int argument = command->argument;
	uint32_t mode = argument;

	switch (command->operation) {
	case FRONT_RUN:
		return set_state(server, VHOST_BLK_SET_VRING_RUN, argument, 1);
	case FRONT_STOP:
		return set_state(server, VHOST_BLK_SET_VRING_RUN, argument, 0);
	case FRONT_ATTACH:
		return attach(server);
	case FRONT_DETACH:
		return set_fd(server, VHOST_BLK_SET_BACKEND, 0, -1);
	case FRONT_BASE:
		return get_base(server, argument);
	case FRONT_LOG:
		return set_features(server, argument);
	case FRONT_MEMORY:
		return set_memory(server);
	case FRONT_CALL:
		return set_fd(server, VHOST_SET_VRING_CALL, argument,
			      server->front->rings[argument].call_fd);
	case FRONT_WRITE_CACHE:
		return do_ioctl(server->vhost, VHOST_BLK_SET_WRITE_CACHE, &mode);
	case FRONT_ATTACH_WORKER:
		return attach_worker(server, argument);
	case FRONT_STOP_KILLED:
		return stop_killed(server, argument);
	case FRONT_SET_RING:
		return set_ring(server, &server->front->rings[argument]);
	default:
		return -EINVAL;
	}
}

/* Statistics are too long for an integer: they follow it. */
static void send_stats(struct server *server, int link, unsigned int index)
{
	struct vhost_blk_vring_stats stats = { .index = index };

	if (do_ioctl(server->vhost, VHOST_BLK_GET_VRING_STATS, &stats))
		memset(&stats, 0, sizeof(stats));
	if (write(link, &stats, sizeof(stats)) < 0)
		_exit(1);
}

#define OPERATION_STATS	1000

static void serve(struct front *front, int link)
{
	struct server server = { .front = front };
	struct command command;
	int answer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	answer = begin(&server);
	while (write(link, &answer, sizeof(answer)) == sizeof(answer) &&
	       read(link, &command, sizeof(command)) == sizeof(command)) {
		answer = 0;
		if (command.operation == OPERATION_STATS)
			send_stats(&server, link, command.argument);
		else
			answer = obey(&server, &command);
	}
	_exit(0);
}

static int receive(struct front *front)
{
	int answer;

	if (read(front->link, &answer, sizeof(answer)) != sizeof(answer))
		errx(1, "the vhost process died");
	return answer;
}

static void vhost_start(struct front *front)
{
	int sockets[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		err(1, "socketpair");
	front->server = fork();
	if (front->server < 0)
		err(1, "fork");
	if (!front->server) {
		close(sockets[0]);
		serve(front, sockets[1]);
	}
	close(sockets[1]);
	front->link = sockets[0];
	ret = receive(front);
	if (ret)
		errx(1, "%s: %s", front->options.device, strerror(-ret));
}

static void reap(struct front *front)
{
	close(front->link);
	front->link = -1;
	if (waitpid(front->server, NULL, 0) < 0)
		err(1, "waitpid");
	front->server = 0;
}

static void vhost_stop(struct front *front)
{
	shutdown(front->link, SHUT_WR);
	reap(front);
}

static void vhost_kill(struct front *front)
{
	kill(front->server, SIGKILL);
	reap(front);
}

/* Let the server do one thing; returns its answer, negative errno. */
int front_vhost_call(struct front *front, int operation, int argument)
{
	struct command command = { operation, argument };

	if (front->transport != &front_vhost)
		errx(2, "this needs --device");
	if (write(front->link, &command, sizeof(command)) != sizeof(command))
		err(1, "vhost process");
	return receive(front);
}

void front_vhost_stats(struct front *front, unsigned int index,
		       struct vhost_blk_vring_stats *stats)
{
	struct command command = { OPERATION_STATS, index };

	if (write(front->link, &command, sizeof(command)) != sizeof(command) ||
	    read(front->link, stats, sizeof(*stats)) != sizeof(*stats))
		err(1, "vhost process");
	receive(front);
}

/* Until a queue has a request in flight. */
void front_vhost_wait_popped(struct front *front, unsigned int index)
{
	struct vhost_blk_vring_stats stats;

	do
		front_vhost_stats(front, index, &stats);
	while (!stats.in_flight);
}

static void must(struct front *front, int operation, int argument)
{
	int ret = front_vhost_call(front, operation, argument);

	if (ret < 0)
		errx(1, "operation %d on %d: %s", operation, argument, strerror(-ret));
}

static void stop_and_run(struct front *front, unsigned int index)
{
	struct vhost_blk_vring_stats stats;

	must(front, FRONT_STOP, index);
	front_vhost_stats(front, index, &stats);
	if (stats.in_flight)
		errx(1, "queue %u: %u requests in flight after a stop", index,
		     stats.in_flight);
	must(front, FRONT_RUN, index);
}

static void vhost_disturb(struct front *front)
{
	unsigned int i;

	switch (front->options.disturb) {
	case DISTURB_KILL:
		vhost_kill(front);
		vhost_start(front);
		break;
	case DISTURB_STOP:
		for (i = 0; i < front->options.nr_queues; i++)
			stop_and_run(front, i);
		break;
	case DISTURB_DETACH:
		must(front, FRONT_DETACH, 0);
		must(front, FRONT_ATTACH, 0);
		break;
	case DISTURB_MEMORY:
		must(front, FRONT_MEMORY, 0);
		break;
	case DISTURB_CALL:
		for (i = 0; i < front->options.nr_queues; i++)
			must(front, FRONT_CALL, i);
		break;
	case DISTURB_NOT:
		break;
	}
}

static bool vhost_is_alive(struct front *front, int timeout_ms)
{
	struct pollfd pollfd = { .fd = front->link, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 0;
}

const struct front_transport front_vhost = {
	.start = vhost_start,
	.stop = vhost_stop,
	.kill = vhost_kill,
	.disturb = vhost_disturb,
	.is_alive = vhost_is_alive,
};
