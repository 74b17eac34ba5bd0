// SPDX-License-Identifier: GPL-2.0-only
/*
 * The header of a top, which has all of its disk's data, made to name no backing file, while nobody else writes to it.
 *
 * That is one write inside of one sector. The name itself stays where it is, and belongs to nobody: where the header
 * extensions do not end in front of it, it would be taken for one of them, and QEMU has to write all of the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alone.h"
#include "cmd/err.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/header-ext.h"
#include "qemu-img.h"

/* The fields that say where the name is, in one sector. */
#define FIELDS_AT	offsetof(struct qcow2_disk_header, backing_file_offset)
#define FIELDS_BYTES	(offsetof(struct qcow2_disk_header, cluster_bits) - FIELDS_AT)

#define DIRECT_ALIGN	4096

/* Whether the extensions have an end of their own. */
static bool has_end(const struct qcow2_header *h, const char *buf, size_t bytes)
{
	uint64_t at = h->length, end = min((uint64_t)bytes, qcow2_header_ext_end(h));
	struct qcow2_disk_ext ext;

	while (at + sizeof(ext) <= end) {
		memcpy(&ext, buf + at, sizeof(ext));
		if (be32_to_cpu(ext.type) == QCOW2_EXT_END)
			return true;
		at += sizeof(ext) + round_up((uint64_t)be32_to_cpu(ext.bytes), 8);
	}
	return false;
}

static int look_for_end(int fd, const struct qcow2_header *h, bool *found)
{
	size_t bytes = round_up(BIT_ULL(h->cluster_bits), (uint64_t)DIRECT_ALIGN);
	void *buf;
	ssize_t n;

	if (posix_memalign(&buf, DIRECT_ALIGN, bytes))
		return -ENOMEM;
	n = pread(fd, buf, bytes, 0);
	*found = n > 0 && has_end(h, buf, n);
	free(buf);
	return n < 0 ? -errno : 0;
}

/* Not for direct I/O: it is a part of a block. */
static int write_fields(const struct live_chain *c, uint64_t offset, uint32_t bytes)
{
	struct qcow2_disk_header d = {
		.backing_file_offset = cpu_to_be64(offset),
		.backing_file_size = cpu_to_be32(bytes),
	};
	char self[32];
	int fd, err = 0;
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", c->list[0].fd);
	fd = open(self, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pwrite(fd, (uint8_t *)&d + FIELDS_AT, FIELDS_BYTES, FIELDS_AT);
	if (n != FIELDS_BYTES)
		err = n < 0 ? -errno : -EIO;
	else if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int make_by_qemu(const struct live_chain *c, const char *name)
{
	char *image = qemu_describe(c, 0, false);
	const char *argv[] = { "qemu-img", "rebase", "-q", "-u", "-b", "", image, NULL };
	int ret;

	ret = image ? qemu_run(c, argv, name) : err_errno(ENOMEM, name, "cannot run qemu-img");
	free(image);
	if (!ret && fsync(c->list[0].fd) < 0)
		ret = err_errno(errno, name, "cannot write the header");
	return ret;
}

/**
 * alone_make() - have the header of the top say so
 * @c: its chain
 * @h: the header
 * @name: of the disk
 *
 * Return: an exit code, when it is durable; what is wrong has been reported.
 */
int alone_make(const struct live_chain *c, const struct qcow2_header *h, const char *name)
{
	bool has_one;
	int err;

	err = look_for_end(c->list[0].fd, h, &has_one);
	if (!err && !has_one)
		return make_by_qemu(c, name);
	err = err ?: write_fields(c, 0, 0);
	return err ? err_errno(-err, name, "cannot write the header") : VBLK_OK;
}

/** alone_undo() - have it say again what @h does; 0 or -errno */
int alone_undo(const struct live_chain *c, const struct qcow2_header *h)
{
	struct qcow2_header now;
	int err = live_read_header(c->list[0].fd, &now);

	/* QEMU has written another one: it was not refused, then. */
	if (err || now.backing_offset)
		return err;
	return write_fields(c, h->backing_offset, h->backing_bytes);
}
