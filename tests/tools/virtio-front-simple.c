// SPDX-License-Identifier: GPL-2.0-only
/*
 * Simple work: a file to the disk and back, one request, a held claim, logging.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "virtio-front.h"

static struct front_slot *first_slot(struct front *front)
{
	return front_slots(front, &front->rings[0], 1);
}

static void must(struct front *front, struct front_slot *slot, uint32_t type,
		 uint64_t sector, uint32_t bytes)
{
	uint8_t status = front_do(front, slot, type, sector, bytes, NULL);

	if (status != VIRTIO_BLK_S_OK)
		errx(1, "type %u, sector %llu, %u bytes: status %u", type,
		     (unsigned long long)sector, bytes, status);
}

/* Write a file to the beginning of the disk; its last sector is padded. */
int front_copy_in(struct front *front, const char *path)
{
	struct front_slot *slot;
	uint64_t sector = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	front->transport->start(front);
	slot = first_slot(front);
	while ((got = read(fd, slot->data, front->options.max_bytes)) > 0) {
		size_t bytes = (got + FRONT_SECTOR - 1) & ~(size_t)(FRONT_SECTOR - 1);

		memset(slot->data + got, 0, bytes - got);
		must(front, slot, VIRTIO_BLK_T_OUT, sector, bytes);
		sector += bytes / FRONT_SECTOR;
	}
	if (got < 0)
		err(1, "%s", path);
	must(front, slot, VIRTIO_BLK_T_FLUSH, 0, 0);
	front->transport->stop(front);
	return 0;
}

/* Write the whole disk, or the span, to a file. */
int front_copy_out(struct front *front, const char *path)
{
	uint64_t left, sector = 0;
	struct front_slot *slot;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		err(1, "%s", path);
	front->transport->start(front);
	slot = first_slot(front);
	left = front->options.span ?: front->capacity * FRONT_SECTOR;
	while (left) {
		uint32_t bytes = front->options.max_bytes;

		if (left < bytes)
			bytes = left;
		must(front, slot, VIRTIO_BLK_T_IN, sector, bytes);
		if (write(fd, slot->data, bytes) != (ssize_t)bytes)
			err(1, "%s", path);
		sector += bytes / FRONT_SECTOR;
		left -= bytes;
	}
	front->transport->stop(front);
	return close(fd) ? 1 : 0;
}

static const struct {
	const char *name;
	uint32_t type;
} types[] = {
	{ "in", VIRTIO_BLK_T_IN },
	{ "out", VIRTIO_BLK_T_OUT },
	{ "flush", VIRTIO_BLK_T_FLUSH },
	{ "id", VIRTIO_BLK_T_GET_ID },
	{ "discard", VIRTIO_BLK_T_DISCARD },
	{ "zeroes", VIRTIO_BLK_T_WRITE_ZEROES },
	{ "erase", VIRTIO_BLK_T_SECURE_ERASE },
};

static uint32_t type_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].name, name))
			return types[i].type;
	return strtoul(name, NULL, 0);
}

/* A range request carries its ranges as data: @nr of them, which begin @step sectors apart. */
static uint32_t fill_ranges(struct front_slot *slot, uint64_t sector, uint64_t bytes,
			    uint32_t flags, unsigned int nr, uint64_t step)
{
	struct virtio_blk_discard_write_zeroes *range = (void *)slot->data;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		range[i].sector = sector + i * step;
		range[i].num_sectors = bytes / FRONT_SECTOR;
		range[i].flags = flags;
	}
	return nr * sizeof(*range);
}

/*
 * TYPE SECTOR BYTES [FLAGS [RANGES [STEP]]]: one request; prints its status and used length, and
 * the data of an ID.
 */
