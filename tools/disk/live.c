// SPDX-License-Identifier: GPL-2.0-only
/* The images of a disk that is attached, opened once more. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd/err.h"
#include "dm-qcow2/format/header.h"
#include "layers.h"
#include "live.h"
#include "lock.h"


/* Enough for direct I/O on any device. */
#define DIRECT_ALIGN	4096

/** live_identity() - which file that is, as the kernel says it: Documentation/dm-qcow2.rst, Messages */
void live_identity(const struct stat *st, char *text)
{
	if (S_ISBLK(st->st_mode))
		snprintf(text, LIVE_IDENTITY_BYTES, "%u:%u", major(st->st_rdev), minor(st->st_rdev));
	else
		snprintf(text, LIVE_IDENTITY_BYTES, "%u:%u:%ju", major(st->st_dev), minor(st->st_dev),
			 (uintmax_t)st->st_ino);
}

/* The @index-th word from the end. */
static bool is_word(const char *words, size_t index, const char *word)
{
	const char *end = words + strlen(words), *begin = end;

	for (size_t i = 0; ; i++) {
		while (begin > words && begin[-1] != ' ')
			begin--;
		if (i == index)
			return (size_t)(end - begin) == strlen(word) &&
			       !memcmp(begin, word, end - begin);
		if (begin == words)
			return false;
		end = --begin;
	}
}

/**
 * live_is_image() - whether a file is an image of a device, by the kernel's word
 * @device: its name
 * @index: which image: 0 is the top
 *
 * Return: 1 or 0; -errno when the kernel does not say.
 */
int live_is_image(const char *device, size_t index, const struct stat *st)
{
	char identity[LIVE_IDENTITY_BYTES], *words;
	int is_it, err;

	err = dmdev_ask(device, "images", &words);
	if (err)
		return err;
	live_identity(st, identity);
	is_it = is_word(words, index, identity);
	free(words);
	return is_it;
}

/**
 * live_top_uuid() - what the top of a device would have its own device called
 *
 * As image_uuid() says it, by the kernel's word: the file itself is not touched.
 *
 * Return: 0 or -errno.
 */
int live_top_uuid(const char *device, char *uuid, size_t size)
{
	unsigned int major_no, minor_no;
	char *words, *last;
	uintmax_t ino;
	int n, err;

	err = dmdev_ask(device, "images", &words);
	if (err)
		return err;
	last = strrchr(words, ' ');
	n = sscanf(last ? last + 1 : words, "%u:%u:%ju", &major_no, &minor_no, &ino);
	if (n == 3)
		snprintf(uuid, size, DMDEV_PREFIX "%u:%u-%ju", major_no, minor_no, ino);
	else if (n == 2)
		snprintf(uuid, size, DMDEV_PREFIX "dev-%u:%u", major_no, minor_no);
	else
		err = -ENODATA;
	free(words);
	return err;
}

/**
 * live_has_image() - whether a file is any image of a device, by the kernel's word
 * @device: its name
 *
 * Return: 1 or 0; -errno when the kernel does not say.
 */
int live_has_image(const char *device, const struct stat *st)
{
	char identity[LIVE_IDENTITY_BYTES], *words, *word, *rest;
	bool found = false;
	int err;

	err = dmdev_ask(device, "images", &words);
	if (err)
		return err;
	live_identity(st, identity);
	for (word = strtok_r(words, " ", &rest); word && !found; word = strtok_r(NULL, " ", &rest))
		found = !strcmp(word, identity);
	free(words);
	return found;
}

/* What was removed, or has no table of ours, has no image. */
static int device_has_image(const struct dmdev *d, const struct stat *st)
{
	uint64_t sectors;
	char *params;
	int err;

	/* A message is for a target that knows it. */
	err = dmdev_table(d->name, &sectors, &params);
	if (!err) {
		free(params);
		err = live_has_image(d->name, st);
	}
	return err == -ENODATA || err == -ENXIO ? 0 : err;
}

/**
 * live_find_other() - another device that has an image, by the kernel's word
 * @d: the one that is not meant
 * @other: set to it
 *
 * Return: 1, 0 when there is none, -errno when that cannot be told.
 */
