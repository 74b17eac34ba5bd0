/* SPDX-License-Identifier: GPL-2.0-only */
/* What a backup is written to: an NBD server, which may be a qemu-nbd of our own. */
#ifndef VBLK_TARGET_H
#define VBLK_TARGET_H

#include <libnbd.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "child.h"
#include "disk/chain.h"
#include "mark.h"

/* Of the name that a file has for its server, before it has any other. */
#define TARGET_PATH_BYTES	48

/* Of a qcow2 image that we make. */
#define TARGET_CLUSTER_BYTES	65536

/**
 * enum target_kind - what it is
 */
enum target_kind {
	TARGET_SERVER,
	TARGET_FILE,
	TARGET_DEVICE,
};

/**
 * struct target - where a backup goes
 * @name: as it was given
 * @disk: name of the disk, for messages
 * @bytes: size of the disk
 * @format: of a file or device
 * @is_compressed: its clusters are compressed
 * @force: over what is there
 * @is_dry: nothing is to be made, nor connected to
 * @below: absolute path of a qcow2 image that it is to lie on, or NULL
 * @mark: what a qcow2 file is to say of itself, or NULL
 * @kind: what it is
 * @fd: the file or device, which is claimed; -1 for a server
 * @dir: the directory of a file, or -1
 * @base: its name in there
 * @part: a name that it has until it gets that one
 * @is_named: it has @part; else it has no name yet
 * @old_fd: the file that has the name now, locked, or -1
 * @is_touched: what a device held before may be gone
 * @reads_zero: what is not written reads as zero
 * @unit: what is of one kind to the copy; a power of 2
 * @min_bytes: the server takes multiples of it
 * @max_bytes: and no more in one go
 * @server: a qemu-nbd of ours
 * @nbd: the connection
 */
struct target {
	const char *name;
	const char *disk;
	uint64_t bytes;
	const char *format;
	bool is_compressed;
	bool force;
	bool is_dry;
	const char *below;
	const struct mark *mark;
	enum target_kind kind;
	int fd;
	int dir;
	char base[NAME_MAX + 1];
	char part[NAME_MAX + 6];
	bool is_named;
	int old_fd;
	bool is_touched;
	bool reads_zero;
	uint64_t unit;
	uint64_t min_bytes;
	uint64_t max_bytes;
	struct child server;
	struct nbd_handle *nbd;
};

int target_claim(struct target *t);
int target_open(struct target *t);
int target_check(struct target *t);
int target_turn(struct target *t, int timeout_ms);
int target_report(const struct target *t, const char *what);
int target_place(struct target *t);
int target_finish(struct target *t);
void target_disconnect(struct target *t);
void target_abandon(struct target *t);

/* target-file.c */
int target_file_open(struct target *t, int path);
int target_file_name(struct target *t);
void target_file_close(struct target *t);

/* target-device.c */
int target_check_own(const struct target *t, const struct stat *st);
int target_device_open(struct target *t, int path);
void target_device_wipe(const struct target *t, bool is_ours);

/* target-apart.c */
int target_check_apart(const struct target *t, const struct chain *c);

/* target-above.c */
int target_check_above(const struct target *t);

/* target-rights.c */
int target_take_owner(const struct target *t);
int target_take_mode(const struct target *t);

/* target-serve.c */
void target_fd_path(const struct target *t, char path[TARGET_PATH_BYTES]);
bool target_has_direct_io(const struct target *t);
int target_serve(struct target *t);
int target_cut(struct target *t);

#endif
