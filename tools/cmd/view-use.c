// SPDX-License-Identifier: GPL-2.0-only
/* A disk frozen, with a device that shows it, and thawed again. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "disk/holder.h"
#include "disk/view.h"
#include "err.h"
#include "server/state.h"
#include "size.h"
#include "view-use.h"

#define MIB		(1ULL << 20)
#define MAX_MEMORY	(65536 * MIB)

/* Of the host's, and at least. */
#define DEFAULT_SHARE	64
#define MIN_DEFAULT	(256 * MIB)

/**
 * view_parse_memory() - read the value of --memory
 * @memory: set to it, in bytes
 *
 * Return: an exit code; what is wrong has been reported.
 */
int view_parse_memory(const char *text, uint64_t *memory)
{
	int ret = size_parse("--memory", text, memory);

	if (!ret && (*memory < MIB || *memory > MAX_MEMORY))
		ret = err_report(VBLK_USAGE, "--memory", "from 1M to 64G");
	return ret;
}

static int report_frozen(const char *name)
{
	err_report(VBLK_BUSY, name, "it is frozen already");
	err_hint_command("vblk-thaw", name, NULL);
	return VBLK_BUSY;
}

static int report_small_clusters(const char *name)
{
	return err_report(VBLK_UNSUPPORTED, name,
			  "its image has an external data file, and clusters of less than 4 KiB");
}

/**
 * view_check_disk() - whether a disk can be frozen
 *
 * Return: an exit code; what is wrong has been reported.
 */
int view_check_disk(const struct attached *a)
{
	const char *name = a->d.name;
	struct dmdev view, other;
	int err, ret;

	ret = attached_check_sound(a);
	if (!ret)
		ret = attached_check_no_job(a);
	if (ret)
		return ret;
	err = view_find(&a->d, &view);
	if (!err)
		return attached_report_frozen(a, &view);
	if (err == -ENXIO)
		err = dmdev_find_name(view.name, &other) ? 0 : -EBUSY;
	if (err)
		return err_errno(-err, name, "cannot make the device %s", view.name);
	return attached_check_resumed(a);
}

static int report_refusal(const char *name, int err)
{
	switch (err) {
	case -EBUSY:
		return report_frozen(name);
	case -EAGAIN:
		return err_report(VBLK_BUSY, name, "it is being suspended");
	case -EOPNOTSUPP:
		return report_small_clusters(name);
	case -EINVAL:
		return err_report(VBLK_UNSUPPORTED, name, "the module that is loaded cannot freeze");
	default:
		return err_errno(-err, name, "cannot freeze it");
	}
}

/* It is taken as it is needed: of a large host as much as lets a busy guest go on for long. */
static uint64_t default_memory(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	uint64_t share = all / DEFAULT_SHARE;

	if (share < MIN_DEFAULT)
		return MIN_DEFAULT;
	return share < MAX_MEMORY ? share : MAX_MEMORY;
}

/**
 * view_freeze() - make a device that shows a disk as it is now
 * @a: the disk, locked
 * @memory: how much of the kernel's it may take, in bytes; 0: as is usual
 * @view: filled in
 *
 * Return: an exit code; what is wrong has been reported, and nothing is frozen.
 */
int view_freeze(struct attached *a, uint64_t memory, struct dmdev *view)
{
	char message[32];
	int err, ret;

	ret = view_check_disk(a);
	if (ret)
		return ret;
	snprintf(message, sizeof(message), "freeze %ju", (uintmax_t)((memory ? memory : default_memory()) / MIB));
	err = dmdev_message(a->d.name, message);
	if (err)
		return report_refusal(a->d.name, err);
	err = view_create(&a->d, a->bytes >> 9, view);
	if (!err)
		return VBLK_OK;
	ret = err_errno(-err, a->d.name, "cannot make the device %s", view->name);
	dmdev_message(a->d.name, "thaw");
	return ret;
}

static int remove_view(const struct dmdev *view)
{
	char who[512];
	int err = dmdev_remove(view->name);

	if (err == -EBUSY && holder_of_device(view->dev, 0, who, sizeof(who)))
		return err_report(VBLK_BUSY, view->name, "in use: %s", who);
	return err ? err_errno(-err, view->name, "cannot remove the device") : VBLK_OK;
}

/* The socket of one that was killed: one that lives has the view open. */
static void forget_export(const struct dmdev *d)
{
	char path[PATH_MAX];

	if (!state_export_path(d->name, path, sizeof(path)))
		unlink(path);
}

/**
 * view_thaw() - remove it, and let go of what was kept for it
 * @a: the disk, locked
 *
 * Return: an exit code; what is wrong has been reported.
 */
int view_thaw(struct attached *a)
{
	bool is_shown;
	struct dmdev view;
	int err, ret;

	is_shown = view_find(&a->d, &view) == 0;
	ret = is_shown ? remove_view(&view) : VBLK_OK;
	if (ret)
		return ret;
	forget_export(&a->d);
	err = dmdev_message(a->d.name, "thaw");
	/* It may have ended by itself. */
	if (err == -ENODATA || (err == -ENXIO && is_shown))
		return is_shown ? VBLK_OK :
				  err_report(VBLK_NOT_FOUND, a->d.name, "it is not frozen");
	return err ? err_errno(-err, a->d.name, "cannot thaw it") : VBLK_OK;
}
