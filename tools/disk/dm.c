// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-mapper devices: the only file that knows libdevmapper.
 *
 * Every function returns 0 or -errno of the ioctl that failed. Resume and
 * remove wait for udev, so the node is there, or gone, when they return, unless
 * udev takes longer than it may.
 */
#include <errno.h>
#include <libdevmapper.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd/err.h"
#include "dm.h"

#define UDEV_WAIT_MS	30000
#define UDEV_POLL_MS	5

static void discard_log(int level, const char *file, int line,
			int dm_errno_or_class, const char *fmt, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)dm_errno_or_class;
	(void)fmt;
}

static int run_task(struct dm_task *dmt)
{
	int err;

	if (dm_task_run(dmt))
		return 0;
	err = dm_task_get_errno(dmt);
	return err ? -err : -EIO;
}

/**
 * dmdev_be_quiet() - keep the library from writing to the terminal
 *
 * Its messages name ioctls, ours name the image and say what to do.
 */
void dmdev_be_quiet(void)
{
	dm_log_with_errno_init(discard_log);
}

/**
 * dmdev_init() - find out whether the device mapper can be used
 *
 * Return: an exit code; what is wrong has been reported.
 */
int dmdev_init(void)
{
	struct dm_task *dmt;
	int err;

	dmdev_be_quiet();
	errno = 0;
	dmt = dm_task_create(DM_DEVICE_VERSION);
	if (dmt)
		err = run_task(dmt);
	else
		err = errno ? -errno : -ENODEV;
	if (dmt)
		dm_task_destroy(dmt);
	return err ? err_errno(-err, "device mapper", "cannot use it") :
		     VBLK_OK;
}

/**
 * dmdev_release() - forget the library's descriptors
 *
 * Before they are closed behind its back; the next call opens them again.
 */
void dmdev_release(void)
{
	dm_lib_release();
}

static struct dm_task *new_task(int type, const char *name)
{
	struct dm_task *dmt = dm_task_create(type);

	if (dmt && name && !dm_task_set_name(dmt, name)) {
		dm_task_destroy(dmt);
		return NULL;
	}
	return dmt;
}

static void copy_string(char *to, size_t size, const char *from)
{
	size_t len = from ? strnlen(from, size - 1) : 0;

	if (len)
		memcpy(to, from, len);
	to[len] = '\0';
}

static int run_info(struct dm_task *dmt, struct dmdev *d)
{
	struct dm_info info;
	int err;

	err = run_task(dmt);
	if (err)
		return err;
	if (!dm_task_get_info(dmt, &info) || !info.exists)
		return -ENXIO;

	copy_string(d->name, sizeof(d->name), dm_task_get_name(dmt));
	copy_string(d->uuid, sizeof(d->uuid), dm_task_get_uuid(dmt));
	d->dev = makedev(info.major, info.minor);
	d->open_count = info.open_count;
	d->is_live = info.live_table;
	d->is_read_only = info.read_only;
	d->is_suspended = info.suspended;
	return 0;
}

/**
 * dmdev_find_name() - look a device up by its name
 *
 * Return: 0, -ENXIO when there is none, another -errno.
 */
