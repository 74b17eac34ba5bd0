// SPDX-License-Identifier: GPL-2.0-only
/* An attached disk: found by name, device or image, and what is known of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attached.h"
#include "err.h"
#include "image.h"

#define SECTOR_SHIFT	9
#define MIN_CLUSTER_BYTES	512

/* The next word of a table line; dm escapes blanks in it with a backslash. */
static char *next_word(char **line)
{
	char *in = *line, *out, *word;

	while (*in == ' ')
		in++;
	if (!*in)
		return NULL;
	for (word = out = in; *in && *in != ' '; in++) {
		if (*in == '\\' && in[1])
			in++;
		*out++ = *in;
	}
	*line = *in ? in + 1 : in;
	*out = '\0';
	return word;
}

/* The size and the path; the top layer is the last word before the features. */
static void read_table(struct attached *a)
{
	char *params, *line, *word;
	uint64_t sectors;

	if (dmdev_table(a->d.name, &sectors, &params))
		return;
	a->bytes = sectors << SECTOR_SHIFT;
	line = params;
	while ((word = next_word(&line)) && strcmp(word, "features") != 0)
		snprintf(a->image, sizeof(a->image), "%s", word);
	free(params);
}

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
	char *params, mode[8], check[16];
	uintmax_t used, clusters;
	uint64_t sectors;

	if (dmdev_status(a->d.name, &sectors, &params))
		return;
	if (sscanf(params, "%ju/%ju %*s %*s %*s %*s %7s %15s", &used, &clusters,
		   mode, check) == 4) {
		a->has_usage = true;
		a->used_bytes = used * cluster_bytes(a->bytes, clusters);
		a->has_failed = !strcmp(mode, "fail") ||
				!strcmp(check, "needs_check");
	}
	free(params);
}

/**
 * attached_fill() - complete what is known of a disk
 * @a: @d is valid
 */
void attached_fill(struct attached *a)
{
	a->image[0] = '\0';
	a->bytes = 0;
	a->has_usage = false;
	a->has_failed = false;
	a->is_served = state_load(a->d.name, &a->serving) == 0;
	a->server = state_server(a->d.name, &a->guest);
	read_table(a);
	read_status(a);
	if (!a->image[0] && a->is_served)
		strcpy(a->image, a->serving.image);
}

/* A path: of the device itself, or of the image. */
static int find_path(const char *arg, struct dmdev *d)
{
	char uuid[64];
	struct stat st;

	if (stat(arg, &st) < 0)
		return -errno;
	if (image_uuid(&st, uuid, sizeof(uuid)))
		return -ENXIO;
	if (dmdev_find_uuid(uuid, d) == 0)
		return 0;
	return S_ISBLK(st.st_mode) ? dmdev_find_number(st.st_rdev, d) : -ENXIO;
}

static int find_device(const char *arg, struct dmdev *d)
{
	int err = -ENXIO;

	if (!strchr(arg, '/'))
		err = dmdev_find_name(arg, d);
	else if (!strncmp(arg, DMDEV_DIR, strlen(DMDEV_DIR)))
		err = dmdev_find_name(arg + strlen(DMDEV_DIR), d);
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
 * attached_state() - one word for a list
 *
 * "failed" after an error that left the image to be checked, else "serving" a
 * guest, "idle" without one, "unserved" when the server is gone, "local"
 * when it was attached for this host, "incomplete" without a table.
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
	return a->guest ? "serving" : "idle";
}
