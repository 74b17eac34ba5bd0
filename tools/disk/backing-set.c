// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another name for the backing file of an image, by two writes that a power cut leaves whole.
 *
 * The name goes where nothing is in the header's cluster, and is durable, before the two fields that say where it is are
 * written: those are inside of the first sector, and so is the format, if that becomes another one. The name of before stays,
 * and belongs to nobody. So the extensions have to have an end of their own, in front of either.
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
#define SECTOR_BYTES	512

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

/**
 * backing_resolve() - the path that a name in the header of @namer, a path, stands for, if that is a certain file
 * @st: of the file
 * @path: set to it, PATH_MAX
 *
 * Return: 0 or -ENOENT.
 */
int backing_resolve(const char *name, const char *namer, const struct stat *st, char *path)
{
	char why[BACKING_WHY_BYTES];
	struct backing_name parsed;
	struct stat now;

	if (backing_name_parse(name, namer, &parsed, why) || stat(parsed.path, &now) < 0 ||
	    !image_is_same(&now, st))
		return -ENOENT;
	strcpy(path, parsed.path);
	return 0;
}

/** backing_means() - whether a name in the header of @namer, a path, is that file */
bool backing_means(const char *name, const char *namer, const struct stat *st)
{
	char path[PATH_MAX];

	return !backing_resolve(name, namer, st, path);
}

/**
 * struct head - the first cluster of an image
 * @h: the header in it
 * @buf: the cluster; head_free() is due
 * @bytes: how much of it there is
 */
struct head {
	struct qcow2_header h;
	uint8_t *buf;
	size_t bytes;
};

static void head_free(struct head *head)
{
	free(head->buf);
}

/* head_free() is due in either case. */
static int head_read(int fd, struct head *head)
{
	size_t bytes;
	ssize_t n;
	int err;

	*head = (struct head){};
	err = live_read_header(fd, &head->h);
	if (err)
		return err;
	bytes = round_up(BIT_ULL(head->h.cluster_bits), (uint64_t)DIRECT_ALIGN);
	if (posix_memalign((void **)&head->buf, DIRECT_ALIGN, bytes))
		return -ENOMEM;
	n = pread(fd, head->buf, bytes, 0);
	if (n < SECTOR_BYTES)
		return n < 0 ? -errno : -EIO;
	head->bytes = n;
	return 0;
}

/* Where the extensions end; 0 when they have no end of their own. @format: set to where the last of that kind is, or 0. */
static uint64_t find_end(const struct head *head, uint64_t *format)
{
	uint64_t at = head->h.length, end = min((uint64_t)head->bytes, qcow2_header_ext_end(&head->h));
	struct qcow2_disk_ext ext;

	*format = 0;
	while (at + sizeof(ext) <= end) {
		memcpy(&ext, head->buf + at, sizeof(ext));
		if (be32_to_cpu(ext.type) == QCOW2_EXT_END)
			return at + sizeof(ext);
		if (be32_to_cpu(ext.type) == QCOW2_EXT_BACKING_FORMAT)
			*format = at;
		at += sizeof(ext) + round_up((uint64_t)be32_to_cpu(ext.bytes), 8);
	}
	return 0;
}

/* @at: where it is; without one, what is below was a qcow2 image. */
static enum image_format read_format(const struct head *head, uint64_t at)
{
	enum image_format format = IMAGE_QCOW2;
	struct qcow2_disk_ext ext;
	char *name;

	if (!at)
		return format;
	memcpy(&ext, head->buf + at, sizeof(ext));
	name = strndup((char *)head->buf + at + sizeof(ext), be32_to_cpu(ext.bytes));
	format = name ? image_format_find(name) : IMAGE_UNKNOWN;
	free(name);
	return format;
}

/* A format of another name is written over the one that is there, in one go with what says where the name is. */
static bool has_room_for_format(const struct head *head, uint64_t at, enum image_format format)
{
	const char *name = image_format_name(format);
	struct qcow2_disk_ext ext;

	if (at && read_format(head, at) == format)
		return true;
	if (!at || at + sizeof(ext) + round_up(strlen(name), 8) > SECTOR_BYTES)
		return false;
	memcpy(&ext, head->buf + at, sizeof(ext));
	return round_up((uint64_t)be32_to_cpu(ext.bytes), 8) == round_up(strlen(name), 8);
}

