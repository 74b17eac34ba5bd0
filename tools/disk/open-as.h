/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OPEN_AS_H
#define VBLK_OPEN_AS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "backing-name.h"

/* How far somebody came with a file. */
enum step {
	STEP_BECOME,	/* become its owner */
	STEP_FIND,	/* walk its path */
	STEP_TYPE,	/* it is a file or a block device */
	STEP_PLACE,	/* it is nowhere where nothing is opened */
	STEP_DIR,	/* it is in the one directory where it may be */
	STEP_OPEN,	/* open it */
	STEP_DONE,
};

/**
 * struct verdict - what became of an attempt to open a file
 * @step: the one that failed, or STEP_DONE
 * @err: errno of that step
 * @mode: type of the file, from STEP_TYPE on
 * @real: its path without links, from STEP_PLACE on
 */
struct verdict {
	enum step step;
	int err;
	mode_t mode;
	char real[PATH_MAX];
};

/**
 * struct attempt - what is to be opened, with O_DIRECT unless that is not there
 * @path: the file
 * @dir: the directory that it has to be in, without links, or NULL
 * @kind: what it has to be
 * @is_writable: for writing, too
 * @allows_devices: a block device below /dev is no reason to stop
 * @may_be_cached: nor is a file system without direct I/O
 */
struct attempt {
	const char *path;
	const char *dir;
	enum backing_kind kind;
	bool is_writable;
	bool allows_devices;
	bool may_be_cached;
};

bool path_is_below(const char *path, const char *dir);
int open_here(const struct attempt *a, struct verdict *v);
int open_as_user(uid_t uid, const struct attempt *a, struct verdict *v);

#endif
