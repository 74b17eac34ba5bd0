// SPDX-License-Identifier: GPL-2.0-only
/* The target's message "populate": Documentation/dm-qcow2.rst. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dm.h"
#include "populate.h"

/**
 * populate_some() - copy some of what is below the top of a disk into it
 * @device: its name
 * @sectors: its size
 * @max_bytes: how much at most, to the end of a cluster
 * @next: the sector to begin at; set to the one to go on at
 * @copied: set to how many bytes were copied
 *
 * Return: 0 or -errno.
 */
int populate_some(const char *device, uint64_t sectors, uint64_t max_bytes, uint64_t *next,
		  uint64_t *copied)
{
	char message[96], *answer;
	uintmax_t to, bytes;
	int err;

	snprintf(message, sizeof(message), "populate %ju %ju %ju", (uintmax_t)*next,
		 (uintmax_t)(sectors - *next), (uintmax_t)max_bytes);
	err = dmdev_ask(device, message, &answer);
	if (err)
		return err;
	if (sscanf(answer, "%ju %ju", &to, &bytes) != 2 || to < *next) {
		err = -EPROTO;
	} else {
		*next = to;
		*copied = bytes;
	}
	free(answer);
	return err;
}
