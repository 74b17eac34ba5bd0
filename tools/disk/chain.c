// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an image to those below it: what each header names is found, opened, locked
 * and checked in turn, until one names nothing or is raw. No format is ever guessed.
 * The data file of each is opened before what is below it.
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

/* An image below another, or a data file, with the name that it was opened by; freed by its image. */
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

/* Of an image and its data file. */
static bool is_same_as_any(const struct image *img, const struct stat *st)
{
	return image_is_same(&img->st, st) || (img->data && image_is_same(&img->data->st, st));
}

static int refuse_twice(const struct chain *c, const struct image *namer, int fd, const char *what,
			const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(errno, namer->arg, "%s %s", what, path);
	for (size_t i = 0; i < c->n; i++)
		if (is_same_as_any(c->images[i], &st))
			return err_report(VBLK_DAMAGED, namer->arg,
					  "%s %s: it is above in the chain already", what, path);
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
	ret = refuse_twice(c, namer, *fd, "backing file", name->path);
	if (ret)
		close(*fd);
	return ret;
}

static struct below *alloc_below(int fd, const char *path)
{
	struct below *b = calloc(1, sizeof(*b));

	if (!b) {
		close(fd);
		err_errno(ENOMEM, path, "cannot open");
		return NULL;
	}
	snprintf(b->name, sizeof(b->name), "%s", path);
	return b;
}

static int adopt(struct chain *c, int fd, const char *path, enum image_format format)
{
	struct below *b = alloc_below(fd, path);

	if (!b)
		return VBLK_FAILED;
	c->images[c->n++] = &b->img;
	return image_adopt(&b->img, fd, b->name, format, c->images[0], true);
}

/* Data files */

static int name_data(const struct image *img, const char *named, struct backing_name *name)
{
	char why[BACKING_WHY_BYTES];
	int ret;

	*name = (struct backing_name){};
	if (named) {
		if (snprintf(name->path, sizeof(name->path), "%s", named) >= PATH_MAX)
			return err_report(VBLK_USAGE, "--data-file", "the path is too long");
		return VBLK_OK;
	}
	ret = backing_name_parse(img->data_name, img->arg, name, why);
	if (!ret && name->format == IMAGE_QCOW2) {
		snprintf(why, sizeof(why), "a data file is not a qcow2 image");
		ret = VBLK_UNSUPPORTED;
	}
	return ret ? err_report(ret, img->arg, "data file %s: %s", img->data_name, why) : VBLK_OK;
}

static int check_data(const struct image *img)
{
	if (img->data->virtual_bytes >= img->virtual_bytes)
		return VBLK_OK;
	return err_report(VBLK_DAMAGED, img->arg,
			  "data file %s: %ju bytes are too short for a disk of %ju",
			  img->data->arg, (uintmax_t)img->data->virtual_bytes,
			  (uintmax_t)img->virtual_bytes);
}

static int adopt_data(struct chain *c, struct image *img, int fd, const char *path)
{
	struct below *b;
	int ret = refuse_twice(c, img, fd, "data file", path);

	if (ret) {
		close(fd);
		return ret;
	}
	b = alloc_below(fd, path);
	if (!b)
		return VBLK_FAILED;
	img->data = &b->img;
	ret = image_adopt(&b->img, fd, b->name, IMAGE_RAW, img, img->is_read_only);
	return ret ? ret : check_data(img);
}

/* What QEMU opens an image by that does not name its data file; a comma in a value is two. */
static const char *image_options(const struct image *img, char *text, size_t size)
{
	FILE *to = fmemopen(text, size, "w");

	if (!to)
		return img->arg;
	fprintf(to, "driver=qcow2,file.driver=%s,file.filename=",
		S_ISBLK(img->st.st_mode) ? "host_device" : "file");
	for (const char *p = img->arg; *p; p++)
		fputs(*p == ',' ? ",," : (char [2]) { *p }, to);
	fputs(",data-file.driver=file,data-file.filename=PATH", to);
	fclose(to);
	return text;
}

static int report_no_name(const struct chain *c, const struct image *img)
{
	char options[2 * PATH_MAX + 128];

	err_report(VBLK_UNSUPPORTED, img->arg,
		   "it has an external data file, and does not say which");
	if (img == c->images[0])
		err_hint_command("vblk-attach", "--data-file", "PATH", img->arg, img->name, NULL);
	else
		err_hint_command("qemu-img", "amend", "-o", "data_file=PATH", "--image-opts",
				 image_options(img, options, sizeof(options)), NULL);
	return VBLK_UNSUPPORTED;
}

static int report_none(const struct chain *c, const struct image *img)
{
	err_report(VBLK_DENIED, img->arg, "data file %s: refused by --no-backing", img->data_name);
	err_hint_command("vblk-attach", "--no-backing", "--data-file", "PATH", c->images[0]->arg,
			 c->images[0]->name, NULL);
	return VBLK_DENIED;
}

/* The image that came last. */
static int open_data(struct chain *c, const struct backing_policy *policy)
{
	struct image *img = c->images[c->n - 1];
	const char *named = c->n == 1 ? policy->data_file : NULL;
	struct backing_name name;
	struct backing_request r = {
		.policy = policy,
		.name = &name,
		.namer = img,
		.is_data = true,
		.top = c->images[0],
	};
	int fd, ret;

	if (!img->has_data_file && named)
		return err_report(VBLK_USAGE, img->arg,
				  "not for --data-file: it has no external data file");
	if (!img->has_data_file)
		return VBLK_OK;
	if (!named && !img->data_name)
		return report_no_name(c, img);
	if (!named && policy->is_none)
		return report_none(c, img);
	ret = name_data(img, named, &name);
	if (!ret)
		ret = add_owner(c, img);
	r.owners = c->owners;
	r.nr_owners = c->nr_owners;
	if (!ret)
		ret = named ? backing_open_named(&r, &fd) : backing_open(&r, &fd);
	return ret ? ret : adopt_data(c, img, fd, name.path);
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
	int ret;

	memset(c, 0, sizeof(*c));
	c->images[c->n++] = top;
	ret = open_data(c, policy);
	while (!ret && c->images[c->n - 1]->backing) {
		ret = follow(c, policy);
		if (!ret)
			ret = open_data(c, policy);
	}
	return ret;
}

static void close_data(struct image *img)
{
	if (!img->data)
		return;
	image_close(img->data);
	free(img->data);
	img->data = NULL;
}

/** chain_close() - let the images below go, and all data files; those that the kernel has it keeps */
void chain_close(struct chain *c)
{
	for (; c->n > 1; c->n--) {
		close_data(c->images[c->n - 1]);
		image_close(c->images[c->n - 1]);
		free(c->images[c->n - 1]);
	}
	if (c->n)
		close_data(c->images[0]);
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

static void put_file(FILE *to, const struct image *img, bool with_path)
{
	if (with_path)
		put_word(to, img->path);
	else
		fprintf(to, "%d", img->fd);
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
		if (c->images[i]->data) {
			fputs("data:", to);
			put_file(to, c->images[i]->data, with_paths);
			putc(' ', to);
		}
		put_file(to, c->images[i], with_paths);
		if (i)
			putc(' ', to);
	}
	if (fclose(to)) {
		free(text);
		return NULL;
	}
	return text;
}
