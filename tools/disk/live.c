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
#include "layers.h"
#include "live.h"
#include "lock.h"

#define IDENTITY_BYTES	64

/* As the kernel says it: Documentation/dm-qcow2.rst, Messages. */
static void format_identity(const struct stat *st, char *text)
{
	if (S_ISBLK(st->st_mode))
		snprintf(text, IDENTITY_BYTES, "%u:%u", major(st->st_rdev), minor(st->st_rdev));
	else
		snprintf(text, IDENTITY_BYTES, "%u:%u:%ju", major(st->st_dev), minor(st->st_dev),
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
 */
bool live_is_image(const char *device, size_t index, const struct stat *st)
{
	char identity[IDENTITY_BYTES], *words;
	bool is_it;

	if (dmdev_ask(device, "images", &words))
		return false;
	format_identity(st, identity);
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

static bool has_image(const char *device, const char *identity)
{
	char *words, *word, *rest;
	bool found = false;

	if (dmdev_ask(device, "images", &words))
		return false;
	for (word = strtok_r(words, " ", &rest); word && !found; word = strtok_r(NULL, " ", &rest))
		found = !strcmp(word, identity);
	free(words);
	return found;
}

/**
 * live_find_other() - another device that has an image, by the kernel's word
 * @d: the one that is not meant
 * @other: set to it
 *
 * Return: whether there is one.
 */
bool live_find_other(const struct dmdev *d, const struct stat *st, struct dmdev *other)
{
	char identity[IDENTITY_BYTES];
	struct dmdev *devs;
	bool found = false;
	uint64_t sectors;
	char *params;
	size_t n;

	if (dmdev_list(false, &devs, &n))
		return false;
	format_identity(st, identity);
	for (size_t i = 0; i < n && !found; i++) {
		/* A message is for a target that knows it. */
		if (devs[i].dev == d->dev || dmdev_table(devs[i].name, &sectors, &params))
			continue;
		free(params);
		found = has_image(devs[i].name, identity);
		if (found)
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
	char identity[IDENTITY_BYTES], self[32];
	int fd = open(img->path, O_PATH | O_CLOEXEC);
	int ret = VBLK_OK;

	if (fd < 0)
		return errno == ENOENT ? report_other_file(d, img->path) :
			err_errno(errno, d->name, "cannot open its image %s", img->path);
	if (fstat(fd, &img->st) < 0)
		ret = err_errno(errno, d->name, "cannot look at its image %s", img->path);
	if (!ret) {
		format_identity(&img->st, identity);
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
		c->n++;
	}
	return c->n ? 0 : -ENODATA;
}

static int read_table(const struct dmdev *d, struct live_chain *c)
{
	struct layers layers;
	uint64_t bytes;
	char *params;
	int err;

	err = layers_of_device(d->name, &bytes, &layers);
	if (!err)
		err = take_layers(c, &layers);
	layers_free(&layers);
	if (!err)
		err = dmdev_table(d->name, &c->sectors, &params);
	if (err)
		return err;
	c->features = find_features(params);
	free(params);
	return c->features ? 0 : -ENOMEM;
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
	char *words = NULL;
	int err, ret = VBLK_OK;

	memset(c, 0, sizeof(*c));
	err = read_table(d, c);
	if (!err)
		err = dmdev_ask(d->name, "images", &words);
	if (err)
		return err_errno(-err, d->name, "cannot tell its images");
	for (size_t i = 0; i < c->n && !ret; i++)
		ret = open_image(d, words, i, &c->list[i]);
	free(words);
	err = ret ? 0 : live_relock(c);
	return err ? err_errno(-err, d->name, "cannot lock its images") : ret;
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
