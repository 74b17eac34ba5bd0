// SPDX-License-Identifier: GPL-2.0-only
/* A new disk: image -> locked descriptor -> dm device -> server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "disk/holder.h"
#include "err.h"

static int check_host(struct attach *a)
{
	int err, ret;

	err = dmdev_target_present();
	if (err == -EINVAL) {
		ret = err_report(VBLK_NOT_FOUND, "dm-qcow2",
				 "the kernel module is not loaded");
		err_hint("modprobe dm-qcow2");
		return ret;
	}
	if (err)
		return err_errno(-err, "dm-qcow2", "cannot ask for the target");
	return a->no_vhost ? VBLK_OK : server_check();
}

static int report_load_error(struct attach *a, int err)
{
	char who[512];
	int ret;

	if (err == -EBUSY && S_ISBLK(a->img.st.st_mode) &&
	    holder_of_device(a->img.st.st_rdev, 0, who, sizeof(who)))
		return err_report(VBLK_BUSY, a->img.arg, "in use: %s", who);
	ret = err_errno(-err, a->img.arg, "the kernel refused the image");
	err_hint("dmesg | grep qcow2");
	return ret;
}

static int load_table(struct attach *a)
{
	uint64_t sectors = a->img.virtual_bytes >> 9;
	char *params = attach_params(a, false);
	int err;

	if (!params)
		return err_errno(ENOMEM, a->img.arg, "cannot load the table");
	err = dmdev_load(a->name, sectors, params, a->read_only);
	free(params);
	if (!err)
		err = dmdev_resume(a->name, !a->no_vhost);
	if (err)
		return report_load_error(a, err);
	if (attach_keeps_space(a))
		err_warn(a->img.arg, "all of its space is allocated, and stays so when clusters are"
				     " discarded; --discard unmap gives it back");
	return VBLK_OK;
}

/* Often by the same disk: its image has been replaced by a new file of its name. */
static int report_taken(const struct attach *a)
{
	struct attached other = {};
	int ret;

	if (dmdev_find_name(a->name, &other.d) == 0 && dmdev_is_ours(&other.d))
		attached_fill(&other);
	if (!other.is_served || strcmp(other.serving.image, a->img.path) != 0) {
		ret = err_report(VBLK_BUSY, a->name, "name taken: " DMDEV_DIR
				 "%s exists", a->name);
		err_hint_command("vblk-attach", a->img.arg, "NAME", NULL);
		return ret;
	}
	ret = err_report(VBLK_BUSY, a->name,
			 "name taken: it serves the file that was %s before",
			 a->img.arg);
	err_hint("vblk-%s " DMDEV_DIR "%s", other.server ? "detach" : "attach",
		 a->name);
	return ret;
}

/* The device that a name's files are of may have been renamed since. */
static int check_files(const struct attach *a)
{
	struct serving old;
	struct dmdev d;
	int ret;

	if (state_load(a->name, &old) || !*old.uuid ||
	    !strcmp(old.uuid, a->img.uuid) || dmdev_find_uuid(old.uuid, &d))
		return VBLK_OK;
	/* Unless they are left-overs of a name that it had once. */
	if (state_find(d.name, d.uuid, &old) || strcmp(old.name, a->name) != 0)
		return VBLK_OK;
	ret = err_report(VBLK_BUSY, a->name,
			 "name taken: by the disk that is " DMDEV_DIR "%s now",
			 d.name);
	err_hint_command("vblk-attach", a->img.arg, "NAME", NULL);
	return ret;
}

/* The kernel's word, and this, is what finds a device that has not its image's own UUID. */
static int note_image(const struct attach *a, bool is_there)
{
	char uuid[sizeof(a->img.uuid)];

	if (image_uuid(&a->img.st, uuid, sizeof(uuid)) || !strcmp(uuid, a->img.uuid))
		return 0;
	if (is_there)
		return state_set_top(uuid, a->img.uuid);
	state_forget_top(uuid);
	return 0;
}

static int create_device(struct attach *a)
{
	int err, ret;

	err = dmdev_create(a->name, a->img.uuid);
	if (err == -EBUSY)
		return report_taken(a);
	if (err)
		return err_errno(-err, a->name, "cannot create the device");
	/* Left by one that was removed without us. */
	job_forget(a->img.uuid);
	ret = check_files(a);
	if (ret) {
		dmdev_remove(a->name);
		return ret;
	}

	/* Before the table, so that whoever finds one knows who serves it. */
	if (a->no_vhost) {
		/* What the name's last disk may have left. */
		state_forget(a->name);
	} else {
		err = state_save(&a->serving);
		if (err) {
			ret = err_errno(-err, STATE_DIR, "cannot write");
			goto err_remove;
		}
	}
	err = note_image(a, true);
	ret = err ? err_errno(-err, STATE_DIR, "cannot write") : load_table(a);
	if (ret)
		goto err_note;
	return VBLK_OK;

err_note:
	note_image(a, false);
err_remove:
	state_forget(a->name);	/* while the name is still ours */
	dmdev_remove(a->name);
	return ret;
}

static int finish_new(struct attach *a)
{
	struct attached *r = &a->result;
	int err;

	err = dmdev_find_name(a->name, &r->d);
	if (err)
		return err_errno(-err, a->name, "cannot find the new device");
	strcpy(r->image, a->img.path);
	r->depth = a->layers.n - 1;
	if (r->depth)
		strcpy(r->base, a->layers.list[r->depth].path);
	r->bytes = a->img.virtual_bytes;
	r->is_served = !a->no_vhost;
	r->serving = a->serving;
	return a->no_vhost ? VBLK_OK : attach_start_server(a, false);
}

/** attach_remove() - undo attach_create(); its server is gone */
void attach_remove(struct attach *a)
{
	state_forget(a->name);
	dmdev_remove(a->name);
	note_image(a, false);
}

/** attach_create() - a device for an image that has none, and its server; an exit code */
int attach_create(struct attach *a)
{
	int ret;

	ret = attach_choose_rest(a);
	if (!ret)
		ret = check_host(a);
	if (ret)
		return ret;
	ret = attach_open_images(a);
	if (!ret)
		ret = create_device(a);
	if (!ret && layers_of_chain(&a->chain, &a->layers)) {
		ret = err_errno(ENOMEM, a->name, "cannot describe the disk");
		attach_remove(a);
	}
	/* A server that kept them open would keep the locks beyond a detach. */
	attach_close_images(a);
	if (ret)
		return ret;

	a->is_new = true;
	ret = finish_new(a);
	if (ret)
		attach_remove(a);
	return ret;
}
