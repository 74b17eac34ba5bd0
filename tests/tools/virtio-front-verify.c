// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random reads, writes and flushes whose data is known.
 *
 * Every 512-byte sector of a write carries its number, the version of the write
 * and noise made from both. Each queue has chunks of its own and at most one
 * request in flight on a chunk, so what a read must find is certain. A sector
 * that was never written is not compared.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "virtio-front.h"

/* Sectors that a check compares at once. */
#define CHECK_SECTORS	2048
#define WORDS	(FRONT_SECTOR / sizeof(uint64_t))

/**
 * struct verify - the disk as it must be
 * @front: all
 * @versions: of each sector; 0: never written
 * @nr_chunks: chunks of max_bytes
 * @chunk_sectors: their length
 * @nr_done: threads that have ended
 */
struct verify {
	struct front *front;
	uint32_t *versions;
	uint64_t nr_chunks;
	uint32_t chunk_sectors;
	atomic_uint nr_done;
};

struct worker {
	struct verify *verify;
	struct front_ring *ring;
	struct front_slot *slots;
	bool *is_busy;
	uint64_t random;
	unsigned long left;
	pthread_t thread;
};

static uint64_t noise(uint64_t seed, uint64_t sector, uint32_t version, unsigned int i)
{
	uint64_t x = seed ^ sector * 0x9E3779B97F4A7C15ULL ^
		     (uint64_t)version << 40 ^ i * 0xD1B54A32D192ED03ULL;

	x ^= x >> 29;
	x *= 0xBF58476D1CE4E5B9ULL;
	return x ^ x >> 32;
}

static void stamp(uint8_t *data, uint64_t seed, uint64_t sector, uint32_t version)
{
	uint64_t words[WORDS];
	unsigned int i;

	words[0] = sector;
	words[1] = version;
	for (i = 2; i < WORDS; i++)
		words[i] = noise(seed, sector, version, i);
	memcpy(data, words, sizeof(words));
}

static void compare(const uint8_t *data, uint64_t seed, uint64_t sector,
		    uint32_t version)
{
	uint8_t expected[FRONT_SECTOR];
	uint64_t found[2];

	if (!version)
		return;
	stamp(expected, seed, sector, version);
	if (!memcmp(data, expected, sizeof(expected)))
		return;
	memcpy(found, data, sizeof(found));
	errx(1, "sector %llu: expected version %u, found stamp of sector %llu, version %llu",
	     (unsigned long long)sector, version, (unsigned long long)found[0],
	     (unsigned long long)found[1]);
}

static uint64_t span_sectors(const struct front *front)
{
	uint64_t span = front->options.span / FRONT_SECTOR;

	return span && span < front->capacity ? span : front->capacity;
}

/* A chunk of this queue on which nothing is in flight. */
static uint64_t pick_chunk(struct worker *worker)
{
	unsigned int nr_queues = worker->verify->front->options.nr_queues;
	uint64_t mine = worker->verify->nr_chunks / nr_queues, chunk;

	do
		chunk = front_random(&worker->random) % mine * nr_queues +
			worker->ring->index;
	while (worker->is_busy[chunk]);
	return chunk;
}

/* Blocks, mostly short runs: sectors would be refused by 4K devices. */
static void pick_range(struct worker *worker, uint32_t *first, uint32_t *nr)
{
	uint32_t blocks = worker->verify->chunk_sectors / 8;
	uint32_t longest = front_random(&worker->random) % 4 ? 1 : blocks;

	*nr = 1 + front_random(&worker->random) % longest;
	*first = front_random(&worker->random) % (blocks - *nr + 1) * 8;
	*nr *= 8;
}

static void send_write(struct worker *worker, struct front_slot *slot,
		       uint64_t sector, uint32_t nr)
{
	struct verify *verify = worker->verify;
	uint32_t i;

	for (i = 0; i < nr; i++)
		stamp(slot->data + i * FRONT_SECTOR, verify->front->options.seed,
		      sector + i, ++verify->versions[sector + i]);
	front_submit(verify->front, slot, VIRTIO_BLK_T_OUT, sector, nr * FRONT_SECTOR);
}

