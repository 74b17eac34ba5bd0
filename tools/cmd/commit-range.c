// SPDX-License-Identifier: GPL-2.0-only
/* vblk-commit: which images are merged, and whether they can be. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "disk/grow.h"
#include "disk/merge-note.h"
#include "disk/qemu-img.h"
#include "disk/raw.h"
#include "err.h"

static int find_image(const struct commit *m, const char *option, const char *path, size_t *index)
{
	const struct live_chain *chain = &m->c.chain;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(errno, path, "cannot find it");
	for (size_t i = 0; i < chain->n; i++)
		if (image_is_same(&st, &chain->list[i].st)) {
			*index = i;
			return VBLK_OK;
		}
	err_report(VBLK_NOT_FOUND, m->c.a.d.name, "%s %s: it has no such image", option, path);
	err_hint_command("vblk-list", "--chain", m->c.a.d.name, NULL);
	return VBLK_NOT_FOUND;
}

static int report_unfinished(const struct commit *m, size_t first, size_t base)
{
	const struct live_image *list = m->c.chain.list;

	err_report(VBLK_BUSY, m->c.a.d.name, "the merge of %s into %s has to come to its end first",
		   list[first].path, list[base].path);
	err_hint_command("vblk-commit", m->c.a.d.name, NULL);
	return VBLK_BUSY;
}

static int check_range(const struct commit *m, const struct job_args *args, size_t base)
{
	const struct live_chain *chain = &m->c.chain;

	if (m->first && args->file)
		return err_report(VBLK_USAGE, "--file", "goes with a new overlay only");
	if (base >= chain->n)
		return err_report(VBLK_UNSUPPORTED, m->c.a.d.name, "nothing is below %s",
				  chain->list[m->first].path);
	if (base <= m->first)
		return err_report(VBLK_USAGE, m->c.a.d.name, "%s is not below %s",
				  chain->list[base].path, chain->list[m->first].path);
	return VBLK_OK;
}

/* One that was cancelled, or that a reboot has ended, has to go on: what is written to has parts of what is above it. */
static int find_range(struct commit *m, const struct job_args *args, size_t *base)
{
	size_t first = 0, noted_base = 0;
	int ret = VBLK_OK;
	bool is_noted = merge_note_find(&m->c.chain, &first, &noted_base);

	m->first = is_noted && !args->top && !args->base ? first : 0;
	if (args->top)
		ret = find_image(m, "--top", args->top, &m->first);
	*base = is_noted && !args->top && !args->base ? noted_base : m->first + 1;
	if (!ret && args->base)
		ret = find_image(m, "--base", args->base, base);
	if (!ret)
		ret = check_range(m, args, *base);
	if (!ret && is_noted && (m->first != first || *base != noted_base))
		ret = report_unfinished(m, first, noted_base);
	return ret;
}

/**
 * commit_choose() - the images that the command line names
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_choose(struct commit *m, const struct job_args *args)
{
	const struct live_chain *chain = &m->c.chain;
	size_t base;
	int ret = find_range(m, args, &base);

	if (ret)
		return ret;
	m->job.count = base - m->first;
	live_identity(&chain->list[m->first].st, m->job.merged);
	live_identity(&chain->list[base].st, m->job.into);
	return VBLK_OK;
}

static int report_other(const struct commit *m)
{
	return err_report(VBLK_FAILED, m->c.a.d.name,
			  "its images are not those of the commit that has not ended");
}

static bool is_other(const char *path, const char *identity)
{
	char given[LIVE_IDENTITY_BYTES];
	struct stat st;

	if (!path)
		return false;
	if (stat(path, &st) < 0)
		return true;
	live_identity(&st, given);
	return strcmp(given, identity) != 0;
}

/**
 * commit_confirm() - whether what a job that goes on writes to is what it wrote to, and what the command line says, too
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_confirm(const struct commit *m, const struct job_args *args)
{
	const struct live_chain *chain = &m->c.chain;
	char identity[LIVE_IDENTITY_BYTES];

	if (m->is_done)
		return VBLK_OK;
	if (m->is_below ? commit_base(m) + 1 != chain->n : commit_base(m) >= chain->n)
		return report_other(m);
	live_identity(m->is_below ? &m->lower.list[0].st : &chain->list[commit_base(m)].st,
		      identity);
	if (strcmp(identity, m->job.into) != 0)
		return report_other(m);
	if (args && (is_other(args->top, m->job.merged) || is_other(args->base, m->job.into)))
		return err_report(VBLK_BUSY, m->c.a.d.name,
				  "a commit of %s into %s has not ended, which is another one",
				  chain->list[m->first].path,
				  m->is_below ? m->lower.list[0].path : chain->list[commit_base(m)].path);
	return VBLK_OK;
}

/**
 * commit_recall() - the images of a job that goes on
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_recall(struct commit *m)
{
	const struct live_chain *chain = &m->c.chain;
	char identity[LIVE_IDENTITY_BYTES];

	m->job = m->c.a.job;
	m->is_done = true;
	for (size_t i = 0; i < chain->n && m->is_done; i++) {
		live_identity(&chain->list[i].st, identity);
		if (strcmp(identity, m->job.merged) != 0)
			continue;
		m->first = i;
		m->is_done = false;
	}
	return m->is_done || commit_base(m) < chain->n ? VBLK_OK : report_other(m);
}

/* What goes, or has its header written while it is in use, is in a directory. */
static int check_images(const struct commit *m)
{
	const struct live_image *img;

	for (size_t i = m->first ? m->first - 1 : 0; i < commit_base(m); i++) {
		img = &m->c.chain.list[i];
		if (!S_ISREG(img->st.st_mode))
			return err_report(VBLK_UNSUPPORTED, m->c.a.d.name,
					  "%s is a block device: only images in files are merged",
					  img->path);
	}
	return VBLK_OK;
}

