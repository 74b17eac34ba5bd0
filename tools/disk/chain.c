// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an image to those below it: what each header names is found, opened, locked
 * and checked in turn, until one names nothing or is raw. No format is ever guessed.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing-name.h"
#include "chain.h"
#include "cmd/err.h"

/* An image below another, with the name that it was opened by; freed by its image. */
struct below {
	struct image img;
	char name[PATH_MAX];
};
static_assert(offsetof(struct below, img) == 0);

static int add_owner(struct chain *c, const struct image *img)
{
	struct stat st;

	if (fstat(img->fd, &st) < 0)
		return err_errno(errno, img->arg, "cannot tell whose it is");
	for (size_t i = 0; i < c->nr_owners; i++)
		if (c->owners[i] == st.st_uid)
			return VBLK_OK;
	c->owners[c->nr_owners++] = st.st_uid;
	return VBLK_OK;
}

static int report_no_format(const struct image *namer)
{
	err_report(VBLK_UNSUPPORTED, namer->arg,
		   "backing file %s: its format is said nowhere, and is not guessed",
		   namer->backing);
	err_hint_command("qemu-img", "rebase", "-u", "-F", "FORMAT", "-b", namer->backing,
			 namer->arg, NULL);
	return VBLK_UNSUPPORTED;
}

/* The header says, or the name, or the user; the first two do not contradict each other. */
static int choose_format(const struct image *namer, const struct backing_name *name,
			 const struct backing_policy *policy, enum image_format *format)
{
	*format = image_format_find(namer->backing_format);
	if (*namer->backing_format && !*format)
		return err_report(VBLK_UNSUPPORTED, namer->arg,
				  "backing file %s: format '%s' is not supported",
				  namer->backing, namer->backing_format);
	if (*format && name->format && *format != name->format)
		return err_report(VBLK_UNSUPPORTED, namer->arg,
				  "backing file %s: the header says that it is %s",
				  namer->backing, namer->backing_format);
	if (!*format)
		*format = name->format ?: policy->format;
	return *format ? VBLK_OK : report_no_format(namer);
}

static int refuse_twice(const struct chain *c, const struct image *namer, int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(errno, namer->arg, "backing file %s", path);
	for (size_t i = 0; i < c->n; i++)
		if (image_is_same(&c->images[i]->st, &st))
			return err_report(VBLK_DAMAGED, namer->arg,
					  "backing file %s: it is above in the chain already",
					  path);
	return VBLK_OK;
}

static int open_below(const struct chain *c, const struct image *namer,
		      const struct backing_policy *policy, const struct backing_name *name,
		      int *fd)
{
	struct backing_request r = {
		.policy = policy,
		.name = name,
		.namer = namer,
		.top = c->images[0],
		.owners = c->owners,
		.nr_owners = c->nr_owners,
	};
	int ret = backing_open(&r, fd);

	if (ret)
		return ret;
	ret = refuse_twice(c, namer, *fd, name->path);
	if (ret)
		close(*fd);
	return ret;
}

static int adopt(struct chain *c, int fd, const char *path, enum image_format format)
{
	struct below *b = calloc(1, sizeof(*b));

	if (!b) {
		close(fd);
		return err_errno(ENOMEM, path, "cannot open");
	}
	snprintf(b->name, sizeof(b->name), "%s", path);
	c->images[c->n++] = &b->img;
	return image_adopt(&b->img, fd, b->name, format);
}

static int follow(struct chain *c, const struct backing_policy *policy)
{
	const struct image *namer = c->images[c->n - 1];
	char why[BACKING_WHY_BYTES];
	struct backing_name name;
	enum image_format format;
	int fd, ret;

	if (policy->is_none)
		return err_report(VBLK_DENIED, namer->arg, "backing file %s: refused by --no-backing",
				  namer->backing);
	if (c->n == MAX_CHAIN)
		return err_report(VBLK_UNSUPPORTED, namer->arg,
				  "backing file %s: a chain has no more than %d images",
				  namer->backing, MAX_CHAIN);
	ret = backing_name_parse(namer->backing, namer->arg, &name, why);
	if (ret)
		return err_report(ret, namer->arg, "backing file %s: %s", namer->backing, why);
	ret = choose_format(namer, &name, policy, &format);
	if (!ret)
		ret = add_owner(c, namer);
	if (!ret)
		ret = open_below(c, namer, policy, &name, &fd);
	return ret ? ret : adopt(c, fd, name.path, format);
}

/**
 * chain_open() - open, lock and check all images below one
 * @c: filled in; chain_close() is due in either case
 * @top: from image_open()
 * @policy: what the user allows
 *
 * Return: an exit code; what is wrong has been reported.
 */
int chain_open(struct chain *c, struct image *top, const struct backing_policy *policy)
{
	int ret = VBLK_OK;

	memset(c, 0, sizeof(*c));
	c->images[c->n++] = top;
	while (!ret && c->images[c->n - 1]->backing)
		ret = follow(c, policy);
	return ret;
}

/** chain_close() - let the images below go; those that the kernel has it keeps */
void chain_close(struct chain *c)
{
	while (c->n > 1) {
		c->n--;
		image_close(c->images[c->n]);
		free(c->images[c->n]);
	}
}

/* As the device mapper takes it for one word. */
static void put_word(FILE *to, const char *word)
{
	for (; *word; word++) {
		if (*word == ' ' || *word == '\\')
			putc('\\', to);
		putc(*word, to);
	}
}

/**
 * chain_table() - the words of a table line for the layers, bottom to top
 * @with_paths: their paths, for people; else their descriptors
 *
 * Return: a string that the caller frees, or NULL.
 */
char *chain_table(const struct chain *c, bool with_paths)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	for (size_t i = c->n; i-- > 0;) {
		if (c->images[i]->format == IMAGE_RAW)
			fputs("format:raw ", to);
		if (with_paths)
			put_word(to, c->images[i]->path);
		else
			fprintf(to, "%d", c->images[i]->fd);
		if (i)
			putc(' ', to);
	}
	if (fclose(to)) {
		free(text);
		return NULL;
	}
	return text;
}
