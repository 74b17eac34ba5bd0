// SPDX-License-Identifier: GPL-2.0-only
/*
 * A backup that is put back: opened with all that it lies on, and locked.
 *
 * qemu-img reads the headers once more, and follows the name of a data file in one, as root. So whoever may write to an
 * image must not have done it behind our look at it: nothing that came of it is kept then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/err.h"
#include "disk/qemu-img.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/header.h"
#include "source.h"

/* Times of change are those of the last tick of the clock. */
#define TICK_NS		4000000
#define MAX_TICKS	25

static int describe(struct source *s)
{
	const struct chain *c = &s->chain;
	struct live_chain live = { .n = c->n };

	live.list = calloc(c->n, sizeof(*live.list));
	for (size_t i = 0; live.list && i < c->n; i++) {
		live.list[i].fd = c->images[i]->fd;
		live.list[i].format = c->images[i]->format;
		live.list[i].st = c->images[i]->st;
	}
	s->text = live.list ? qemu_describe_ours(&live) : NULL;
	free(live.list);
	return s->text ? VBLK_OK : err_errno(ENOMEM, s->img.arg, "cannot read it");
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Whoever changes it from here on changes the time, too; but not one of a clock that is ahead of ours. */
static int wait_for_tick(int fd, struct stat *st)
{
	const struct timespec tick = { .tv_nsec = TICK_NS };
	struct timespec now;

	for (int i = 0; i < MAX_TICKS; i++) {
		if (fstat(fd, st) < 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) < 0)
			return -errno;
		if (is_before(&st->st_ctim, &now))
			return 0;
		nanosleep(&tick, NULL);
	}
	return 0;
}

/* Behind the seal: what is not there now can only come with a change. */
static int check_header(const struct image *img)
{
	struct qcow2_header h;
	int err;

	if (img->format != IMAGE_QCOW2)
		return VBLK_OK;
	err = live_read_header(img->fd, &h);
	if (err)
		return err_errno(-err, img->arg, "cannot read the header");
	if (img->data || h.incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return err_report(VBLK_UNSUPPORTED, img->arg, "it has an external data file");
	return VBLK_OK;
}

static int seal(struct source *s)
{
	const struct image *img;
	int err, ret = VBLK_OK;

	s->sealed = calloc(s->chain.n, sizeof(*s->sealed));
	if (!s->sealed)
		return err_errno(ENOMEM, s->img.arg, "cannot read it");
	for (size_t i = 0; i < s->chain.n && !ret; i++) {
		img = s->chain.images[i];
		err = wait_for_tick(img->fd, &s->sealed[i]);
		ret = err ? err_errno(-err, img->arg, "cannot look at it") : check_header(img);
	}
	return ret;
}

/**
 * source_open() - open a backup, and judge it
 * @s: @policy and @as_is are set, the rest is 0; source_close() is due in either case
 * @format: of the backup
 * @target: where it goes, for hints
 *
 * Return: an exit code; what is wrong has been reported.
 */
int source_open(struct source *s, const char *path, enum image_format format, const char *target)
{
	int ret;

	ret = image_identify(&s->img, path);
	s->img.format = format;
	s->img.name = target;
	s->img.is_for_program = s->policy->is_for_program;
	if (!ret)
		ret = image_open(&s->img, true);
	if (!ret)
		ret = chain_open(&s->chain, &s->img, s->policy);
	if (!ret)
		ret = seal(s);
	if (!ret)
		ret = source_check(s);
	return ret ? ret : describe(s);
}

/* Who may change the file may also set the time back at which it was written to, but not that of the change. */
static bool may_others_write(const struct stat *st)
{
	return st->st_uid != geteuid() || st->st_mode & (S_IWGRP | S_IWOTH);
}

static bool is_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_still(const struct stat *was, const struct stat *is)
{
	if (!S_ISREG(is->st_mode))
		return true;
	return was->st_size == is->st_size && is_time(&was->st_mtim, &is->st_mtim) &&
	       (!may_others_write(is) || is_time(&was->st_ctim, &is->st_ctim));
}

/**
 * source_check_still() - whether it is what was judged, now that it has been read
 *
 * Return: an exit code; what is wrong has been reported.
 */
int source_check_still(const struct source *s)
{
	const struct image *img;
	struct stat st;

	for (size_t i = 0; i < s->chain.n; i++) {
		img = s->chain.images[i];
		if (fstat(img->fd, &st) < 0)
			return err_errno(errno, img->arg, "cannot look at it");
		if (!is_still(&s->sealed[i], &st))
			return err_report(VBLK_BUSY, img->arg, "somebody has changed it meanwhile");
	}
	return VBLK_OK;
}

static bool has_direct_io(const struct image *img)
{
	char self[32];
	int fd;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", img->fd);
	fd = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/** source_has_direct_io() - whether all of it has: some file systems have none */
bool source_has_direct_io(const struct source *s)
{
	for (size_t i = 0; i < s->chain.n; i++)
		if (!has_direct_io(s->chain.images[i]))
			return false;
	return true;
}

/** source_close() - let go of it */
void source_close(struct source *s)
{
	free(s->text);
	free(s->sealed);
	chain_close(&s->chain);
	image_close(&s->img);
}
