// SPDX-License-Identifier: GPL-2.0-only
/*
 * attach-cost SECTORS IMAGES [OFFSET]: nanoseconds of CPU time to attach a qcow2 image, or a chain of them as a table
 * has it: create the mapped device, load its table, resume. With OFFSET: not that, but to write 4 KiB right after
 * it, there and in each round 64 KiB further. A line for each round but the first. For a machine with one CPU and
 * nothing else to do, like io-cost; the same system calls as dmsetup's, without the start of a program.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "detach.h"
#include "idle.h"

#define NAME	"attach-cost"

enum { ROUNDS = 4, BLOCK = 4096, SPACING = 65536 };

struct load {
	struct dm_ioctl request;
	struct dm_target_spec target;
	char image[256];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void call(int fd, unsigned long operation, struct load *load, size_t bytes)
{
	load->request.version[0] = DM_VERSION_MAJOR;
	load->request.data_size = bytes;
	load->request.data_start = offsetof(struct load, target);
	load->request.flags = 0;
	strcpy(load->request.name, NAME);
	if (ioctl(fd, operation, load))
		err(1, "device-mapper");
}

/* Return: the minor number of the device. */
static unsigned int attach(int fd, uint64_t sectors, const char *image)
{
	struct load load = { 0 };

	call(fd, DM_DEV_CREATE, &load, sizeof(load.request));
	memset(&load, 0, sizeof(load));
	load.request.target_count = 1;
	load.target.length = sectors;
	strcpy(load.target.target_type, "qcow2");
	strncpy(load.image, image, sizeof(load.image) - 1);
	call(fd, DM_TABLE_LOAD, &load, sizeof(load));
	memset(&load, 0, sizeof(load));
	call(fd, DM_DEV_SUSPEND, &load, sizeof(load.request));
	return minor(load.request.dev);
}

static uint64_t cost_of_attach(int control, uint64_t sectors, const char *image)
{
	uint64_t idle = idle_ns();
	uint64_t ns = now_ns();

	attach(control, sectors, image);
	ns = now_ns() - ns;
	return ns - (idle_ns() - idle);
}

static uint64_t cost_of_write(int control, uint64_t sectors, const char *image, uint64_t offset)
{
	static char block[BLOCK] __attribute__((aligned(BLOCK))) = "written";
	uint64_t ns, idle;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/dm-%u", attach(control, sectors, image));
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", path);
	idle = idle_ns();
	ns = now_ns();
	if (pwrite(fd, block, BLOCK, offset) != BLOCK)
		err(1, "%s: write", path);
	ns = now_ns() - ns;
	ns -= idle_ns() - idle;
	close(fd);
	return ns;
}

int main(int argc, char **argv)
{
	int control = open("/dev/mapper/control", O_RDWR);
	uint64_t ns, sectors, offset;
	unsigned int round;

	if (argc != 3 && argc != 4)
		errx(2, "usage: attach-cost SECTORS IMAGES [OFFSET]");
	if (control < 0)
		err(1, "/dev/mapper/control");
	sectors = strtoull(argv[1], NULL, 0);
	for (round = 0; round < ROUNDS; round++) {
		if (argc == 3) {
			ns = cost_of_attach(control, sectors, argv[2]);
		} else {
			offset = strtoull(argv[3], NULL, 0) + round * SPACING;
			ns = cost_of_write(control, sectors, argv[2], offset);
		}
		if (round)
			printf("%llu.0\n", (unsigned long long)ns);
		detach("dm:" NAME);
	}
	return 0;
}
