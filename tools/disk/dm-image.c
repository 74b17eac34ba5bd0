// SPDX-License-Identifier: GPL-2.0-only
/* Which device of dm-qcow2's maps an image. */
#include <stdlib.h>
#include <string.h>

#include "dm-image.h"
#include "layers.h"

static bool maps(const char *device, const char *image)
{
	struct layers layers;
	bool found = false;
	uint64_t bytes;

	if (layers_of_device(device, &bytes, &layers) == 0)
		for (size_t i = 0; i < layers.n && !found; i++)
			found = !strcmp(layers.list[i].path, image) ||
				(layers.list[i].data && !strcmp(layers.list[i].data, image));
	layers_free(&layers);
	return found;
}

/**
 * dm_image_find() - the device that maps an image, whoever made it
 * @image: path of the image, without symbolic links; any layer of the device, or a data file
 * @d: filled in
 *
 * Return: whether there is one.
 */
bool dm_image_find(const char *image, struct dmdev *d)
{
	struct dmdev *devs;
	bool found = false;
	size_t i, n;

	if (dmdev_list(false, &devs, &n))
		return false;
	for (i = 0; i < n && !found; i++) {
		found = maps(devs[i].name, image);
		if (found)
			*d = devs[i];
	}
	free(devs);
	return found;
}
