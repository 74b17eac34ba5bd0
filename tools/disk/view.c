// SPDX-License-Identifier: GPL-2.0-only
/* NAME-frozen: a device that shows what a frozen one held. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "view.h"

/* Not one of a disk. */
#define VIEW_PREFIX	"VBLKVIEW-"

static int name_view(const struct dmdev *origin, struct dmdev *view)
{
	int n = snprintf(view->name, sizeof(view->name), "%s-frozen", origin->name);
	int m = snprintf(view->uuid, sizeof(view->uuid), VIEW_PREFIX "%s",
			 origin->uuid + strlen(DMDEV_PREFIX));

	return n < (int)sizeof(view->name) && m < (int)sizeof(view->uuid) ? 0 : -ENAMETOOLONG;
}

/**
 * view_find() - find what shows a frozen device
 * @origin: the device, one of a disk
 * @view: filled in
 *
 * Return: 0, -ENXIO when there is none, another -errno.
 */
int view_find(const struct dmdev *origin, struct dmdev *view)
{
	int err = name_view(origin, view);

	return err ? err : dmdev_find_uuid(view->uuid, view);
}

/**
 * view_find_origin() - find the disk that a device shows
 * @view: the device
 * @origin: filled in
 *
 * Return: 0, -ENXIO when it shows none, another -errno.
 */
int view_find_origin(const struct dmdev *view, struct dmdev *origin)
{
	char uuid[sizeof(origin->uuid)];

	if (strncmp(view->uuid, VIEW_PREFIX, strlen(VIEW_PREFIX)) != 0)
		return -ENXIO;
	snprintf(uuid, sizeof(uuid), DMDEV_PREFIX "%s", view->uuid + strlen(VIEW_PREFIX));
	return dmdev_find_uuid(uuid, origin);
}

/** view_passed() - how much of the beginning of what it shows nobody can read any more, in bytes */
uint64_t view_passed(const struct dmdev *view)
{
	uintmax_t passed = 0;
	uint64_t sectors;
	char *params;

	if (dmdev_view_status(view->name, &sectors, &params))
		return 0;
	if (sscanf(params, "%*s %ju", &passed) != 1)
		passed = 0;
	free(params);
	return passed;
}

/**
 * view_create() - make a device that shows a frozen one
 * @origin: the device
 * @sectors: its size
 * @view: filled in
 *
 * Nobody but who names it looks at it: what is on it is on the frozen one, too. Return: 0,
 * -EBUSY when the name is taken, another -errno; there is none then.
 */
int view_create(const struct dmdev *origin, uint64_t sectors, struct dmdev *view)
{
	int err = name_view(origin, view);

	if (!err)
		err = dmdev_create(view->name, view->uuid);
	if (err)
		return err;
	err = dmdev_load_view(view->name, sectors, origin->dev);
	if (!err)
		err = dmdev_resume(view->name, true);
	if (err)
		dmdev_remove(view->name);
	return err;
}
