// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-commit: nobody else has the images, and nobody gets at them.
 *
 * Locked first, then looked: who comes in between is refused, or seen. That is done each time that a job begins or goes on, as
 * what the kernel has locked of one that nobody is at others may read.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "commit.h"
#include "disk/lockers.h"
#include "err.h"

/* The kernel's, and two of our own */
#define OWN_DESCRIPTIONS	3

/* Of a process that was killed the locks go a moment after the disk's. */
#define LOCKS_WAIT_MS		2000
#define LOCKS_POLL_MS		20

static bool is_locked_by_others(const struct commit *m, const struct stat *st)
{
	int tries = m->c.a.has_job ? LOCKS_WAIT_MS / LOCKS_POLL_MS : 0;

	while (lockers_count(st) > OWN_DESCRIPTIONS) {
		if (!tries--)
			return true;
		poll(NULL, 0, LOCKS_POLL_MS);
	}
	return false;
}

/* @own: the device that has it for this disk */
static int check_unused(const struct commit *m, const struct live_image *img, const struct dmdev *own)
{
	const char *name = m->c.a.d.name;
	struct dmdev other;
	int found;

	found = live_find_other(own, &img->st, &other);
	if (found < 0)
		return err_errno(-found, name, "cannot tell whether %s is in use", img->path);
	if (found)
		return err_report(VBLK_BUSY, name, "%s is in use: by " DMDEV_DIR "%s", img->path,
				  other.name);
	if (is_locked_by_others(m, &img->st))
		return err_report(VBLK_BUSY, name, "%s is in use: somebody else has it locked",
				  img->path);
	return VBLK_OK;
}

static int hold(const struct commit *m, const struct live_chain *chain, size_t i, int *fd)
{
	int err = live_open_top(chain, i, fd);

	if (!err)
		return check_unused(m, &chain->list[i], chain == &m->lower ? &m->below : &m->c.a.d);
	*fd = -1;
	return err_errno(-err, m->c.a.d.name, "cannot lock %s", chain->list[i].path);
}

/**
 * commit_hold() - keep others from the images: those that are merged, what they go into, and the one above
 *
 * commit_let_go() is due in either case. Return: an exit code; what is wrong has been reported.
 */
int commit_hold(struct commit *m)
{
	struct live_image *img;
	int ret = VBLK_OK;

	m->held.list = calloc(m->job.count + 1, sizeof(*img));
	if (!m->held.list)
		return err_errno(ENOMEM, m->c.a.d.name, "cannot hold its images");
	for (size_t i = 0; i < m->job.count && !ret; i++) {
		img = &m->held.list[m->held.n++];
		*img = m->c.chain.list[m->first + i];
		ret = hold(m, &m->c.chain, m->first + i, &img->fd);
	}
	/* The disk's own image is the kernel's for writing. */
	if (!ret && m->first > 1)
		ret = hold(m, &m->c.chain, m->first - 1, &m->above);
	if (!ret)
		ret = m->is_below ? hold(m, &m->lower, 0, &m->base) :
				    hold(m, &m->c.chain, commit_base(m), &m->base);
	return ret;
}

/** commit_free_base() - NAME-below has the base for writing, which keeps others out; its blocks can be leased */
void commit_free_base(struct commit *m)
{
	if (m->base >= 0)
		close(m->base);
	m->base = -1;
}

/** commit_let_go() - undo commit_hold() */
void commit_let_go(struct commit *m)
{
	commit_free_base(m);
	if (m->above >= 0)
		close(m->above);
	m->above = -1;
	live_close(&m->held);
}