/* The longest of those that are merged says how long it has to be. */
static int check_raw(const struct commit *m)
{
	uint64_t bytes;
	char *words;
	int err = dmdev_ask(m->c.a.d.name, "data_files", &words);

	if (err)
		return err_report(VBLK_UNSUPPORTED, m->c.a.d.name,
				  "the module that is loaded cannot merge into a raw image");
	free(words);
	err = commit_read_longest(m, &bytes);
	if (err)
		return err_errno(-err, m->c.a.d.name, "cannot read the headers of its images");
	return raw_check(&m->c.chain.list[commit_base(m)], bytes, m->c.a.d.name);
}

static int check_growth(const struct commit *m)
{
	struct live_chain lower = { .list = &m->c.chain.list[commit_base(m)],
				    .n = m->c.chain.n - commit_base(m) };
	struct growth g = { .chain = &lower, .fd = -1 };
	int err = grow_read_size(&lower.list[0], &g.old_bytes) ?: commit_read_longest(m, &g.new_bytes);

	if (err)
		return err_errno(-err, m->c.a.d.name, "cannot read the headers of its images");
	return g.new_bytes > g.old_bytes ? grow_check(&g, m->c.a.d.name) : VBLK_OK;
}

static int check_base(const struct commit *m)
{
	const struct live_image *base = &m->c.chain.list[commit_base(m)];
	const char *why;

	if (base->format == IMAGE_RAW)
		return check_raw(m);
	if (live_check_top(base, &why))
		return err_report(VBLK_UNSUPPORTED, m->c.a.d.name, "%s cannot be written to: %s",
				  base->path, why);
	return check_growth(m);
}

/* They would go with the image. */
static int check_bitmaps(struct commit *m)
{
	const char *name = m->c.a.d.name;
	struct bitmaps *b = &m->c.bitmaps;
	int ret = m->first ? VBLK_OK : change_read_bitmaps(&m->c);

	for (size_t i = 0; i < b->n && !ret; i++)
		if (b->list[i].state != BITMAP_RECORDS) {
			ret = err_report(VBLK_UNSUPPORTED, name,
					 "the bitmap '%s' does not record, and would be lost",
					 b->list[i].name);
			err_hint_command("vblk-bitmap", "remove", name, b->list[i].name, NULL);
		}
	bitmaps_free(b);
	*b = (struct bitmaps){};
	return ret;
}

static int check_name_below(const struct commit *m)
{
	int err = lower_check_name(&m->c.a.d);

	if (err == -EBUSY)
		return err_report(VBLK_BUSY, m->c.a.d.name,
				  "a device that is not its own is called as the one below it, " DMDEV_DIR "%.*s-below",
				  LOWER_NAME_BYTES, m->c.a.d.name);
	return err ? err_errno(-err, m->c.a.d.name, "cannot tell what is below it") : VBLK_OK;
}

/**
 * commit_check() - whether they can be merged; nothing is changed, nor locked
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_check(struct commit *m)
{
	int ret = check_images(m);

	if (!ret)
		ret = check_base(m);
	if (!ret)
		ret = check_bitmaps(m);
	if (!ret)
		ret = commit_check_name(m, &m->c.chain.list[commit_base(m)]);
	if (!ret)
		ret = check_name_below(m);
	if (!ret && !qemu_is_there())
		ret = err_report(VBLK_NOT_FOUND, "qemu-img", "not found, and needed here");
	return ret;
}
