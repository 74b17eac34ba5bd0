// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another name for the backing file of an image, by two writes that a power cut leaves whole.
 *
 * The name goes where nothing is in the header's cluster, and is durable, before the two fields that say where it is are
 * written: those are inside of one sector. The name of before stays, and belongs to nobody. So the extensions have to have an
 * end of their own, in front of either. Their format stays as it is: it is one qcow2 image in the place of another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing-header.h"
#include "backing-name.h"
#include "backing-set.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/header-ext.h"

/* In one sector. */
#define FIELDS_AT	offsetof(struct qcow2_disk_header, backing_file_offset)
#define FIELDS_BYTES	(offsetof(struct qcow2_disk_header, cluster_bits) - FIELDS_AT)

#define DIRECT_ALIGN	4096

/** backing_get() - the name in the header, which the caller frees; NULL when there is none, or it cannot be read */
char *backing_get(const struct live_image *img)
{
	struct image named = { .arg = img->path, .fd = img->fd };
	struct qcow2_header h;

	if (img->format != IMAGE_QCOW2 || live_read_header(img->fd, &h))
		return NULL;
	if (backing_header_read(&named, &h)) {
		free(named.backing);
		named.backing = NULL;
	}
	free(named.data_name);
	return named.backing;
}

/** backing_means() - whether a name in the header of @namer, a path, is that file */
bool backing_means(const char *name, const char *namer, const struct stat *st)
{
	char why[BACKING_WHY_BYTES];
	struct backing_name parsed;
	struct stat now;

	return !backing_name_parse(name, namer, &parsed, why) && stat(parsed.path, &now) == 0 &&
	       image_is_same(&now, st);
}

/* Where the extensions end; 0 when they have no end of their own. */
static uint64_t find_end(const struct qcow2_header *h, const char *buf, size_t bytes)
{
	uint64_t at = h->length, end = min((uint64_t)bytes, qcow2_header_ext_end(h));
	struct qcow2_disk_ext ext;

	while (at + sizeof(ext) <= end) {
		memcpy(&ext, buf + at, sizeof(ext));
		at += sizeof(ext);
		if (be32_to_cpu(ext.type) == QCOW2_EXT_END)
			return at;
		at += round_up((uint64_t)be32_to_cpu(ext.bytes), 8);
	}
	return 0;
}

static int read_end(int fd, const struct qcow2_header *h, uint64_t *end)
{
	size_t bytes = round_up(BIT_ULL(h->cluster_bits), (uint64_t)DIRECT_ALIGN);
	void *buf;
	ssize_t n;

	if (posix_memalign(&buf, DIRECT_ALIGN, bytes))
		return -ENOMEM;
	n = pread(fd, buf, bytes, 0);
	*end = n > 0 ? find_end(h, buf, n) : 0;
	free(buf);
	return n < 0 ? -errno : 0;
}

/**
 * backing_find_room() - where in the header's cluster another name can be
 * @place: set to that
 *
 * Return: 0, -ENOSPC when there is no room, another -errno.
 */
int backing_find_room(const struct live_image *img, const char *name, struct backing_place *place)
{
	struct qcow2_header h;
	uint64_t end, behind;
	int err;

	*place = (struct backing_place){ .bytes = strlen(name) };
	if (place->bytes > QCOW2_MAX_BACKING_NAME_BYTES)
		return -ENAMETOOLONG;
	err = live_read_header(img->fd, &h) ?: read_end(img->fd, &h, &end);
	if (err)
		return err;
	behind = h.backing_offset + h.backing_bytes;
	if (!end || !h.backing_offset)
		return -ENOSPC;
	if (end + place->bytes <= h.backing_offset)
		place->offset = end;
	else if (behind + place->bytes <= BIT_ULL(h.cluster_bits))
		place->offset = behind;
	return place->offset ? 0 : -ENOSPC;
}

/* Not for direct I/O: it is a part of a block. */
static int write_at(const struct live_image *img, const void *from, size_t bytes, uint64_t at)
{
	char self[32];
	int fd, err = 0;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", img->fd);
	fd = open(self, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, from, bytes, at) != (ssize_t)bytes)
		err = -EIO;
	else if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

/** backing_set_back() - have the header say again where the name of before is; 0 or -errno */
int backing_set_back(const struct live_image *img, const struct backing_place *was)
{
	struct qcow2_disk_header d = {
		.backing_file_offset = cpu_to_be64(was->offset),
		.backing_file_size = cpu_to_be32(was->bytes),
	};

	return write_at(img, (uint8_t *)&d + FIELDS_AT, FIELDS_BYTES, FIELDS_AT);
}

/**
 * backing_set() - have the header name another file
 * @was: set to where the name of before is
 *
 * Return: 0 when it is durable, -ENOSPC when there is no room, another -errno.
 */
int backing_set(const struct live_image *img, const char *name, struct backing_place *was)
{
	struct backing_place place;
	struct qcow2_header h;
	int err;

	err = live_read_header(img->fd, &h) ?: backing_find_room(img, name, &place);
	if (err)
		return err;
	*was = (struct backing_place){ .offset = h.backing_offset, .bytes = h.backing_bytes };
	err = write_at(img, name, place.bytes, place.offset);
	return err ? err : backing_set_back(img, &place);
}
