// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-commit: the chains that a disk has on its way. Documentation/control.rst says in which order, and what there is if it ends in
 * the middle. Each step looks at what there is, and may be done again.
 *
 *	base, low, a, b, top		as it was; a and b are to go into low
 *	[base, low], a, b, top		NAME-below is on base and low, and NAME has that as a raw image
 *	[base, LOW], a, b, top		NAME-below takes writes; a and b hide what is written
 *	base, low, top			the header of top names low
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"
#include "disk/backing-set.h"
#include "disk/grow.h"
#include "disk/lock.h"
#include "disk/merge-note.h"
#include "disk/overlay-note.h"
#include "disk/raw.h"
#include "err.h"

static int look_at_images(struct commit *m)
{
	live_close(&m->c.chain);
	return live_open(&m->c.a.d, &m->c.chain);
}

static bool is_on_below(const struct commit *m)
{
	const struct live_image *lowest = &m->c.chain.list[m->c.chain.n - 1];

	return S_ISBLK(lowest->st.st_mode) && lowest->st.st_rdev == m->below.dev;
}

/**
 * commit_look() - find what there is of a job
 *
 * One that has not come far leaves a device that nobody uses: it goes. Return: an exit code; what is wrong has been reported.
 */
int commit_look(struct commit *m)
{
	const char *name = m->c.a.d.name;
	int err = lower_find(&m->c.a.d, &m->below);

	live_close(&m->lower);
	m->is_below = !err && is_on_below(m);
	if (err == -ENXIO)
		return VBLK_OK;
	/* Of somebody who was killed; it keeps images locked. */
	if (!err && !m->c.is_dry)
		dmdev_clear(m->below.name);
	if (!err && !m->is_below && !m->c.is_dry)
		err = lower_remove(&m->c.a.d);
	if (err)
		return err_errno(-err, name, "cannot tell what is below it");
	return m->is_below ? lower_open(&m->below, &m->lower) : VBLK_OK;
}

/* The images of @a down to @end, then those of @b from @begin on. */
static int join(struct live_chain *to, const struct live_chain *a, size_t end,
		const struct live_chain *b, size_t begin)
{
	*to = *a;
	to->n = 0;
	to->list = calloc(end + b->n - begin, sizeof(*to->list));
	if (!to->list)
		return -ENOMEM;
	for (size_t i = 0; i < end; i++)
		to->list[to->n++] = a->list[i];
	for (size_t i = begin; i < b->n; i++)
		to->list[to->n++] = b->list[i];
	return 0;
}

static int load(struct change *c, const struct live_chain *chain)
{
	char *params;
	int fd, err;

	err = live_open_top(chain, 0, &fd);
	if (err)
		return err;
	params = live_table(chain, 1, fd);
	err = params ? dmdev_load(c->a.d.name, c->chain.sectors, params, false) : -ENOMEM;
	free(params);
	close(fd);
	return err;
}

static int put_in_place(struct change *c, const struct live_chain *chain)
{
	return load(c, chain) ?: dmdev_switch(c->a.d.name, c->a.is_served);
}

/* The images that it was on, or it stays suspended, with the reason told. */
static void put_back(struct change *c)
{
	const char *name = c->a.d.name;
	int err = put_in_place(c, &c->chain);

	if (!err)
		return;
	err_errno(-err, name, "suspended: its chain of before cannot be put back");
	err_hint_command("dmsetup", "table", name, NULL);
}

static int report_refused(const struct change *c, int err)
{
	int ret = err_errno(-err, c->a.d.name, "the kernel refused the other chain");

	err_hint("dmesg | grep qcow2");
	return ret;
}

/* Return: an exit code; else it is on the images that it was on, if there is any way to that. */
static int go_over(struct change *c, const struct live_chain *to)
{
	int err = put_in_place(c, to), ret;

	if (!err)
		return VBLK_OK;
	ret = report_refused(c, err);
	put_back(c);
	return ret;
}

/* What is merged is not written to any more. */
static int put_overlay(struct commit *m, const char *file)
{
	struct change *c = &m->c;
	int ret;

	ret = change_read_bitmaps(c);
	if (!ret)
		ret = change_name_overlay_by_time(c, 0, "", file);
	if (!ret)
		ret = change_make_overlay(c, 0);
	if (!ret)
		ret = snapshot_switch(c);
	if (!ret)
		ret = look_at_images(m);
	m->first += !ret;
	return ret;
}

/* The device as one more image: raw, in the place of those that are below it. */
static int open_below(const struct commit *m, struct live_image *img, int flags)
{
	snprintf(img->path, sizeof(img->path), DMDEV_DIR "%s", m->below.name);
	img->format = IMAGE_RAW;
	img->fd = open(img->path, flags | O_DIRECT | O_CLOEXEC);
	if (img->fd < 0)
		return -errno;
	return fstat(img->fd, &img->st) < 0 ? -errno : 0;
}

