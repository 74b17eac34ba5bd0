/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who may have which file opened by naming it in an image.
 *
 * Whoever can write to an image can write a name into its header: its owner, and of
 * a raw disk, that somebody takes for a qcow2 image, the guest. We run as root, and
 * what we open becomes readable to the guest. So a file is opened only if the owners
 * of all images above it may read it, by the kernel's own judgement: a child becomes
 * such an owner, with the groups that the owner has by the user database, and opens
 * it. It opens nothing below /proc, /sys or /dev, wherever links lead, and nothing
 * but regular files and block devices, which it makes sure of before it opens them.
 *
 * --backing PATH allows what the administrator has named: any regular file elsewhere,
 * and a block device also below /dev.
 *
 * The same holds for data files; whose image it is counts among the owners. One that is to be
 * written has to let its image's owner write to it. Where that is root, or the image is on a device,
 * whose owner says nothing of who writes there, it also has to be in the directory of the image:
 * else any file of the host could be named. --data-file PATH names that of the top, whatever the
 * header says, wherever it is; --backing allows nobody to write.
 */
#ifndef VBLK_BACKING_POLICY_H
#define VBLK_BACKING_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "backing-name.h"
#include "dm-qcow2/format/table.h"
#include "image.h"

#define MAX_CHAIN	QCOW2_MAX_LAYERS	/* images, the top included */

/**
 * struct backing_policy - what the command line says of backing files
 * @program: whose command line that is, for hints; NULL: vblk-attach
 * @is_none: open none, nor a data file that a header names
 * @format: of those whose format no header says
 * @allowed: those that it names
 * @nr_allowed: how many there are
 * @data_file: the data file of the top, or NULL
 * @is_for_program: a program reads them, and takes those that have no direct I/O, too
 */
struct backing_policy {
	const char *program;
	bool is_none;
	enum image_format format;
	struct stat allowed[MAX_CHAIN];
	size_t nr_allowed;
	const char *data_file;
	bool is_for_program;
};

/**
 * struct backing_request - a file that is to be opened
 * @policy: what the command line says
 * @name: the file
 * @namer: the image that names it
 * @is_data: as its data file; else as its backing file
 * @top: the image that the user has named, for hints
 * @owners: of all images above it
 * @nr_owners: how many different ones there are
 */
struct backing_request {
	const struct backing_policy *policy;
	const struct backing_name *name;
	const struct image *namer;
	bool is_data;
	const struct image *top;
	const uid_t *owners;
	size_t nr_owners;
};

int backing_allow(struct backing_policy *policy, const char *path);
int backing_open(const struct backing_request *r, int *fd);
int backing_open_named(const struct backing_request *r, int *fd);

#endif
