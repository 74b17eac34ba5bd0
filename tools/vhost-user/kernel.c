// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/vhost-blk: the kernel side of a disk, one ioctl a function.
 *
 * Whoever opens it owns the address space in which the kernel finds rings and
 * requests, so this runs in the server process only. Every function returns 0
 * or -errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd/err.h"
#include "compat.h"
#include "disk.h"
#include "kernel.h"
#include "stall.h"

#define DEVICE		"/dev/vhost-blk"

/*
 * A server that was killed releases its claim when its last request is done;
 * a device that waits for space may take this long.
 */
#define CLAIM_WAIT_MS	60000
#define CLAIM_POLL_MS	20
/* Before that it is most likely one that is about to end. */
#define CLAIM_SAY_MS	1000

static int call_ioctl(struct vhost_kernel *k, unsigned long request, void *arg)
{
	return ioctl(k->fd, request, arg) < 0 ? -errno : 0;
}

/** vhost_kernel_features() - the virtio bits that the kernel knows */
int vhost_kernel_features(uint64_t *features)
{
	struct vhost_kernel k;
	int err;

	k.fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (k.fd < 0)
		return -errno;
	err = call_ioctl(&k, VHOST_GET_FEATURES, features);
	close(k.fd);
	return err;
}

static int claim(struct vhost_kernel *k, const struct disk *disk, int stop_fd)
{
	struct vhost_vring_file backend = { .fd = disk->fd };
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	int waited_ms = 0, err;

	for (;;) {
		err = call_ioctl(k, VHOST_BLK_SET_BACKEND, &backend);
		if (err != -EBUSY || waited_ms >= CLAIM_WAIT_MS)
			return err;
		if (poll(&stop, 1, CLAIM_POLL_MS) > 0)
			return -EINTR;
		waited_ms += CLAIM_POLL_MS;
		if (waited_ms == CLAIM_SAY_MS && disk->say_busy)
			disk->say_busy(disk);
	}
}

static int set_serial(struct vhost_kernel *k, const char *serial)
{
	char id[VIRTIO_BLK_ID_BYTES] = "";
	size_t len = strlen(serial);

	memcpy(id, serial, len < sizeof(id) ? len : sizeof(id));
	return call_ioctl(k, VHOST_BLK_SET_SERIAL, id);
}

/**
 * vhost_kernel_open() - own a vhost device and give it the disk
 * @k: filled in; to be closed on success
 * @disk: what to serve
 * @stop_fd: readable when the wait for an earlier owner is to end
 *
 * No queue is set up yet, so none starts before its ring is described.
 */
int vhost_kernel_open(struct vhost_kernel *k, const struct disk *disk,
		      int stop_fd)
{
	int err;

	memset(k, 0, sizeof(*k));
	k->disk = disk;
	k->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (k->fd < 0)
		return -errno;
	err = call_ioctl(k, VHOST_SET_OWNER, NULL);
	if (!err)
		err = set_serial(k, disk->serial);
	if (!err)
		err = claim(k, disk, stop_fd);
	if (err)
		vhost_kernel_close(k);
	return err;
}

/** vhost_kernel_close() - release the disk when its last request is done */
void vhost_kernel_close(struct vhost_kernel *k)
{
	struct stall stall;

	if (k->fd < 0)
		return;
	stall_begin(&stall, k->disk);
	close(k->fd);
	stall_end(&stall);
	k->fd = -1;
}

/** vhost_kernel_set_features() - tell the kernel what the driver acknowledged */
int vhost_kernel_set_features(struct vhost_kernel *k, uint64_t features)
{
	return call_ioctl(k, VHOST_SET_FEATURES, &features);
}

/** vhost_kernel_set_write_cache() - whether writes complete before they are durable */
int vhost_kernel_set_write_cache(struct vhost_kernel *k, bool is_on)
{
	uint32_t value = is_on;

	return call_ioctl(k, VHOST_BLK_SET_WRITE_CACHE, &value);
}

/** vhost_kernel_get_stats() - what a queue did; @stats: its index is set */
int vhost_kernel_get_stats(struct vhost_kernel *k, struct vhost_blk_vring_stats *stats)
{
	return call_ioctl(k, VHOST_BLK_GET_VRING_STATS, stats);
}

/**
 * vhost_kernel_set_memory() - replace the memory table
 *
 * When it returns no request uses the old table any more; the rings still use
 * their old addresses.
 */
int vhost_kernel_set_memory(struct vhost_kernel *k, const struct vhost_mem *m)
{
	struct vhost_memory *table;
	struct stall stall;
	unsigned int i;
	int err;

	table = calloc(1, sizeof(*table) + m->nr * sizeof(table->regions[0]));
	if (!table)
		return -ENOMEM;
	table->nregions = m->nr;
	for (i = 0; i < m->nr; i++) {
		table->regions[i].guest_phys_addr =
			m->regions[i].wire.guest_addr;
		table->regions[i].memory_size = m->regions[i].wire.bytes;
		table->regions[i].userspace_addr =
			vhost_mem_host_addr(&m->regions[i]);
	}
	stall_begin(&stall, k->disk);
	err = call_ioctl(k, VHOST_SET_MEM_TABLE, table);
	stall_end(&stall);
	free(table);
	return err;
}