int live_find_other(const struct dmdev *d, const struct stat *st, struct dmdev *other)
{
	struct dmdev *devs;
	int found;
	size_t n;

	found = dmdev_list(false, &devs, &n);
	if (found)
		return found;
	for (size_t i = 0; i < n && !found; i++) {
		if (devs[i].dev == d->dev)
			continue;
		found = device_has_image(&devs[i], st);
		if (found > 0)
			*other = devs[i];
	}
	free(devs);
	return found;
}

static int report_other_file(const struct dmdev *d, const char *path)
{
	return err_report(VBLK_FAILED, d->name,
			  "%s is not the image that the disk has: it has been moved, or replaced",
			  path);
}

/* Found first, then opened: what else may be there must not be touched. */
static int open_image(const struct dmdev *d, const char *words, size_t index,
		      struct live_image *img)
{
	char identity[LIVE_IDENTITY_BYTES], self[32];
	int fd = open(img->path, O_PATH | O_CLOEXEC);
	int ret = VBLK_OK;

	if (fd < 0)
		return errno == ENOENT ? report_other_file(d, img->path) :
			err_errno(errno, d->name, "cannot open its image %s", img->path);
	if (fstat(fd, &img->st) < 0)
		ret = err_errno(errno, d->name, "cannot look at its image %s", img->path);
	if (!ret) {
		live_identity(&img->st, identity);
		if (!is_word(words, index, identity))
			ret = report_other_file(d, img->path);
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!ret)
		img->fd = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (!ret && img->fd < 0)
		ret = err_errno(errno, d->name, "cannot open its image %s", img->path);
	close(fd);
	return ret;
}

/* They come last in the line, and no value has a blank. */
static char *find_features(const char *params)
{
	static const char word[] = " features ";
	const char *found = NULL, *p = params;

	while ((p = strstr(p, word)))
		found = p++;
	return strdup(found ?: "");
}

static int take_layers(struct live_chain *c, const struct layers *layers)
{
	c->list = calloc(layers->n ?: 1, sizeof(*c->list));
	if (!c->list)
		return -ENOMEM;
	for (size_t i = 0; i < layers->n; i++) {
		if ((size_t)snprintf(c->list[i].path, PATH_MAX, "%s", layers->list[i].path) >= PATH_MAX)
			return -ENAMETOOLONG;
		c->list[i].format = layers->list[i].format;
		c->list[i].fd = -1;
		c->list[i].has_data_file = layers->list[i].data;
		c->n++;
	}
	return c->n ? 0 : -ENODATA;
}

static int take_data(struct live_chain *c, const struct layers *layers)
{
	const char *path = layers->n ? layers->list[0].data : NULL;

	if (!path)
		return -ENODATA;
	c->list = calloc(1, sizeof(*c->list));
	if (!c->list)
		return -ENOMEM;
	c->list->format = IMAGE_RAW;
	c->list->fd = -1;
	c->n = 1;
	return (size_t)snprintf(c->list->path, PATH_MAX, "%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int take_line(const struct dmdev *d, struct live_chain *c)
{
	char *params;
	int err;

	err = dmdev_table(d->name, &c->sectors, &params);
	if (err)
		return err;
	c->features = find_features(params);
	free(params);
	return c->features ? 0 : -ENOMEM;
}

static int report_unknown(const struct dmdev *d, int err)
{
	return err_errno(-err, d->name, "cannot tell its images");
}

/* @message: what the kernel answers with their identities to. Return: an exit code. */
static int open_images(const struct dmdev *d, struct live_chain *c, const char *message)
{
	int err, ret = VBLK_OK;
	char *words;

	err = dmdev_ask(d->name, message, &words);
	if (err)
		return report_unknown(d, err);
	for (size_t i = 0; i < c->n && !ret; i++)
		ret = open_image(d, words, i, &c->list[i]);
	free(words);
	err = ret ? 0 : live_relock(c);
	return err ? err_errno(-err, d->name, "cannot lock its images") : ret;
}

/* The data file of the top is all that counts of it, if @of_data. Return: an exit code. */
static int read_table(const struct dmdev *d, struct live_chain *c, bool of_data)
{
	struct layers layers;
	uint64_t bytes;
	int err;

	err = layers_of_device(d->name, &bytes, &layers);
	if (!err && of_data)
		err = take_data(c, &layers);
	else if (!err)
		err = take_layers(c, &layers);
	if (!err)
		err = take_line(d, c);
	layers_free(&layers);
	return err ? report_unknown(d, err) : VBLK_OK;
}

/**
 * live_open() - open the images of a disk, and share their locks
 * @d: the device, which nobody changes meanwhile
 * @c: filled in; live_close() is due in either case
 *
 * Return: an exit code; what is wrong has been reported.
 */
int live_open(const struct dmdev *d, struct live_chain *c)
{
	int ret;

	memset(c, 0, sizeof(*c));
	ret = read_table(d, c, false);
	return ret ? ret : open_images(d, c, "images");
}

/**
 * live_open_data() - open the data file of a device's top, as a raw image that is alone
 * @d: the device, which has one
 * @c: as for live_open()
 *
 * Return: an exit code; what is wrong has been reported.
 */
int live_open_data(const struct dmdev *d, struct live_chain *c)
{
	int ret;

	memset(c, 0, sizeof(*c));
	ret = read_table(d, c, true);
	return ret ? ret : open_images(d, c, "data_files");
}

/**
 * live_refuse_data_files() - refuse a chain with any, for whoever loads another table, or copies data
 *
 * The table would need them, too; a copy would go into them, and they would have to grow. Return: an exit
 * code; what is wrong has been reported.
 */
int live_refuse_data_files(const struct live_chain *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].has_data_file)
			return err_report(VBLK_UNSUPPORTED, name,
					  "%s has an external data file: its chain is changed only while it is detached",
					  c->list[i].path);
	return VBLK_OK;
}

