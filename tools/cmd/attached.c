// SPDX-License-Identifier: GPL-2.0-only
/* An attached disk: found by name, device or image, and what is known of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attached.h"
#include "disk/image.h"
#include "disk/layers.h"
#include "disk/live.h"
#include "err.h"

#define MIN_CLUSTER_BYTES	512

/* The size of a cluster, from how many of them the disk has. */
static uint64_t cluster_bytes(uint64_t disk_bytes, uint64_t clusters)
{
	uint64_t bytes = MIN_CLUSTER_BYTES;

	while (clusters && bytes * clusters < disk_bytes)
		bytes <<= 1;
	return bytes;
}

/* Documentation/dm-qcow2.rst, Status: the words keep their places. */
static void read_status(struct attached *a)
{
	char *params, mode[8], check[16], left[24];
	uintmax_t used, clusters, level;
	uint64_t sectors;

	if (dmdev_status(a->d.name, &sectors, &params))
		return;
	if (sscanf(params, "%ju/%ju %*s %*s %*s %*s %7s %15s", &used, &clusters,
		   mode, check) == 4) {
		a->has_usage = true;
		a->cluster_bytes = cluster_bytes(a->bytes, clusters);
		a->used_bytes = used * a->cluster_bytes;
		a->has_failed = !strcmp(mode, "fail") ||
				!strcmp(check, "needs_check");
	}
	if (sscanf(params, "%*s %*s %*s %*s %*s %*s %*s %*s %23[^/]/%ju", left, &level) == 2) {
		a->low_space_bytes = level;
		a->has_left = sscanf(left, "%ju", &a->left_bytes) == 1;
	}
	free(params);
}

/** attached_look_again() - at what the kernel says of the image; @has_usage: it does */
void attached_look_again(struct attached *a)
{
	a->has_usage = false;
	a->has_failed = false;
	a->has_left = false;
	a->low_space_bytes = 0;
	read_status(a);
}

static void read_layers(struct attached *a)
{
	struct layers l;

	if (layers_of_device(a->d.name, &a->bytes, &l) == 0 && l.n) {
		snprintf(a->image, sizeof(a->image), "%s", l.list[0].path);
		a->depth = l.n - 1;
		if (a->depth)
			snprintf(a->base, sizeof(a->base), "%s", l.list[l.n - 1].path);
	}
	layers_free(&l);
}

/* Of a file in STATE_DIR that nobody can read, its name tells what to remove. */
static void fill_damaged(struct attached *a, bool has_file)
{
	memset(&a->serving, 0, sizeof(a->serving));
	if (!has_file)
		return;
	strcpy(a->serving.name, a->d.name);
	if ((size_t)snprintf(a->serving.socket, sizeof(a->serving.socket),
			     STATE_DIR "/%s.sock", a->d.name) >=
	    sizeof(a->serving.socket))
		a->serving.socket[0] = '\0';
}

/**
 * attached_fill() - complete what is known of a disk
 * @a: @d is valid
 */
void attached_fill(struct attached *a)
{
	int err;

	a->image[0] = '\0';
	a->base[0] = '\0';
	a->depth = 0;
	a->bytes = 0;
	err = state_find(a->d.name, a->d.uuid, &a->serving);
	a->is_served = !err;
	if (err)
		fill_damaged(a, err == -EBADMSG);
	a->server = state_server(a->serving.name, &a->guest);
	a->problem[0] = '\0';
	if (a->server)
		state_problem(a->serving.name, a->problem, sizeof(a->problem));
	a->has_job = job_find(a->d.uuid, &a->job) == 0;
	read_layers(a);
	attached_look_again(a);
	if (!a->image[0] && a->is_served)
		strcpy(a->image, a->serving.image);
}

/**
 * attached_find_top() - the device that has a file as its top, but another one's UUID
 * @st: of the file
 *
 * Return: whether there is one.
 */
bool attached_find_top(const struct stat *st, struct dmdev *d)
{
	char uuid[64], device_uuid[STATE_UUID_SIZE];

	return image_uuid(st, uuid, sizeof(uuid)) == 0 &&
	       state_find_top(uuid, device_uuid, sizeof(device_uuid)) == 0 &&
	       dmdev_find_uuid(device_uuid, d) == 0 && dmdev_is_ours(d) &&
	       live_is_image(d->name, 0, st) > 0;
}

/**
 * attached_has_image() - whether a device is of a file by whose UUID it was found
 * @st: of the file
 *
 * A device keeps the UUID of its first image. When that is gone, a new file may have its inode
 * number. Without a table, it is of an attach that has not come so far. A module that does not
 * know the question knows no other chain, either.
 */
