// SPDX-License-Identifier: GPL-2.0-only
/*
 * An image made larger while nobody writes to it.
 *
 * As a rule the L1 table has room in its last cluster: what it gets longer by is made zeroes, and then one
 * sector of the header says so. What needs more, a table in another place, or zero clusters over a longer
 * backing file, QEMU does, on the files that the kernel has: no name in a header is followed.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/err.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/header.h"
#include "grow.h"
#include "qemu-img.h"

/* The part of the header that changes, in one sector. */
#define FIELDS_AT	offsetof(struct qcow2_disk_header, size)
#define FIELDS_BYTES	(offsetof(struct qcow2_disk_header, l1_table_offset) - FIELDS_AT)

/**
 * grow_read_size() - the size of the disk that an image is, by the image
 * @bytes: set to it
 *
 * Return: 0 or -errno.
 */
int grow_read_size(const struct live_image *img, uint64_t *bytes)
{
	struct qcow2_header h;
	struct stat st;
	int err;

	if (img->format == IMAGE_QCOW2) {
		err = live_read_header(img->fd, &h);
		*bytes = h.size;
		return err;
	}
	if (S_ISBLK(img->st.st_mode))
		return ioctl(img->fd, BLKGETSIZE64, bytes) < 0 ? -errno : 0;
	if (fstat(img->fd, &st) < 0)
		return -errno;
	*bytes = st.st_size;
	return 0;
}

static uint64_t l1_entries(const struct qcow2_header *h, uint64_t bytes)
{
	unsigned int entry_bits = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3;
	unsigned int shift = 2 * h->cluster_bits - entry_bits;

	return (bytes >> shift) + !!(bytes & (BIT_ULL(shift) - 1));
}

/* What is below has data where the disk ends now. */
static int is_covered(const struct growth *g, bool *is_longer)
{
	uint64_t below = 0;
	int err = 0;

	if (g->chain->n > 1)
		err = grow_read_size(&g->chain->list[1], &below);
	*is_longer = below > g->old_bytes;
	return err;
}

/**
 * grow_check() - whether the image can be that large
 * @g: @fd is not used
 * @name: of the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int grow_check(const struct growth *g, const char *name)
{
	struct qcow2_header h;
	bool is_longer;
	int err;

	if (g->new_bytes % 512 || !g->new_bytes)
		return err_report(VBLK_USAGE, name, "a size is a multiple of 512 bytes");
	if (g->new_bytes < g->old_bytes)
		return err_report(VBLK_UNSUPPORTED, name, "a disk cannot be made smaller");
	err = live_read_header(g->chain->list[0].fd, &h) ?: is_covered(g, &is_longer);
	if (err)
		return err_errno(-err, name, "cannot read the header");
	if (g->new_bytes > INT64_MAX ||
	    l1_entries(&h, g->new_bytes) * QCOW2_ENTRY_BYTES > QCOW2_MAX_L1_BYTES)
		return err_report(VBLK_UNSUPPORTED, name,
				  "an image with clusters of %llu bytes cannot be that large",
				  BIT_ULL(h.cluster_bits));
	if (h.version < 3 && is_longer)
		return err_report(VBLK_UNSUPPORTED, name,
				  "its image is of version 2, and on a longer one, which would show");
	return VBLK_OK;
}

static int write_zeroes(int fd, uint64_t at, uint64_t end)
{
	static const uint8_t zeroes[65536];
	ssize_t n;

	while (at < end) {
		n = pwrite(fd, zeroes, min(end - at, (uint64_t)sizeof(zeroes)), at);
		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? n : 0;
	}
	return 0;
}

static int write_fields(int fd, const struct qcow2_header *h, uint64_t bytes, uint64_t l1_size)
{
	struct qcow2_disk_header d = {
		.size = cpu_to_be64(bytes),
		.crypt_method = cpu_to_be32(h->crypt_method),
		.l1_size = cpu_to_be32(l1_size),
	};

	if (pwrite(fd, (uint8_t *)&d + FIELDS_AT, FIELDS_BYTES, FIELDS_AT) != FIELDS_BYTES)
		return -EIO;
	return fsync(fd) < 0 ? -errno : 0;
}

static int grow_here(const struct growth *g, const struct qcow2_header *h)
{
	uint64_t need = max(l1_entries(h, g->new_bytes), (uint64_t)h->l1_size);
	int err;

	err = write_zeroes(g->fd, h->l1_offset + (uint64_t)h->l1_size * QCOW2_ENTRY_BYTES,
			   h->l1_offset + need * QCOW2_ENTRY_BYTES);
	if (!err && fsync(g->fd) < 0)
		err = -errno;
	return err ? err : write_fields(g->fd, h, g->new_bytes, need);
}

static int grow_by_qemu(const struct growth *g, const char *name)
{
	char *image = qemu_describe(g->chain, 0, true), size[24];
	const char *argv[] = { "qemu-img", "resize", "-q", image, size, NULL };
	int ret;

	snprintf(size, sizeof(size), "%ju", (uintmax_t)g->new_bytes);
	ret = image ? qemu_run(g->chain, argv, name) : err_errno(ENOMEM, name, "cannot run qemu-img");
	free(image);
	if (ret)
		return ret;
	return fsync(g->fd) < 0 ? err_errno(errno, name, "cannot write the image") : VBLK_OK;
}

/**
 * grow_image() - make the image larger; the kernel does not use it meanwhile
 * @name: of the disk
 *
 * Return: an exit code, when it is durable; what is wrong has been reported.
 */
int grow_image(const struct growth *g, const char *name)
{
	struct qcow2_header h;
	bool is_longer;
	uint64_t room;
	int err;

	err = live_read_header(g->fd, &h) ?: is_covered(g, &is_longer);
	if (err)
		return err_errno(-err, name, "cannot read the header");
	/* Their tables are as long as the disk. */
	if (h.autoclear & QCOW2_AUTOCLEAR_BITMAPS)
		return grow_by_qemu(g, name);
	room = round_up((uint64_t)h.l1_size * QCOW2_ENTRY_BYTES, BIT_ULL(h.cluster_bits));
	if (is_longer || l1_entries(&h, g->new_bytes) * QCOW2_ENTRY_BYTES > room)
		return grow_by_qemu(g, name);
	err = grow_here(g, &h);
	return err ? err_errno(-err, name, "cannot write the header") : VBLK_OK;
}

/** grow_undo() - have the header say the old size again; the L1 table may stay longer; 0 or -errno */
int grow_undo(const struct growth *g)
{
	struct qcow2_header h;
	int err = live_read_header(g->fd, &h);

	return err ? err : write_fields(g->fd, &h, g->old_bytes, h.l1_size);
}
