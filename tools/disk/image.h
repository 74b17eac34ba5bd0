/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_IMAGE_H
#define VBLK_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define IMAGE_FORMAT_BYTES	16	/* of the longest name in a header, with a NUL */

enum image_format {
	IMAGE_UNKNOWN,
	IMAGE_RAW,
	IMAGE_QCOW2,
};

/**
 * struct image - an image file or a block device that holds one
 * @arg: path as the user gave it, for messages
 * @name: of the device, if the user gave one, for hints; else NULL
 * @path: the same, absolute, links resolved
 * @uuid: of the device that it is attached as
 * @st: identity
 * @fd: the locked description that the kernel is to keep, or -1
 * @virtual_bytes: size of the disk; valid once open
 * @format: what it is
 * @backing: the name of its backing file, as it stands in the header, or NULL
 * @backing_format: what the header says that this is, "" if it does not
 * @is_read_only: open and locked for reading only
 * @is_for_program: and a program reads it: it need have no direct I/O, nor locks
 * @has_data_file: its guest's data is in another file
 * @data_name: the name of that, as it stands in the header, or NULL
 * @data: that, open, as a raw image; belongs to this one; or NULL
 */
struct image {
	const char *arg;
	const char *name;
	char path[PATH_MAX];
	char uuid[64];
	struct stat st;
	int fd;
	uint64_t virtual_bytes;
	enum image_format format;
	char *backing;
	char backing_format[IMAGE_FORMAT_BYTES];
	bool is_read_only;
	bool is_for_program;
	bool has_data_file;
	char *data_name;
	struct image *data;
};

int image_identify(struct image *img, const char *arg);
int image_uuid(const struct stat *st, char *uuid, size_t size);
int image_open(struct image *img, bool read_only);
int image_adopt(struct image *img, int fd, const char *arg, enum image_format format,
		const struct image *above, bool read_only);
bool image_is_same(const struct stat *a, const struct stat *b);
void image_close(struct image *img);

#endif
