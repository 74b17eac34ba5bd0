/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The images of a disk that is attached, opened once more, for another table.
 *
 * Paths of the present table may mean other files by now, and who may change a directory must not
 * choose what the kernel opens for him: a file counts when it is the one that the kernel has.
 */
#ifndef VBLK_LIVE_H
#define VBLK_LIVE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "chain.h"
#include "dm.h"
#include "image.h"

struct qcow2_header;

/**
 * struct live_image - an image of an attached disk
 * @path: absolute; it is that file
 * @format: raw or qcow2
 * @st: identity
 * @fd: for reading, with a reader's locks
 * @has_data_file: what is in it is metadata alone; the data file is not opened
 */
struct live_image {
	char path[PATH_MAX];
	enum image_format format;
	struct stat st;
	int fd;
	bool has_data_file;
};

/**
 * struct live_chain - all of them
 * @list: the top first
 * @n: how many there are
 * @sectors: length of the table
 * @features: the end of its line, from " features" on, or ""
 */
struct live_chain {
	struct live_image *list;
	size_t n;
	uint64_t sectors;
	char *features;
};

#define LIVE_IDENTITY_BYTES	64

void live_identity(const struct stat *st, char *text);
int live_top_uuid(const char *device, char *uuid, size_t size);
int live_is_image(const char *device, size_t index, const struct stat *st);
int live_open(const struct dmdev *d, struct live_chain *c);
int live_open_data(const struct dmdev *d, struct live_chain *c);
int live_refuse_data_files(const struct live_chain *c, const char *name);
int live_relock(const struct live_chain *c);
void live_close(struct live_chain *c);
char *live_table(const struct live_chain *c, size_t first, int top_fd);
char *live_table_without(const struct live_chain *c, size_t first, int top_fd, size_t without);
int live_has_image(const char *device, const struct stat *st);
int live_find_other(const struct dmdev *d, const struct stat *st, struct dmdev *other);
int live_read_header(int fd, struct qcow2_header *h);
int live_check_top(const struct live_image *img, const char **why);
int live_open_top(const struct live_chain *c, size_t index, int *fd);

#endif
