// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-attach: image -> locked descriptor -> dm device -> server -> QEMU's line.
 *
 * One attach or detach of an image runs at a time (state_lock). Between images
 * that want the same name the kernel decides, when the device is created. Its
 * UUID is made from the image's identity; a server that died is replaced
 * on the device found by it, without opening the image, whose locks the kernel
 * holds all the time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "err.h"
#include "job-left.h"
#include "server/notify.h"

/*
 * Nobody was told where the disk is. A new process that took a disk over goes
 * on: a guest may wait for it.
 */
static void undo(struct attach *a)
{
	if (a->server)
		server_close(a->server);
	else if (a->is_new && a->result.server)
		server_stop(&a->serving, a->name, a->result.server, true);
	if (a->is_new)
		attach_remove(a);
}

static int report_result(struct attach *a)
{
	int ret;

	/* Of a disk that was there before, as the kernel has them. */
	if (!a->is_new)
		layers_of_device(a->result.d.name, &a->result.bytes, &a->layers);
	out_attached(&a->result, &a->layers, a->format, a->reconnect);
	layers_free(&a->layers);
	ret = out_flush();
	if (ret)
		undo(a);
	return ret;
}

static int attach_locked(struct attach *a, const char *name_arg)
{
	struct dmdev *d = &a->result.d;
	int err;

	err = dmdev_find_uuid(a->img.uuid, d);
	if (!err && d->is_live)
		return attach_take_over(a, name_arg);
	if (err && err != -ENXIO)
		return err_errno(-err, a->img.arg, "cannot look for its device");
	if (!err) {
		/* Left by an attach that was killed before it had a table. */
		state_forget(d->name);
		dmdev_remove(d->name);
	}
	return attach_create(a);
}

/*
 * A served disk by its device: its image may have no path any more. A disk of
 * this host's may have an image inside instead.
 */
static bool find_by_device(const struct attach *a, struct dmdev *d)
{
	struct attached disk;

	if (!S_ISBLK(a->img.st.st_mode) ||
	    dmdev_find_number(a->img.st.st_rdev, &disk.d) ||
	    !dmdev_is_ours(&disk.d))
		return false;
	attached_fill(&disk);
	*d = disk.d;
	return disk.is_served;
}

/* The image's own UUID may be that of a device which has not this image any more. */
static int name_device(struct attach *a)
{
	size_t length = strlen(a->img.uuid);
	struct dmdev d;
	int err = 0;

	for (unsigned int i = 2; !err; i++) {
		err = dmdev_find_uuid(a->img.uuid, &d);
		if (!err && attached_has_image(&d, &a->img.st))
			return 0;
		if (!err)
			snprintf(a->img.uuid + length, sizeof(a->img.uuid) - length, "-%u", i);
	}
	return err == -ENXIO ? 0 : err;
}

/* Of the device that has the image, or is to have it. */
static int choose_uuid(struct attach *a)
{
	struct dmdev d;

	if (!attached_find_top(&a->img.st, &d) && !find_by_device(a, &d)) {
		image_uuid(&a->img.st, a->img.uuid, sizeof(a->img.uuid));
		return name_device(a);
	}
	if (strlen(d.uuid) >= sizeof(a->img.uuid))
		return -ENAMETOOLONG;
	strcpy(a->img.uuid, d.uuid);
	return 0;
}

/* While we wait for the lock, the device of that UUID may go over to another image. */
static int lock_device(struct attach *a, int *lock)
{
	char uuid[sizeof(a->img.uuid)];
	int err;

	err = choose_uuid(a);
	while (!err) {
		strcpy(uuid, a->img.uuid);
		*lock = state_lock(uuid);
		if (*lock < 0)
			return *lock;
		err = choose_uuid(a);
		if (!err && !strcmp(uuid, a->img.uuid))
			return 0;
		state_unlock(uuid, *lock);
	}
	return err;
}

static int attach(struct attach *a, const char *name_arg)
{
	int lock, err, ret;

	job_left_clean();
	err = lock_device(a, &lock);
	if (err)
		return err_errno(-err, a->img.arg, "cannot lock its device");
	cmd_block_signals();
	ret = attach_locked(a, name_arg);
	if (!ret)
		ret = report_result(a);
	if (!ret && a->is_new)
		job_left_tell(a->name);
	state_unlock(a->img.uuid, lock);
	if (ret || !a->server)
		return ret;
	notify_ready();
	ret = server_run(a->server);
	server_close(a->server);
	return ret;
}

/** cmd_attach() - the verb */
int cmd_attach(int argc, char **argv)
{
	struct attach a = {
		.serving = {
			.socket_uid = SOCKET_ID_UNSET,
			.socket_gid = SOCKET_ID_UNSET,
			.socket_mode = SOCKET_ID_UNSET,
		},
	};
	int ret;

	ret = attach_parse(&a, argc, argv);
	if (a.help) {
		fputs(attach_help, stdout);
		return out_flush();
	}
	if (ret)
		return ret == VBLK_USAGE ? cmd_usage_error("attach") : ret;

	ret = image_identify(&a.img, a.image_arg);
	a.img.name = a.name_arg;
	if (!ret)
		ret = attach_check_args(&a, a.name_arg);
	if (!ret && a.dry_run)
		return attach_plan(&a);
	if (!ret)
		ret = dmdev_init();
	if (!ret)
		ret = attach(&a, a.name_arg);
	return ret;
}
