// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the header of an image says of other files: the name of its backing file, and the format;
 * and the name of its data file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing-header.h"
#include "cmd/err.h"
#include "dm-qcow2/format/header-ext.h"

#define DIRECT_ALIGN	4096U

/* Name and extensions are in the first cluster. Zeroes behind the end of the file. */
static void *read_first_cluster(const struct image *img, const struct qcow2_header *h)
{
	size_t bytes = round_up(BIT_ULL(h->cluster_bits), DIRECT_ALIGN);
	void *buf;

	if (posix_memalign(&buf, DIRECT_ALIGN, bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	memset(buf, 0, bytes);
	if (pread(img->fd, buf, bytes, 0) < 0) {
		free(buf);
		return NULL;
	}
	return buf;
}

/* A name is as long as the header says; some programs count a NUL behind it. */
static int take_name(struct image *img, const char *name, size_t bytes)
{
	size_t len = strnlen(name, bytes);

	for (size_t i = len; i < bytes; i++)
		if (name[i])
			return err_report(VBLK_DAMAGED, img->arg,
					  "the name of its backing file has a NUL byte in it");
	if (!len) {
		err_report(VBLK_DAMAGED, img->arg, "the name of its backing file is empty");
		err_hint_command("qemu-img", "rebase", "-u", "-b", "", img->arg, NULL);
		return VBLK_DAMAGED;
	}
	img->backing = strndup(name, len);
	return img->backing ? VBLK_OK : err_errno(ENOMEM, img->arg, "cannot read the header");
}

static int take_data_name(struct image *img, const char *name, size_t bytes)
{
	if (!bytes || memchr(name, '\0', bytes))
		return err_report(VBLK_DAMAGED, img->arg,
				  "the name of its data file is empty, or has a NUL byte in it");
	free(img->data_name);
	img->data_name = strndup(name, bytes);
	return img->data_name ? VBLK_OK : err_errno(ENOMEM, img->arg, "cannot read the header");
}

static int take_extension(struct image *img, uint32_t type, const char *data, uint32_t bytes)
{
	if (type == QCOW2_EXT_DATA_FILE && img->has_data_file)
		return take_data_name(img, data, bytes);
	if (type == QCOW2_EXT_BACKING_FORMAT && bytes < sizeof(img->backing_format)) {
		memcpy(img->backing_format, data, bytes);
		img->backing_format[bytes] = '\0';
	}
	return VBLK_OK;
}

/* The extensions have been checked. Of several the last counts, as for QEMU. */
static int take_extensions(struct image *img, const struct qcow2_header *h, const char *buf)
{
	uint64_t at = h->length, end = qcow2_header_ext_end(h);
	struct qcow2_disk_ext ext;
	uint32_t type, bytes;
	int ret = VBLK_OK;

	while (!ret && at + sizeof(ext) <= end) {
		memcpy(&ext, buf + at, sizeof(ext));
		type = be32_to_cpu(ext.type);
		bytes = be32_to_cpu(ext.bytes);
		at += sizeof(ext);
		if (type == QCOW2_EXT_END || bytes > end - at)
			break;
		ret = take_extension(img, type, buf + at, bytes);
		at += round_up((uint64_t)bytes, 8);
	}
	return ret;
}

/**
 * backing_header_read() - find out what an image says of its backing file, and of its data file
 * @img: sets @backing and @backing_format, @has_data_file and @data_name
 * @h: its header, checked, and its extensions
 *
 * Return: an exit code; what is wrong has been reported.
 */
int backing_header_read(struct image *img, const struct qcow2_header *h)
{
	int ret = VBLK_OK;
	char *buf;

	img->has_data_file = qcow2_header_has_data_file(h);
	if (!h->backing_offset && !img->has_data_file)
		return VBLK_OK;
	buf = read_first_cluster(img, h);
	if (!buf)
		return err_errno(errno, img->arg, "cannot read the header");
	if (h->backing_offset)
		ret = take_name(img, buf + h->backing_offset, h->backing_bytes);
	if (!ret)
		ret = take_extensions(img, h, buf);
	free(buf);
	return ret;
}