static void send_one(struct worker *worker, struct front_slot *slot)
{
	struct verify *verify = worker->verify;
	uint32_t first, nr, choice = front_random(&worker->random) % 100;

	slot->user = UINT64_MAX;
	if (choice < 3) {
		front_submit(verify->front, slot, VIRTIO_BLK_T_FLUSH, 0, 0);
		return;
	}
	slot->user = pick_chunk(worker);
	worker->is_busy[slot->user] = true;
	pick_range(worker, &first, &nr);
	if (choice < 50)
		send_write(worker, slot, slot->user * verify->chunk_sectors + first, nr);
	else
		front_submit(verify->front, slot, VIRTIO_BLK_T_IN,
			     slot->user * verify->chunk_sectors + first,
			     nr * FRONT_SECTOR);
}

static void check_answer(struct worker *worker, struct front_slot *slot,
			 uint32_t used_bytes)
{
	struct verify *verify = worker->verify;
	bool is_read = slot->type == VIRTIO_BLK_T_IN;
	uint32_t i;

	if (front_status(slot) != VIRTIO_BLK_S_OK)
		errx(1, "queue %u: type %u, sector %llu, %u bytes: status %u",
		     worker->ring->index, slot->type,
		     (unsigned long long)slot->sector, slot->bytes, front_status(slot));
	if (used_bytes != 1 + (is_read ? slot->bytes : 0))
		errx(1, "queue %u: type %u, %u bytes: used length %u",
		     worker->ring->index, slot->type, slot->bytes, used_bytes);
	for (i = 0; is_read && i < slot->bytes / FRONT_SECTOR; i++)
		compare(slot->data + i * FRONT_SECTOR, verify->front->options.seed,
			slot->sector + i, verify->versions[slot->sector + i]);
	if (slot->user != UINT64_MAX)
		worker->is_busy[slot->user] = false;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	unsigned int depth = worker->verify->front->options.depth;
	unsigned int i, in_flight = 0;
	struct front_slot *slot;
	uint32_t used_bytes;

	for (i = 0; i < depth && worker->left; i++, worker->left--, in_flight++)
		send_one(worker, &worker->slots[i]);
	front_ring_kick(worker->ring);
	while (in_flight) {
		slot = front_next(worker->ring, &used_bytes);
		if (!slot)
			continue;
		check_answer(worker, slot, used_bytes);
		in_flight--;
		if (!worker->left)
			continue;
		worker->left--;
		in_flight++;
		send_one(worker, slot);
		front_ring_kick(worker->ring);
	}
	atomic_fetch_add(&worker->verify->nr_done, 1);
	return NULL;
}

/*
 * Until so many threads have ended, disturb the server, at most @limit times, and
 * replace one that died by itself.
 */
static unsigned int disturb(struct verify *verify, unsigned int nr_threads,
			    unsigned int limit)
{
	struct front *front = verify->front;
	struct front_options *options = &front->options;
	unsigned int count = 0;

	while (atomic_load(&verify->nr_done) < nr_threads) {
		if (!front->transport->is_alive(front, options->disturb_ms ?: 100)) {
			front->transport->kill(front);
			front->transport->start(front);
			count++;
		} else if (options->disturb && count < limit) {
			front->transport->disturb(front);
			count++;
		}
	}
	return count;
}

/* Flush, and compare the whole disk. */
static void *read_back(void *argument)
{
	struct worker *worker = argument;
	struct verify *verify = worker->verify;
	struct front *front = verify->front;
	uint64_t sector, end = verify->nr_chunks * verify->chunk_sectors;
	struct front_slot *slot = worker->slots;

	front_do(front, slot, VIRTIO_BLK_T_FLUSH, 0, 0, NULL);
	for (sector = 0; sector < end; sector += verify->chunk_sectors) {
		slot->user = UINT64_MAX;
		front_do(front, slot, VIRTIO_BLK_T_IN, sector,
			 verify->chunk_sectors * FRONT_SECTOR, NULL);
		check_answer(worker, slot, 1 + slot->bytes);
	}
	atomic_fetch_add(&verify->nr_done, 1);
	return NULL;
}