/* Where no extension says the format, the name does. */
static bool says_format(const char *name, enum image_format format)
{
	char why[BACKING_WHY_BYTES];
	struct backing_name parsed;

	return !backing_name_parse(name, "/", &parsed, why) && parsed.format == format;
}

static int find_room(const struct head *head, const char *name, struct backing_place *place)
{
	uint64_t format_at, end = find_end(head, &format_at);
	uint64_t behind = head->h.backing_offset + head->h.backing_bytes;

	if (!end || !head->h.backing_offset)
		return -ENOSPC;
	if (!has_room_for_format(head, format_at, place->format) &&
	    (format_at || !says_format(name, place->format)))
		return -ENOSPC;
	if (end + place->bytes <= head->h.backing_offset)
		place->offset = end;
	else if (behind + place->bytes <= BIT_ULL(head->h.cluster_bits))
		place->offset = behind;
	return place->offset ? 0 : -ENOSPC;
}

/**
 * backing_find_room() - where in the header's cluster another name can be
 * @format: of the file of that name
 * @place: set to that
 *
 * Return: 0, -ENOSPC when there is no room, another -errno.
 */
int backing_find_room(const struct live_image *img, const char *name, enum image_format format,
		      struct backing_place *place)
{
	struct head head;
	int err;

	*place = (struct backing_place){ .bytes = strlen(name), .format = format };
	if (place->bytes > QCOW2_MAX_BACKING_NAME_BYTES)
		return -ENAMETOOLONG;
	err = head_read(img->fd, &head) ?: find_room(&head, name, place);
	head_free(&head);
	return err;
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

static void put_format(uint8_t *sector, uint64_t at, enum image_format format)
{
	const char *name = image_format_name(format);
	struct qcow2_disk_ext ext = {
		.type = cpu_to_be32(QCOW2_EXT_BACKING_FORMAT),
		.bytes = cpu_to_be32(strlen(name)),
	};

	memcpy(sector + at, &ext, sizeof(ext));
	memset(sector + at + sizeof(ext), 0, round_up(strlen(name), 8));
	memcpy(sector + at + sizeof(ext), name, strlen(name));
}

static int set_place(const struct live_image *img, const struct head *head, const struct backing_place *place)
{
	struct qcow2_disk_header d = {
		.backing_file_offset = cpu_to_be64(place->offset),
		.backing_file_size = cpu_to_be32(place->bytes),
	};
	uint64_t format_at;

	memcpy(head->buf + FIELDS_AT, (uint8_t *)&d + FIELDS_AT, FIELDS_BYTES);
	find_end(head, &format_at);
	if (format_at && read_format(head, format_at) != place->format)
		put_format(head->buf, format_at, place->format);
	return write_at(img, head->buf, SECTOR_BYTES, 0);
}

/** backing_set_back() - have the header say again where the name of before is; 0 or -errno */
int backing_set_back(const struct live_image *img, const struct backing_place *was)
{
	struct head head;
	int err = head_read(img->fd, &head) ?: set_place(img, &head, was);

	head_free(&head);
	return err;
}

static int set_name(const struct live_image *img, const struct head *head, const char *name,
		    struct backing_place *place, struct backing_place *was)
{
	uint64_t format_at;
	int err;

	err = find_room(head, name, place);
	if (err)
		return err;
	find_end(head, &format_at);
	*was = (struct backing_place){
		.offset = head->h.backing_offset,
		.bytes = head->h.backing_bytes,
		.format = read_format(head, format_at),
	};
	err = write_at(img, name, place->bytes, place->offset);
	if (err)
		return err;
	/* The beginning of it may be in the sector that comes next. */
	memcpy(head->buf + place->offset, name, place->bytes);
	return set_place(img, head, place);
}

/**
 * backing_set() - have the header name another file
 * @format: of that
 * @was: set to where the name of before is
 *
 * Return: 0 when it is durable, -ENOSPC when there is no room, another -errno.
 */
int backing_set(const struct live_image *img, const char *name, enum image_format format,
		struct backing_place *was)
{
	struct backing_place place = { .bytes = strlen(name), .format = format };
	struct head head;
	int err;

	if (place.bytes > QCOW2_MAX_BACKING_NAME_BYTES)
		return -ENAMETOOLONG;
	err = head_read(img->fd, &head) ?: set_name(img, &head, name, &place, was);
	head_free(&head);
	return err;
}