static int use_below(struct commit *m)
{
	struct live_image img = { .fd = -1 };
	struct live_chain one = { .list = &img, .n = 1 }, to = {};
	const char *name = m->c.a.d.name;
	int err, ret;

	err = lower_create(&m->c.a.d, &m->c.chain, commit_base(m), &m->below);
	if (err)
		return err_errno(-err, name, "cannot make the device %s", m->below.name);
	err = open_below(m, &img, O_RDONLY) ?: join(&to, &m->c.chain, commit_base(m), &one, 0);
	ret = err ? err_errno(-err, name, "cannot make a chain on %s", m->below.name) :
		    go_over(&m->c, &to);
	free(to.list);
	if (img.fd >= 0)
		close(img.fd);
	if (ret) {
		lower_remove(&m->c.a.d);
		return ret;
	}
	m->is_below = true;
	ret = look_at_images(m);
	return ret ? ret : commit_look(m);
}

/** commit_read_longest() - how long the longest of those is that are merged; 0 or -errno */
int commit_read_longest(const struct commit *m, uint64_t *longest)
{
	uint64_t bytes;
	int err = 0;

	*longest = 0;
	for (size_t i = m->first; i < commit_base(m) && !err; i++) {
		err = grow_read_size(&m->c.chain.list[i], &bytes);
		if (!err && bytes > *longest)
			*longest = bytes;
	}
	return err;
}

static int grow_qcow2(struct commit *m, uint64_t bytes)
{
	struct growth g = { .chain = &m->lower, .fd = -1, .new_bytes = bytes };
	const char *name = m->c.a.d.name;
	int err, ret = VBLK_OK;
	char self[32];

	err = grow_read_size(&m->lower.list[0], &g.old_bytes);
	if (err)
		return err_errno(-err, name, "cannot read the headers of its images");
	if (g.new_bytes <= g.old_bytes)
		return VBLK_OK;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", m->lower.list[0].fd);
	g.fd = open(self, O_RDWR | O_CLOEXEC);
	if (g.fd < 0)
		ret = err_errno(errno, name, "cannot open %s", m->lower.list[0].path);
	if (!ret)
		ret = grow_check(&g, name);
	if (!ret)
		ret = grow_image(&g, name);
	if (g.fd >= 0)
		close(g.fd);
	return ret;
}

/* As long as the longest of those that go into it. */
static int grow_base(struct commit *m)
{
	const struct live_image *base = &m->lower.list[0];
	const char *name = m->c.a.d.name;
	uint64_t bytes;
	int err;

	err = commit_read_longest(m, &bytes);
	if (err)
		return err_errno(-err, name, "cannot read the headers of its images");
	if (base->format != IMAGE_RAW)
		return grow_qcow2(m, bytes);
	err = raw_grow(base, bytes);
	return err ? err_errno(-err, name, "cannot make %s longer", base->path) : VBLK_OK;
}

/* The lowest of those that are merged. */
static const struct live_image *lowest(const struct commit *m)
{
	return &m->c.chain.list[commit_base(m) - 1];
}

/* In a process of its own: the disk waits for what is below meanwhile. */
static int let_write(struct change *c, void *arg)
{
	struct commit *m = arg;
	int err, ret;

	(void)c;
	err = dmdev_suspend(m->below.name, true);
	if (err)
		return err_errno(-err, m->below.name, "cannot suspend it");
	ret = grow_base(m);
	err = ret ? 0 : lower_reload(&m->below, &m->lower, lowest(m), false);
	if (err)
		ret = err_errno(-err, m->below.name, "cannot write to the image below");
	/* The table of before has an image that is longer now: a qcow2 image cannot be resumed with that, a raw one can. */
	err = ret ? lower_reload(&m->below, &m->lower, lowest(m), true) : 0;
	if (err)
		err = lower_resume(&m->below);
	if (err)
		err_errno(-err, m->below.name, "suspended: it cannot be resumed");
	return ret;
}

/**
 * commit_prepare() - bring the disk to where the image below can be written to
 * @file: path of an overlay that has to be made, or NULL
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_prepare(struct commit *m, const char *file)
{
	int err, ret = VBLK_OK;

	if (!m->first)
		ret = put_overlay(m, file);
	if (!ret && !m->is_below)
		ret = use_below(m);
	/*
	 * Who had suspended it was killed, perhaps when the image had grown; and one that had no space, or failed, goes on with
	 * what the host is now.
	 */
	if (!ret)
		ret = change_apart(&m->c, let_write, m, "what is below was made writable");
	err = ret ? 0 : lower_find(&m->c.a.d, &m->below);
	return err ? err_errno(-err, m->c.a.d.name, "cannot find what is below it") : ret;
}

/**
 * commit_open_below() - open what they go into, for writing
 *
 * commit_let_go() is due in either case. Return: an exit code; what is wrong has been reported.
 */
int commit_open_below(struct commit *m)
{
	int err = open_below(m, &m->held.list[m->held.n], O_RDWR);

	if (err)
		return err_errno(-err, m->c.a.d.name, "cannot open the device %s", m->below.name);
	m->held.n++;
	return VBLK_OK;
}

