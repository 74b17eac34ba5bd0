// SPDX-License-Identifier: GPL-2.0-only
/*
 * The verbs of the vblk program. Each disk's server is one, and a host has a thousand: those that need large libraries are a
 * program apart (verbs-apart.c).
 */
#include <stddef.h>

#include "cmd.h"

const struct verb program_verbs[] = {
	{ "attach", cmd_attach, "map a qcow2 image and serve it to a guest" },
	{ "backup", NULL, "copy a disk as it is now while it goes on" },
	{ "bitmap", cmd_bitmap, "record what changes of a disk" },
	{ "commit", cmd_commit, "write a disk's image into the one below" },
	{ "control", cmd_control, "ask a disk's server something" },
	{ "detach", cmd_detach, "stop serving a disk and let its image go" },
	{ "export", cmd_export, "serve a disk as it is now to NBD clients" },
	{ "flatten", cmd_flatten, "copy what is below a disk's image into it" },
	{ "freeze", cmd_freeze, "show a disk as it is now while it goes on" },
	{ "list", cmd_list, "list attached disks" },
	{ "resize", cmd_resize, "make a disk larger while it is in use" },
	{ "restore", NULL, "put a backup back, as an image or on a device" },
	{ "resume", cmd_resume, "go on with commits and flattens that have not ended" },
	{ "snapshot", cmd_snapshot, "leave a disk's image as it is, and write to an overlay" },
	{ "status", cmd_status, "show what disks have done and are doing" },
	{ "thaw", cmd_thaw, "end what vblk-freeze has begun" },
	{ "top", cmd_top, "watch what disks do" },
	{}
};
