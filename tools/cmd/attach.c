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
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "cmd.h"
#include "err.h"

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

/* Killing an attach half-way by ^C, or by a closed pipe, would leave half of it. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/*
 * A disk whose chain has changed: its device has the UUID of its first image. A served
 * disk by its device: its image may have no path any more. A disk of
 * this host's may have an image inside instead.
 */
static void adopt_device(struct attach *a)
{
	struct attached disk;
	struct dmdev d;

	if (attached_find_top(&a->img.st, &d) && strlen(d.uuid) < sizeof(a->img.uuid)) {
		strcpy(a->img.uuid, d.uuid);
		return;
	}
	if (!S_ISBLK(a->img.st.st_mode) ||
	    dmdev_find_number(a->img.st.st_rdev, &disk.d) ||
	    !dmdev_is_ours(&disk.d))
		return;
	attached_fill(&disk);
	if (disk.is_served && strlen(disk.d.uuid) < sizeof(a->img.uuid))
		strcpy(a->img.uuid, disk.d.uuid);
}

static int attach(struct attach *a, const char *name_arg)
{
	int lock, ret;

	adopt_device(a);
	lock = state_lock(a->img.uuid);
	if (lock < 0)
		return err_errno(-lock, STATE_DIR, "cannot lock");
	block_signals();
	ret = attach_locked(a, name_arg);
	if (!ret)
		ret = report_result(a);
	state_unlock(a->img.uuid, lock);
	if (ret || !a->server)
		return ret;
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
	const char *name_arg;
	int ret;

	ret = attach_parse(&a, argc, argv);
	if (a.help) {
		fputs(attach_help, stdout);
		return out_flush();
	}
	if (ret)
		return cmd_usage_error("attach");
	name_arg = argv[optind + 1];

	ret = image_identify(&a.img, argv[optind]);
	a.img.name = name_arg;
	if (!ret)
		ret = attach_check_args(&a, name_arg);
	if (!ret && a.dry_run)
		return attach_plan(&a);
	if (!ret)
		ret = dmdev_init();
	if (!ret)
		ret = attach(&a, name_arg);
	return ret;
}
