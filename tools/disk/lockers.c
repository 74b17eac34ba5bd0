// SPDX-License-Identifier: GPL-2.0-only
/* How many have an image locked, as QEMU locks it, by the kernel's list of all locks. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "lockers.h"

/* Byte 200 and the bit of "write": all who use an image share it with no writer. See lock.c. */
#define EVERYBODYS_BYTE	201

/**
 * lockers_count() - how many open file descriptions of a file or device have an image's locks
 *
 * UINT_MAX when that cannot be told.
 * Files of other file systems with the same inode number are counted, too: where a file system
 * has devices of its own, the list has another number than stat. Not those of nodes in /dev, whose numbers are small.
 */
unsigned int lockers_count(const struct stat *st)
{
	FILE *f = fopen("/proc/locks", "re");
	uintmax_t ino, start, end;
	unsigned int major_no, minor_no;
	unsigned int count = 0;
	char line[256];

	if (!f)
		return UINT_MAX;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*u: OFDLCK %*s %*s %*d %x:%x:%ju %ju %ju", &major_no,
			   &minor_no, &ino, &start, &end) == 5 &&
		    ino == st->st_ino &&
		    (!S_ISBLK(st->st_mode) || makedev(major_no, minor_no) == st->st_dev) && start <= EVERYBODYS_BYTE && end >= EVERYBODYS_BYTE)
			count++;
	if (ferror(f))
		count = UINT_MAX;
	fclose(f);
	return count;
}