/* What a later check needs: seed, number of sectors, versions. */
static void save(const struct verify *verify, const char *path)
{
	uint64_t head[2] = { verify->front->options.seed,
			     verify->nr_chunks * verify->chunk_sectors };
	size_t bytes = head[1] * sizeof(*verify->versions);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, head, sizeof(head)) != sizeof(head) ||
	    write(fd, verify->versions, bytes) != (ssize_t)bytes || close(fd))
		err(1, "%s", path);
}

static void prepare(struct verify *verify, struct worker *workers)
{
	struct front *front = verify->front;
	struct front_options *options = &front->options;
	unsigned int i;

	verify->chunk_sectors = options->max_bytes / FRONT_SECTOR;
	verify->nr_chunks = span_sectors(front) / verify->chunk_sectors;
	if (verify->nr_chunks < 2ULL * options->nr_queues * options->depth)
		errx(2, "the device is too small for so much in flight");
	verify->versions = calloc(verify->nr_chunks * verify->chunk_sectors,
				  sizeof(*verify->versions));
	if (!verify->versions)
		err(1, "versions");
	for (i = 0; i < options->nr_queues; i++) {
		workers[i].verify = verify;
		workers[i].ring = &front->rings[i];
		workers[i].slots = front_slots(front, &front->rings[i], options->depth);
		workers[i].is_busy = calloc(verify->nr_chunks, sizeof(bool));
		workers[i].random = (options->seed + i + 1) * 0x9E3779B97F4A7C15ULL;
		workers[i].left = options->operations / options->nr_queues;
		if (!workers[i].is_busy)
			err(1, "workers");
	}
}

static void spawn(struct worker *worker, void *(*function)(void *))
{
	if (pthread_create(&worker->thread, NULL, function, worker))
		errx(1, "pthread_create");
}

int front_verify(struct front *front)
{
	struct front_options *options = &front->options;
	struct worker *workers = calloc(options->nr_queues, sizeof(*workers));
	struct verify verify = { .front = front };
	unsigned int i, disturbances;

	if (!workers)
		err(1, "workers");
	front->transport->start(front);
	prepare(&verify, workers);
	for (i = 0; i < options->nr_queues; i++)
		spawn(&workers[i], work);
	disturbances = disturb(&verify, options->nr_queues, options->disturb_count);
	for (i = 0; i < options->nr_queues; i++)
		pthread_join(workers[i].thread, NULL);
	spawn(&workers[0], read_back);
	disturbances += disturb(&verify, options->nr_queues + 1, 0);
	pthread_join(workers[0].thread, NULL);

	front->transport->stop(front);
	if (options->state)
		save(&verify, options->state);
	printf("%lu operations on %u queues, server disturbed %u times\n",
	       options->operations, options->nr_queues, disturbances);
	return 0;
}

static void read_fully(int fd, void *to, size_t bytes, const char *path)
{
	ssize_t got = read(fd, to, bytes);

	if (got < 0)
		err(1, "%s", path);
	if ((size_t)got != bytes)
		errx(1, "%s: too short", path);
}

/* Compare the device with what a verify run has saved, without any queue. */
int front_check(struct front *front)
{
	const char *state_path = front->options.state, *path = front->options.device;
	uint8_t *data = aligned_alloc(FRONT_PAGE, CHECK_SECTORS * FRONT_SECTOR);
	uint64_t sector, i, nr, head[2], nr_checked = 0;
	uint32_t versions[CHECK_SECTORS];
	int state, device;

	if (!data || !state_path || !path)
		errx(2, "check needs --device and --state");
	state = open(state_path, O_RDONLY | O_CLOEXEC);
	if (state < 0)
		err(1, "%s", state_path);
	device = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (device < 0)
		err(1, "%s", path);
	read_fully(state, head, sizeof(head), state_path);
	for (sector = 0; sector < head[1]; sector += nr) {
		nr = head[1] - sector < CHECK_SECTORS ? head[1] - sector : CHECK_SECTORS;
		read_fully(state, versions, nr * sizeof(*versions), state_path);
		read_fully(device, data, nr * FRONT_SECTOR, path);
		for (i = 0; i < nr; i++) {
			compare(data + i * FRONT_SECTOR, head[0], sector + i, versions[i]);
			nr_checked += !!versions[i];
		}
	}
	printf("%llu sectors are as written\n", (unsigned long long)nr_checked);
	return 0;
}