int front_request(struct front *front, int argc, char **argv)
{
	struct front_slot *slot;
	uint32_t type, bytes, used_bytes;
	uint64_t sector;
	uint8_t status;

	if (argc < 3)
		errx(2, "request: TYPE SECTOR BYTES [FLAGS [RANGES [STEP]]]");
	type = type_of(argv[0]);
	sector = strtoull(argv[1], NULL, 0);
	bytes = strtoul(argv[2], NULL, 0);

	front->transport->start(front);
	slot = first_slot(front);
	memset(slot->data, 0x5a, front->options.max_bytes);
	/* What a driver does that turns the cache off, and then is migrated. */
	if (front->options.is_write_through &&
	    (front_vhost_call(front, FRONT_WRITE_CACHE, 0) ||
	     front_vhost_call(front, FRONT_LOG, 0)))
		errx(1, "the write cache cannot be turned off");
	if (bytes > front->options.max_bytes && type <= VIRTIO_BLK_T_OUT)
		errx(2, "%u bytes are more than --max-bytes", bytes);
	if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES ||
	    type == VIRTIO_BLK_T_SECURE_ERASE)
		bytes = fill_ranges(slot, sector, bytes,
				    argc > 3 ? strtoul(argv[3], NULL, 0) : 0,
				    argc > 4 ? strtoul(argv[4], NULL, 0) : 1,
				    argc > 5 ? strtoull(argv[5], NULL, 0) : bytes / FRONT_SECTOR);
	status = front_do(front, slot, type, sector, bytes, &used_bytes);
	printf("status=%u used=%u", status, used_bytes);
	if (type == VIRTIO_BLK_T_GET_ID)
		printf(" id=%.*s", VIRTIO_BLK_ID_BYTES, slot->data);
	putchar('\n');
	front->transport->stop(front);
	return 0;
}

/* Serve the rings, say so, and wait until standard input ends. */
int front_hold(struct front *front)
{
	char drop;

	front->transport->start(front);
	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &drop, 1) > 0)
		;
	front->transport->stop(front);
	return 0;
}

static bool is_logged(const struct front *front, const void *address)
{
	uint64_t page = front_gpa(&front->memory, address) / FRONT_PAGE;

	return front->log[page / 8] & 1 << page % 8;
}

static void expect_log(const struct front *front, const void *address, bool expected,
		       const char *what)
{
	if (is_logged(front, address) != expected)
		errx(1, "%s: %s in the dirty log", what, expected ? "missing" : "unexpected");
}

static void clear_log(struct front *front)
{
	memset(front->log, 0, front->log_bytes);
}

/*
 * Reads, failed reads and the used ring are in the dirty log, data that the
 * device only reads is not, and after logging is turned off nothing is.
 */
int front_log(struct front *front)
{
	uint32_t bytes = 4 * FRONT_PAGE;
	struct front_slot *slot;
	uint32_t i;

	front->log_bytes = (FRONT_GPA + front->memory.bytes) / FRONT_PAGE / 8 + 8;
	front->log = mmap(NULL, front->log_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (front->log == MAP_FAILED)
		err(1, "log");
	front->transport->start(front);
	slot = first_slot(front);

	must(front, slot, VIRTIO_BLK_T_IN, 0, bytes);
	if (front_vhost_call(front, FRONT_LOG, 1))
		errx(1, "logging cannot be turned on");
	clear_log(front);
	must(front, slot, VIRTIO_BLK_T_IN, 0, bytes);
	for (i = 0; i <= bytes; i += FRONT_PAGE)
		expect_log(front, slot->data + i, true, "page read into");
	expect_log(front, slot->ring->used, true, "used ring");

	clear_log(front);
	must(front, slot, VIRTIO_BLK_T_OUT, 0, bytes);
	expect_log(front, slot->data, false, "page written from");
	expect_log(front, slot->data + bytes, true, "page of a status");

	clear_log(front);
	if (front_do(front, slot, VIRTIO_BLK_T_IN, front->capacity, bytes, NULL) !=
	    VIRTIO_BLK_S_IOERR)
		errx(1, "a read beyond the end succeeds");
	expect_log(front, slot->data, true, "page of a failed read");

	if (front_vhost_call(front, FRONT_LOG, 0))
		errx(1, "logging cannot be turned off");
	clear_log(front);
	must(front, slot, VIRTIO_BLK_T_IN, 0, bytes);
	expect_log(front, slot->data, false, "page read into without logging");
	front->transport->stop(front);
	puts("the dirty log is complete");
	return 0;
}