/** live_relock() - have a reader's locks, beside those that the kernel holds; 0 or -errno */
int live_relock(const struct live_chain *c)
{
	int err = 0;

	for (size_t i = 0; i < c->n && !err; i++)
		err = lock_image_too(c->list[i].fd, true);
	return err;
}

/** live_close() - undo live_open(); the kernel keeps what it has */
void live_close(struct live_chain *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].fd >= 0)
			close(c->list[i].fd);
	free(c->list);
	free(c->features);
	memset(c, 0, sizeof(*c));
}

/**
 * live_table() - what follows "qcow2" in a table line
 * @first: the first of the images that are in it, counted from the top; those above are not
 * @top_fd: of another top over these, or -1
 *
 * Return: a string that the caller frees, or NULL.
 */
char *live_table(const struct live_chain *c, size_t first, int top_fd)
{
	return live_table_without(c, first, top_fd, SIZE_MAX);
}

/** live_table_without() - the same without one more of the images */
char *live_table_without(const struct live_chain *c, size_t first, int top_fd, size_t without)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	for (size_t i = c->n; i-- > first;)
		if (i != without)
			fprintf(to, "%s%d ", c->list[i].format == IMAGE_RAW ? "format:raw " : "",
				c->list[i].fd);
	if (top_fd >= 0)
		fprintf(to, "%d ", top_fd);
	fputs(*c->features ? c->features + 1 : "features 0", to);
	if (fclose(to)) {
		free(text);
		return NULL;
	}
	return text;
}

/**
 * live_read_header() - read the header of a qcow2 image
 * @fd: of it
 * @h: filled in
 *
 * Return: 0 or -errno.
 */
int live_read_header(int fd, struct qcow2_header *h)
{
	const char *why;
	void *buf;
	ssize_t n;
	int err;

	if (posix_memalign(&buf, DIRECT_ALIGN, DIRECT_ALIGN))
		return -ENOMEM;
	n = pread(fd, buf, DIRECT_ALIGN, 0);
	err = n < 0 ? -errno : qcow2_header_parse(buf, n, h, &why);
	free(buf);
	return err;
}

/**
 * live_check_top() - whether an image below could be written to as a top
 * @why: set to why not
 *
 * Return: 0 or -errno.
 */
int live_check_top(const struct live_image *img, const char **why)
{
	struct qcow2_header h;
	int err;

	*why = "its header cannot be read";
	err = live_read_header(img->fd, &h);
	return err ? err : qcow2_header_supported(&h, true, why);
}

/**
 * live_open_top() - open an image for writing, which the disk may write to or has as a reader
 * @fd: set to a descriptor with a writer's locks
 *
 * The kernel, or @c, has locks that keep other writers out; whether there are other readers is
 * not asked. Return: 0 or -errno.
 */
int live_open_top(const struct live_chain *c, size_t index, int *fd)
{
	char self[32];
	int err;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", c->list[index].fd);
	*fd = open(self, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	err = lock_image_too(*fd, false);
	if (err)
		close(*fd);
	return err;
}