static int make_worker(struct vhost_kernel *k, unsigned int n)
{
	struct vhost_worker_state worker = {};
	int err;

	if (k->made & (1ULL << n))
		return 0;
	err = call_ioctl(k, VHOST_NEW_WORKER, &worker);
	if (err)
		return err;
	k->worker_ids[n] = worker.worker_id;
	k->made |= 1ULL << n;
	return 0;
}

static void say_shared(struct vhost_kernel *k, unsigned int index, int err)
{
	if (!k->lacks_workers)
		err_errno(-err, DEVICE,
			  "no worker for queue %u, which shares one", index);
	k->lacks_workers = true;
}

/*
 * Worker 0 came with the device, and serves every queue that has no other: also
 * where a limit of tasks, or the kernel, allows no more.
 */
static int give_worker(struct vhost_kernel *k, unsigned int index)
{
	unsigned int workers = k->disk->workers;
	unsigned int n = workers ? index % workers : index;
	struct vhost_vring_worker vring = { .index = index };
	int err;

	if (n == 0 || k->has_worker & (1ULL << index))
		return 0;
	err = make_worker(k, n);
	if (err) {
		say_shared(k, index, err);
		return 0;
	}
	vring.worker_id = k->worker_ids[n];
	err = call_ioctl(k, VHOST_ATTACH_VRING_WORKER, &vring);
	if (!err)
		k->has_worker |= 1ULL << index;
	return err;
}

static int set_polling(struct vhost_kernel *k, unsigned int index)
{
	struct vhost_vring_state state = {
		.index = index,
		.num = k->disk->poll_us,
	};

	if (!state.num)
		return 0;
	return call_ioctl(k, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &state);
}

static int set_eventfd(struct vhost_kernel *k, unsigned long request,
		       unsigned int index, int fd)
{
	struct vhost_vring_file file = { .index = index, .fd = fd };

	return call_ioctl(k, request, &file);
}

static int run(struct vhost_kernel *k, unsigned int index, unsigned int num)
{
	struct vhost_vring_state state = { .index = index, .num = num };

	return call_ioctl(k, VHOST_BLK_SET_VRING_RUN, &state);
}

/**
 * vhost_kernel_start_ring() - set a queue up and let it run
 *
 * It goes on where the used ring ends.
 */
int vhost_kernel_start_ring(struct vhost_kernel *k,
			    const struct vhost_kernel_ring *ring)
{
	unsigned int index = ring->addr.index;
	struct vhost_vring_state size = { .index = index, .num = ring->size };
	int err;

	err = give_worker(k, index);
	if (!err)
		err = set_polling(k, index);
	if (!err)
		err = call_ioctl(k, VHOST_SET_VRING_NUM, &size);
	if (!err)
		err = vhost_kernel_set_addr(k, &ring->addr);
	if (!err)
		err = vhost_kernel_set_err(k, index, ring->err);
	if (!err)
		err = set_eventfd(k, VHOST_SET_VRING_CALL, index, ring->call);
	if (!err)
		err = set_eventfd(k, VHOST_SET_VRING_KICK, index, ring->kick);
	if (!err)
		err = run(k, index, 1);
	return err;
}

/** vhost_kernel_stop_ring() - stop a queue; returns when it is drained */
int vhost_kernel_stop_ring(struct vhost_kernel *k, unsigned int index)
{
	struct stall stall;
	int err;

	stall_begin(&stall, k->disk);
	err = run(k, index, 0);
	stall_end(&stall);
	return err;
}

/** vhost_kernel_set_addr() - move a ring, also one that runs */
int vhost_kernel_set_addr(struct vhost_kernel *k,
			  const struct vhost_vring_addr *addr)
{
	struct vhost_vring_addr copy = *addr;

	return call_ioctl(k, VHOST_SET_VRING_ADDR, &copy);
}

/** vhost_kernel_set_err() - change the eventfd of ring errors, -1 for none */
int vhost_kernel_set_err(struct vhost_kernel *k, unsigned int index, int fd)
{
	return set_eventfd(k, VHOST_SET_VRING_ERR, index, fd);
}

/** vhost_kernel_get_base() - the position of a stopped queue */
int vhost_kernel_get_base(struct vhost_kernel *k, unsigned int index,
			  unsigned int *base)
{
	struct vhost_vring_state state = { .index = index };
	int err = call_ioctl(k, VHOST_GET_VRING_BASE, &state);

	*base = state.num;
	return err;
}