bool attached_has_image(const struct dmdev *d, const struct stat *st)
{
	int is_it = d->is_live && dmdev_is_ours(d) ? live_has_image(d->name, st) : 1;

	return is_it == -EINVAL || is_it > 0;
}

/**
 * attached_find_image() - the device that has a file or device among its images
 * @st: of the file
 * @d: filled in
 *
 * Return: 0, -ENXIO when there is none, another -errno.
 */
int attached_find_image(const struct stat *st, struct dmdev *d)
{
	char uuid[64];
	int err;

	if (image_uuid(st, uuid, sizeof(uuid)))
		return -ENXIO;
	if (attached_find_top(st, d))
		return 0;
	err = dmdev_find_uuid(uuid, d);
	return !err && !attached_has_image(d, st) ? -ENXIO : err;
}

/* A path: of the device itself, or of the image. */
static int find_path(const char *arg, struct dmdev *d)
{
	struct stat st;

	if (stat(arg, &st) < 0)
		return -errno;
	if (attached_find_image(&st, d) == 0)
		return 0;
	return S_ISBLK(st.st_mode) ? dmdev_find_number(st.st_rdev, d) : -ENXIO;
}

/* A device of somebody else's may still be what an image of ours is on. */
static int find_name(const char *name, struct dmdev *d)
{
	int err = dmdev_find_name(name, d);

	return !err && !dmdev_is_ours(d) ? -ENXIO : err;
}

static int find_device(const char *arg, struct dmdev *d)
{
	int err = -ENXIO;

	if (!strchr(arg, '/'))
		err = find_name(arg, d);
	else if (!strncmp(arg, DMDEV_DIR, strlen(DMDEV_DIR)))
		err = find_name(arg + strlen(DMDEV_DIR), d);
	if (err == -ENXIO)
		err = find_path(arg, d);
	if (!err && !dmdev_is_ours(d))
		err = -ENXIO;
	return err;
}

/**
 * attached_find() - find a disk that vblk-attach attached
 * @arg: its name, its device or its image
 * @a: filled in
 *
 * Return: an exit code; what is wrong has been reported.
 */
int attached_find(const char *arg, struct attached *a)
{
	int err = find_device(arg, &a->d);

	if (err == -ENXIO || err == -ENOENT) {
		err_report(VBLK_NOT_FOUND, arg, "not attached");
		err_hint("vblk-list");
		return VBLK_NOT_FOUND;
	}
	if (err)
		return err_errno(-err, arg, "cannot look it up");
	attached_fill(a);
	return VBLK_OK;
}

/**
 * attached_lock_any() - find a disk, and keep other verbs from it
 * @arg: its name, its device or its image
 * @a: filled in
 * @lock: for state_unlock(), on success
 *
 * Return: an exit code; what is wrong has been reported.
 */
int attached_lock_any(const char *arg, struct attached *a, int *lock)
{
	char uuid[sizeof(a->d.uuid)];
	int ret;

	for (;;) {
		ret = attached_find(arg, a);
		if (ret)
			return ret;
		strcpy(uuid, a->d.uuid);
		*lock = state_lock(uuid);
		if (*lock < 0)
			return err_errno(-*lock, STATE_DIR, "cannot lock");
		/* While we waited, the name may have become another image's. */
		ret = attached_find(arg, a);
		if (!ret && !strcmp(uuid, a->d.uuid))
			return VBLK_OK;
		state_unlock(uuid, *lock);
		if (ret)
			return ret;
	}
}

/** attached_lock() - the same, but a disk whose chain somebody is changing is refused */
int attached_lock(const char *arg, struct attached *a, int *lock)
{
	int ret = attached_lock_any(arg, a, lock);

	if (ret)
		return ret;
	ret = attached_check_no_job(a);
	if (ret)
		state_unlock(a->d.uuid, *lock);
	return ret;
}

/** attached_is_low() - whether the host has less left than the user wants to be told of */
bool attached_is_low(const struct attached *a)
{
	return a->has_left && a->left_bytes < a->low_space_bytes;
}

/**
 * attached_state() - one word for a list
 *
 * "failed" after an error that left the image to be checked, else "serving" a
 * guest, "blocked" if it cannot be served, "idle" without one, "unserved" when the
 * server is gone, "local" when it was attached for this host, "incomplete" without a
 * table.
 */
const char *attached_state(const struct attached *a)
{
	if (!a->d.is_live)
		return "incomplete";
	if (a->has_failed)
		return "failed";
	if (!a->is_served)
		return "local";
	if (!a->server)
		return "unserved";
	if (!a->guest)
		return "idle";
	return a->problem[0] ? "blocked" : "serving";
}