/** commit_close_below() - what they go into can be made read-only, and removed; the rest is held */
void commit_close_below(struct commit *m)
{
	if (m->held.n > m->job.count)
		close(m->held.list[--m->held.n].fd);
}

/* The image above those that are merged lies on @into from now on. */
static int name_other(struct commit *m, const struct live_image *into, struct backing_place *was)
{
	const struct live_image *above = &m->c.chain.list[m->first - 1];
	char name[PATH_MAX];
	int err;

	commit_name_base(m, into, name);
	err = backing_set(above, name, into->format, was);
	if (err)
		return err_errno(-err, m->c.a.d.name, "cannot write the header of %s", above->path);
	err = overlay_note(into->path, above->path);
	if (err)
		err_errno(-err, OVERLAY_NOTE_DIR, "cannot write");
	return VBLK_OK;
}

/* Nobody else writes to it: the disk is suspended. */
static void name_back(struct commit *m, const struct live_image *into, const struct backing_place *was)
{
	const struct live_image *list = m->c.chain.list;
	int err = backing_set_back(&list[m->first - 1], was);

	if (err)
		err_errno(-err, m->c.a.d.name, "cannot write the header of %s", list[m->first - 1].path);
	else
		overlay_note(into->path, list[commit_base(m) - 1].path);
}

/* Killed here before, somebody has named it already: what its name was is not known, but its path is. */
static int shorten_table(struct commit *m, const struct live_chain *to)
{
	const struct live_image *into = &to->list[m->first];
	struct backing_place was = {};
	struct change *c = &m->c;
	int err, ret = VBLK_OK;

	if (!commit_is_named(m))
		ret = name_other(m, into, &was);
	err = ret ? 0 : put_in_place(c, to);
	if (err)
		ret = report_refused(c, err);
	if (!ret)
		return VBLK_OK;
	if (err && !was.bytes)
		backing_set(&c->chain.list[m->first - 1], c->chain.list[m->first].path,
			    c->chain.list[m->first].format, &was);
	else if (was.bytes)
		name_back(m, into, &was);
	put_back(c);
	return ret;
}

/* In a process of its own: a guest waits. */
static int leave_out(struct change *c, void *arg)
{
	struct commit *m = arg;
	struct live_chain to = {};
	int err, ret;

	err = join(&to, &c->chain, m->first, &m->lower, 0);
	if (!err && !c->a.d.is_suspended)
		err = dmdev_suspend(c->a.d.name, c->a.is_served);
	ret = err ? err_errno(-err, c->a.d.name, "cannot suspend it") : shorten_table(m, &to);
	free(to.list);
	return ret;
}

static int drop_below(struct commit *m)
{
	int err;

	/* The disk's images were opened when the device was one of them. */
	live_close(&m->c.chain);
	live_close(&m->lower);
	err = lower_remove(&m->c.a.d);
	if (err)
		return err_errno(-err, m->c.a.d.name, "cannot remove the device %s", m->below.name);
	m->is_below = false;
	return VBLK_OK;
}

/**
 * commit_stop_writing() - what was written below is durable, and nobody writes there any more
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_stop_writing(struct commit *m)
{
	int err = 0;

	if (!m->is_below)
		return VBLK_OK;
	/* Left by somebody who had no way on. */
	if (m->below.is_read_only && m->below.is_suspended && !lower_resume(&m->below))
		return VBLK_OK;
	if (!m->below.is_read_only || m->below.is_suspended)
		err = lower_reload(&m->below, &m->lower, lowest(m), true);
	return err ? err_errno(-err, m->below.name, "cannot make it read-only again") : VBLK_OK;
}

/**
 * commit_shorten() - have the disk go on without the images that were merged; they are removed
 * @m: all of them is below, and nobody writes there
 * @is_held: nobody else has them; else those stay that somebody has
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_shorten(struct commit *m, bool is_held)
{
	const struct live_image *img;
	int err, ret;

	ret = change_apart(&m->c, leave_out, m, "its chain was made shorter");
	if (ret)
		return ret;
	merge_note_forget(&m->lower.list[0], &m->c.chain.list[m->first]);
	for (size_t i = 0; i < m->job.count; i++) {
		img = &m->c.chain.list[m->first + i];
		overlay_note_forget(img->path);
		err = !is_held && lock_image(img->fd, false) ? -EBUSY : snapshot_remove_image(img, NULL);
		if (err)
			snapshot_say_left(img, err);
	}
	return drop_below(m);
}

/**
 * commit_go_back() - have the disk on all of its images again, those that were to be merged, too
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_go_back(struct commit *m)
{
	struct live_chain to = {};
	int err, ret;

	if (!m->is_below) {
		lower_forget(&m->c.a.d, lowest(m));
		return VBLK_OK;
	}
	ret = commit_stop_writing(m);
	if (ret)
		return ret;
	err = join(&to, &m->c.chain, commit_base(m), &m->lower, 0);
	ret = err ? err_errno(-err, m->c.a.d.name, "cannot make its chain") : go_over(&m->c, &to);
	free(to.list);
	return ret ? ret : drop_below(m);
}
