// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether the images of a backup are what they were made as. QEMU reads zeroes where a file has been cut short, and
 * what is there of one that somebody has written to.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "child.h"
#include "cmd/err.h"
#include "disk/qemu-img.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/header.h"
#include "mark-chain.h"
#include "source.h"

/* Of qemu-img check. Leaks are nothing to who reads. */
#define STATUS_LEAKS	3

/* One that is asked for as it is, is put back all the same. */
static int complain(struct source *s, const struct image *img, const char *what)
{
	s->is_doubtful = true;
	if (s->as_is) {
		err_warn(img->arg, what);
		return VBLK_OK;
	}
	err_report(VBLK_DAMAGED, img->arg, "%s", what);
	return VBLK_DAMAGED;
}

static int complain_of_change(struct source *s, const struct image *img, const char *what)
{
	int ret = complain(s, img, what);

	if (ret)
		err_hint_command("vblk-restore", "--as-is", s->img.arg, s->img.name, NULL);
	return ret;
}

static int complain_of_damage(struct source *s, const struct image *img, const char *what)
{
	int ret = complain(s, img, what);

	if (ret)
		err_hint_command("qemu-img", "check", img->arg, NULL);
	return ret;
}

static int read_mark(const struct image *img, struct mark *m)
{
	int err = img->format == IMAGE_QCOW2 ? mark_read(img->fd, m) : -ENOENT;

	if (err == -ENOENT)
		*m = (struct mark){};
	return err && err != -ENOENT ? err_errno(-err, img->arg, "cannot read its bitmaps") : VBLK_OK;
}

/* Each against what it says of itself, and against what the one above says of it. */
static int check_marks(struct source *s)
{
	struct image *const *images = s->chain.images;
	char why[MARK_WHY_BYTES];
	struct mark above = {}, m;
	int ret = VBLK_OK;

	for (size_t i = 0; i < s->chain.n && !ret; i++, above = m) {
		ret = read_mark(images[i], &m);
		if (ret)
			return ret;
		if (!i)
			s->mark = m;
		if (!mark_is_right(i ? &above : NULL, i ? images[i - 1]->arg : NULL, &m,
				   i + 1 == s->chain.n, why))
			ret = complain_of_change(s, images[i], why);
	}
	return ret;
}

static int check_end(struct source *s, const struct image *img, const struct qcow2_header *h)
{
	int cut = source_is_cut(img, h);

	if (cut < 0)
		return err_errno(-cut, img->arg, "cannot read its tables");
	return cut ? complain_of_change(s, img, "it was cut short") : VBLK_OK;
}

/* Alone: each is looked at in its turn. */
static int check_tables(struct source *s, const struct image *img, const struct qcow2_header *h)
{
	struct live_image one = { .fd = img->fd, .format = img->format, .st = img->st };
	const struct live_chain alone = { .list = &one, .n = 1 };
	char *text = qemu_describe_ours(&alone);
	const char *const argv[] = { "qemu-img", "check", "-q", text, NULL };
	int status, ret;

	if (!text)
		return err_errno(ENOMEM, img->arg, "cannot check it");
	ret = child_run_silent(argv, &status);
	free(text);
	if (ret)
		return ret;
	if (WIFEXITED(status) && (!WEXITSTATUS(status) || WEXITSTATUS(status) == STATUS_LEAKS))
		return check_end(s, img, h);
	if (WIFEXITED(status) && WEXITSTATUS(status) != CHILD_NOT_FOUND)
		return complain_of_damage(s, img, "it is damaged, or was cut short");
	return child_report(argv[0], status);
}

static int check_image(struct source *s, const struct image *img)
{
	struct qcow2_header h;
	int err, ret = VBLK_OK;

	if (img->format != IMAGE_QCOW2)
		return VBLK_OK;
	err = live_read_header(img->fd, &h);
	if (err)
		return err_errno(-err, img->arg, "cannot read the header");
	if (h.incompatible & QCOW2_INCOMPAT_CORRUPT)
		ret = complain_of_damage(s, img, "it is marked as corrupt");
	return ret ? ret : check_tables(s, img, &h);
}

/**
 * source_check() - judge the images of a backup that is open
 *
 * Return: an exit code; what is wrong has been reported.
 */
int source_check(struct source *s)
{
	int ret = check_marks(s);

	for (size_t i = 0; i < s->chain.n && !ret; i++)
		ret = check_image(s, s->chain.images[i]);
	return ret;
}
