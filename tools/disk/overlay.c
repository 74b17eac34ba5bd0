// SPDX-License-Identifier: GPL-2.0-only
/*
 * A new qcow2 image with nothing in it, over another one: as qemu-img create makes it, whose
 * defaults are these.
 *
 *	cluster 0: header, backing file   1: refcount table   2: refcount block   3...: L1 table
 *
 * It is durable, and so is its name, before anybody uses it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/err.h"
#include "dm-qcow2/format/disk.h"
#include "overlay.h"

#define CLUSTER_BITS	16
#define CLUSTER_BYTES	(1U << CLUSTER_BITS)
#define L1_ENTRY_BYTES	(1ULL << (2 * CLUSTER_BITS - QCOW2_ENTRY_BITS))	/* of the disk */
#define REFCOUNT_ORDER	4	/* of 16 bits */

enum {
	HEADER,
	REFTABLE,
	REFBLOCK,
	L1_TABLE,	/* to the end */
};

static const char *backing_format(const struct overlay *o)
{
	return o->is_raw_below ? "raw" : "qcow2";
}

static uint64_t l1_entries(const struct overlay *o)
{
	return (o->bytes + L1_ENTRY_BYTES - 1) / L1_ENTRY_BYTES;
}

static uint64_t all_clusters(const struct overlay *o)
{
	return L1_TABLE + round_up(l1_entries(o) * QCOW2_ENTRY_BYTES, CLUSTER_BYTES) / CLUSTER_BYTES;
}

/* Extensions behind the header, then the name. */
static void fill_header(const struct overlay *o, uint8_t *buf)
{
	struct qcow2_disk_header *h = (void *)buf;
	struct qcow2_disk_ext *ext = (void *)(buf + sizeof(*h));
	size_t name_at = sizeof(*h) + 2 * sizeof(*ext) + sizeof(uint64_t);

	*h = (struct qcow2_disk_header){
		.magic = cpu_to_be32(QCOW2_MAGIC),
		.version = cpu_to_be32(3),
		.backing_file_offset = cpu_to_be64(name_at),
		.backing_file_size = cpu_to_be32(strlen(o->backing)),
		.cluster_bits = cpu_to_be32(CLUSTER_BITS),
		.size = cpu_to_be64(o->bytes),
		.l1_size = cpu_to_be32(l1_entries(o)),
		.l1_table_offset = cpu_to_be64((uint64_t)L1_TABLE << CLUSTER_BITS),
		.refcount_table_offset = cpu_to_be64((uint64_t)REFTABLE << CLUSTER_BITS),
		.refcount_table_clusters = cpu_to_be32(1),
		.refcount_order = cpu_to_be32(REFCOUNT_ORDER),
		.header_length = cpu_to_be32(sizeof(*h)),
	};
	ext->type = cpu_to_be32(QCOW2_EXT_BACKING_FORMAT);
	ext->bytes = cpu_to_be32(strlen(backing_format(o)));
	memcpy(ext + 1, backing_format(o), strlen(backing_format(o)));
	/* The end of the extensions is zeroes. */
	memcpy(buf + name_at, o->backing, strlen(o->backing));
}

/* Everything in front of the L1 table, which is zeroes. */
static void fill(const struct overlay *o, uint8_t *buf)
{
	__be64 *reftable = (void *)(buf + REFTABLE * CLUSTER_BYTES);
	__be16 *refblock = (void *)(buf + REFBLOCK * CLUSTER_BYTES);

	fill_header(o, buf);
	reftable[0] = cpu_to_be64((uint64_t)REFBLOCK << CLUSTER_BITS);
	for (uint64_t i = 0; i < all_clusters(o); i++)
		refblock[i] = cpu_to_be16(1);
}

static int write_all(int fd, const uint8_t *buf, size_t bytes)
{
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = pwrite(fd, buf + done, bytes - done, done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? n : 0;
	}
	return 0;
}

/* Space for all of it first: it must not be missing when the L1 table is written to. */
static int write_image(const struct overlay *o, int fd)
{
	size_t bytes = (size_t)L1_TABLE * CLUSTER_BYTES;
	uint8_t *buf;
	int err;

	err = -posix_fallocate(fd, 0, all_clusters(o) * CLUSTER_BYTES);
	if (err)
		return err;
	buf = calloc(1, bytes);
	if (!buf)
		return -ENOMEM;
	fill(o, buf);
	err = write_all(fd, buf, bytes);
	free(buf);
	return err;
}

static int finish(struct overlay *o, int fd)
{
	int err;

	if (fchown(fd, o->uid, o->gid) < 0 || fchmod(fd, o->mode) < 0)
		return -errno;
	err = write_image(o, fd);
	if (err)
		return err;
	return fsync(fd) < 0 || fstat(fd, &o->st) < 0 || fsync(o->dir) < 0 ? -errno : 0;
}

static int check(const struct overlay *o)
{
	if (strlen(o->backing) > QCOW2_MAX_BACKING_NAME_BYTES)
		return err_report(VBLK_UNSUPPORTED, o->backing,
				  "its path is longer than the %d bytes that a qcow2 header may name",
				  QCOW2_MAX_BACKING_NAME_BYTES);
	if (l1_entries(o) * QCOW2_ENTRY_BYTES > QCOW2_MAX_L1_BYTES)
		return err_report(VBLK_UNSUPPORTED, o->backing,
				  "too large for an overlay with clusters of %u bytes", CLUSTER_BYTES);
	return VBLK_OK;
}

/**
 * overlay_check() - whether overlay_make() has a reason to fail, as far as that can be told
 * @o: as for that
 *
 * Return: an exit code; what is wrong has been reported.
 */
int overlay_check(const struct overlay *o)
{
	struct stat st;
	int ret = check(o);

	if (ret)
		return ret;
	if (fstatat(o->dir, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return err_errno(EEXIST, o->path, "cannot make the overlay");
	if (errno != ENOENT)
		return err_errno(errno, o->path, "cannot make the overlay");
	return faccessat(o->dir, ".", W_OK | X_OK, AT_EACCESS) < 0 ?
	       err_errno(errno, o->path, "cannot make the overlay") : VBLK_OK;
}

/**
 * overlay_make() - make the file, durable
 * @o: all but @st and @fd is set
 *
 * Return: an exit code; what is wrong has been reported, and nothing is left.
 */
int overlay_make(struct overlay *o)
{
	int ret = check(o), fd, err;

	o->fd = -1;
	if (ret)
		return ret;
	fd = openat(o->dir, o->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(errno, o->path, "cannot make the overlay");
	o->fd = fd;
	err = finish(o, fd);
	if (!err)
		return VBLK_OK;
	overlay_remove(o);
	overlay_close(o);
	return err_errno(-err, o->path, "cannot make the overlay");
}

/** overlay_close() - the file stays */
void overlay_close(struct overlay *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

/** overlay_remove() - undo overlay_make(), if the name is still the file's; overlay_close() is due */
void overlay_remove(const struct overlay *o)
{
	struct stat made, named;

	if (fstat(o->fd, &made) == 0 &&
	    fstatat(o->dir, o->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    made.st_dev == named.st_dev && made.st_ino == named.st_ino)
		unlinkat(o->dir, o->name, 0);
}
