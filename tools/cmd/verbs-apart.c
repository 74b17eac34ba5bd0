// SPDX-License-Identifier: GPL-2.0-only
/* The verbs of the program that has libnbd. */
#include <stddef.h>

#include "cmd.h"

const struct verb program_verbs[] = {
	{ "backup", cmd_backup, "copy a disk as it is now while it goes on" },
	{ "restore", cmd_restore, "put a backup back, as an image or on a device" },
	{}
};