int dmdev_find_name(const char *name, struct dmdev *d)
{
	struct dm_task *dmt = new_task(DM_DEVICE_INFO, NULL);
	int err = -ENXIO;

	if (!dmt)
		return -ENOMEM;
	/* It refuses what no device can be called. */
	if (dm_task_set_name(dmt, name))
		err = run_info(dmt, d);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_find_uuid() - look a device up by its UUID
 *
 * Return: 0, -ENXIO when there is none, another -errno.
 */
int dmdev_find_uuid(const char *uuid, struct dmdev *d)
{
	struct dm_task *dmt = new_task(DM_DEVICE_INFO, NULL);
	int err = -ENOMEM;

	if (!dmt)
		return err;
	if (dm_task_set_uuid(dmt, uuid))
		err = run_info(dmt, d);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_find_number() - look a device up by its device number
 *
 * Return: 0, -ENXIO when it is no device-mapper device, another -errno.
 */
int dmdev_find_number(dev_t dev, struct dmdev *d)
{
	struct dm_task *dmt = new_task(DM_DEVICE_INFO, NULL);
	int err = -ENXIO;

	if (!dmt)
		return -ENOMEM;
	if (dm_task_set_major_minor(dmt, major(dev), minor(dev), 0))
		err = run_info(dmt, d);
	dm_task_destroy(dmt);
	return err;
}

/** dmdev_is_ours() - did vblk-attach create this device? */
bool dmdev_is_ours(const struct dmdev *d)
{
	return !strncmp(d->uuid, DMDEV_PREFIX, strlen(DMDEV_PREFIX));
}

static int append(const char *name, bool ours_only, struct dmdev **list,
		  size_t *n)
{
	struct dmdev *grown, d;
	int err;

	err = dmdev_find_name(name, &d);
	if (err == -ENXIO)
		return 0;	/* removed since the list was read */
	if (err)
		return err;
	if (ours_only && !dmdev_is_ours(&d))
		return 0;

	grown = realloc(*list, (*n + 1) * sizeof(d));
	if (!grown)
		return -ENOMEM;
	grown[(*n)++] = d;
	*list = grown;
	return 0;
}

static int collect_names(struct dm_names *names, bool ours_only,
			 struct dmdev **list, size_t *n)
{
	int err;

	if (!names->dev)
		return 0;
	for (;;) {
		err = append(names->name, ours_only, list, n);
		if (err || !names->next)
			return err;
		names = (struct dm_names *)((char *)names + names->next);
	}
}

/* Without one there are no devices; it is found in sysfs as long as it is in the kernel. */
static bool has_device_mapper(void)
{
	return access("/sys/class/misc/device-mapper", F_OK) == 0 || errno != ENOENT;
}

/**
 * dmdev_list() - the device-mapper devices
 * @ours_only: those that vblk-attach created
 * @list: set to an array that the caller frees
 * @n: its length
 */
int dmdev_list(bool ours_only, struct dmdev **list, size_t *n)
{
	struct dm_names *names;
	struct dm_task *dmt;
	int err;

	*list = NULL;
	*n = 0;
	if (!has_device_mapper())
		return 0;
	dmt = new_task(DM_DEVICE_LIST, NULL);
	if (!dmt)
		return -ENOMEM;
	err = run_task(dmt);
	names = err ? NULL : dm_task_get_names(dmt);
	if (names)
		err = collect_names(names, ours_only, list, n);
	dm_task_destroy(dmt);
	if (err) {
		free(*list);
		*list = NULL;
		*n = 0;
	}
	return err;
}

/**
 * dmdev_target_present() - is dm-qcow2 there?
 *
 * The kernel looks for the module when it is asked.
 *
 * Return: 0, -EINVAL when there is no such target, another -errno when there
 * is no device mapper, or no permission to use it.
 */
int dmdev_target_present(void)
{
	struct dm_task *dmt = new_task(DM_DEVICE_GET_TARGET_VERSION,
				       DMDEV_TARGET);
	int err;

	if (!dmt)
		return -ENOMEM;
	err = run_task(dmt);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_create() - create a device without a table
 *
 * This is what decides between two that want the same name or image: the kernel
 * lets one of them have it.
 *
 * Return: 0, -EBUSY when the name or the UUID is taken, another -errno.
 */
int dmdev_create(const char *name, const char *uuid)
{
	struct dm_task *dmt = new_task(DM_DEVICE_CREATE, name);
	int err = -ENOMEM;

	if (!dmt)
		return err;
	if (dm_task_set_uuid(dmt, uuid))
		err = run_task(dmt);
	dm_task_destroy(dmt);
	return err;
}

static int load(const char *name, const char *target, uint64_t sectors, const char *params,
		bool read_only)
{
	struct dm_task *dmt = new_task(DM_DEVICE_RELOAD, name);
	int err = -ENOMEM;

	if (!dmt)
		return err;
	if (dm_task_add_target(dmt, 0, sectors, target, params) &&
	    (!read_only || dm_task_set_ro(dmt)))
		err = run_task(dmt);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_load() - load the device's table, which opens the image in the kernel
 * @name: the device
 * @sectors: its size
 * @params: what follows "qcow2" in the table line
 * @read_only: map it read-only
 */
int dmdev_load(const char *name, uint64_t sectors, const char *params,
	       bool read_only)
{
	return load(name, DMDEV_TARGET, sectors, params, read_only);
}

/**
 * dmdev_load_view() - load a table that shows a frozen device
 * @name: the device
 * @sectors: its size
 * @origin: the frozen one
 */
int dmdev_load_view(const char *name, uint64_t sectors, dev_t origin)
{
	char params[32];

	snprintf(params, sizeof(params), "%u:%u", major(origin), minor(origin));
	return load(name, DMDEV_VIEW_TARGET, sectors, params, true);
}

/*
 * Signals are blocked and the image's lock is held meanwhile, so a udev that hangs
 * or was never started must not hold us: answer in its place, and go on.
 */
static void wait_for_udev(const char *name, uint32_t cookie)
{
	int waited_ms, ready = 0;

	if (!cookie) {
		/* Without udev, or told not to ask it, the library makes the nodes. */
		dm_udev_wait(cookie);
		return;
	}
	for (waited_ms = 0; waited_ms < UDEV_WAIT_MS; waited_ms += UDEV_POLL_MS) {
		if (!dm_udev_wait_immediate(cookie, &ready) || ready)
			return;
		poll(NULL, 0, UDEV_POLL_MS);
	}
	err_report(VBLK_FAILED, name, "udev has not answered for %d s, going on",
		   UDEV_WAIT_MS / 1000);
	dm_udev_complete(cookie);
	dm_udev_wait(cookie);
}

static int run_with_udev(struct dm_task *dmt, const char *name,
			 uint16_t udev_flags)
{
	uint32_t cookie = 0;
	int err;

	if (!dm_task_set_cookie(dmt, &cookie, udev_flags))
		return -EIO;
	err = run_task(dmt);
	wait_for_udev(name, cookie);
	return err;
}

static int resume(struct dm_task *dmt, const char *name, bool hide_from_udev)
{
	uint16_t flags = 0;
	int err;

	if (!dmt)
		return -ENOMEM;
	if (hide_from_udev)
		flags = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
			DM_UDEV_DISABLE_DISK_RULES_FLAG |
			DM_UDEV_DISABLE_OTHER_RULES_FLAG;
	err = run_with_udev(dmt, name, flags);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_resume() - make the loaded table the active one
 * @name: the device
 * @hide_from_udev: keep blkid, LVM and the desktop away from a guest's disk
 */
int dmdev_resume(const char *name, bool hide_from_udev)
{
	return resume(new_task(DM_DEVICE_RESUME, name), name, hide_from_udev);
}

/**
 * dmdev_switch() - have a device that is in use go on with the table that was loaded
 * @name: the device
 * @is_guests: it is served to a guest: kept from udev, and without a flush
 *
 * One ioctl suspends the device, if it is not, swaps the tables, and resumes. Without a flush, writes that wait for
 * space on the host go on waiting under the new table; with it, a file system of this host's is frozen in
 * between. After an error, the new table may be in place, and the device suspended.
 */
int dmdev_switch(const char *name, bool is_guests)
{
	struct dm_task *dmt = new_task(DM_DEVICE_RESUME, name);

	if (dmt && is_guests)
		dm_task_no_flush(dmt);
	return resume(dmt, name, is_guests);
}

static int run_plain(int type, const char *name, bool no_flush)
{
	struct dm_task *dmt = new_task(type, name);
	int err;

	if (!dmt)
		return -ENOMEM;
	if (no_flush)
		dm_task_no_flush(dmt);
	err = run_task(dmt);
	dm_task_destroy(dmt);
	return err;
}

/** dmdev_suspend() - have I/O wait, when what is under way is done; @is_guests: as above */
int dmdev_suspend(const char *name, bool is_guests)
{
	return run_plain(DM_DEVICE_SUSPEND, name, is_guests);
}

/** dmdev_clear() - drop a table that was loaded and is not in use */
int dmdev_clear(const char *name)
{
	return run_plain(DM_DEVICE_CLEAR, name, false);
}

/**
 * dmdev_remove() - remove a device and wait until its node is gone
 *
 * Tries for a few seconds when a udev worker has the device open.
 *
 * Return: 0, -EBUSY when it is in use, another -errno.
 */
int dmdev_remove(const char *name)
{
	struct dm_task *dmt = new_task(DM_DEVICE_REMOVE, name);
	int err = -ENOMEM;

	if (!dmt)
		return err;
	if (dm_task_retry_remove(dmt))
		err = run_with_udev(dmt, name, 0);
	dm_task_destroy(dmt);
	return err;
}

/** dmdev_message() - send the device's target a message */
int dmdev_message(const char *name, const char *text)
{
	struct dm_task *dmt = new_task(DM_DEVICE_TARGET_MSG, name);
	int err = -ENOMEM;

	if (!dmt)
		return err;
	if (dm_task_set_sector(dmt, 0) && dm_task_set_message(dmt, text))
		err = run_task(dmt);
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_add_word() - end a message with a word of somebody's choice
 * @message: with room for twice the word and a blank
 *
 * A character behind a backslash is as it is to dm.
 */
void dmdev_add_word(char *message, const char *word)
{
	message += strlen(message);
	*message++ = ' ';
	for (; *word; word++) {
		*message++ = '\\';
		*message++ = *word;
	}
	*message = '\0';
}

/**
 * dmdev_ask() - send the device's target a message that has an answer
 * @answer: set to a string that the caller frees
 *
 * Return: 0, -EINVAL when the target does not know it, another -errno.
 */
int dmdev_ask(const char *name, const char *text, char **answer)
{
	struct dm_task *dmt = new_task(DM_DEVICE_TARGET_MSG, name);
	const char *response;
	int err = -ENOMEM;

	*answer = NULL;
	if (!dmt)
		return err;
	if (dm_task_set_sector(dmt, 0) && dm_task_set_message(dmt, text))
		err = run_task(dmt);
	response = err ? NULL : dm_task_get_message_response(dmt);
	if (!err)
		*answer = response ? strdup(response) : NULL;
	dm_task_destroy(dmt);
	return !err && !*answer ? -ENODATA : err;
}

static int read_target(int type, const char *name, const char *want, uint64_t *sectors,
		       char **params)
{
	struct dm_task *dmt = new_task(type, name);
	char *target, *text;
	uint64_t start;
	int err;

	if (!dmt)
		return -ENOMEM;
	/* A status with flush would wait for a commit of the image. */
	dm_task_no_flush(dmt);
	err = run_task(dmt);
	if (!err) {
		dm_get_next_target(dmt, NULL, &start, sectors, &target, &text);
		*params = text && !strcmp(target, want) ? strdup(text) : NULL;
		if (!*params)
			err = -ENODATA;
	}
	dm_task_destroy(dmt);
	return err;
}

/**
 * dmdev_table() - the active table line, without start, size and target
 * @params: set to a string that the caller frees
 *
 * Return: 0, -ENODATA when no table of dm-qcow2's is active, another -errno.
 */
int dmdev_table(const char *name, uint64_t *sectors, char **params)
{
	return read_target(DM_DEVICE_TABLE, name, DMDEV_TARGET, sectors, params);
}

/**
 * dmdev_status() - the status line, without start, size and target
 * @params: set to a string that the caller frees
 *
 * Return: 0, -ENODATA when no table of dm-qcow2's is active, another -errno.
 */
int dmdev_status(const char *name, uint64_t *sectors, char **params)
{
	return read_target(DM_DEVICE_STATUS, name, DMDEV_TARGET, sectors, params);
}

/** dmdev_view_status() - the same of a device that shows a frozen one */
int dmdev_view_status(const char *name, uint64_t *sectors, char **params)
{
	return read_target(DM_DEVICE_STATUS, name, DMDEV_VIEW_TARGET, sectors, params);
}
