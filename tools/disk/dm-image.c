// SPDX-License-Identifier: GPL-2.0-only
/* Which image a device of dm-qcow2's maps, from its table line. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dm-image.h"

#define SECTOR_SHIFT	9

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

/**
 * dm_image_read() - the size of a device and the path of its image
 * @device: name of a device of anybody's
 * @bytes: set to the size
 * @image: set to the path; the top layer is the last word before the features
 * @size: of @image
 *
 * Return: 0, -ENODATA when the device has no table of dm-qcow2's, another -errno.
 */
int dm_image_read(const char *device, uint64_t *bytes, char *image, size_t size)
{
	char *params, *line, *word;
	uint64_t sectors;
	int err;

	err = dmdev_table(device, &sectors, &params);
	if (err)
		return err;
	*bytes = sectors << SECTOR_SHIFT;
	*image = '\0';
	line = params;
	while ((word = next_word(&line)) && strcmp(word, "features") != 0)
		snprintf(image, size, "%s", word);
	free(params);
	return 0;
}

/**
 * dm_image_find() - the device that maps an image, whoever made it
 * @image: path of the image, without symbolic links
 * @d: filled in
 *
 * Return: whether there is one.
 */
bool dm_image_find(const char *image, struct dmdev *d)
{
	char mapped[PATH_MAX];
	struct dmdev *devs;
	bool found = false;
	uint64_t bytes;
	size_t i, n;

	if (dmdev_list(false, &devs, &n))
		return false;
	for (i = 0; i < n && !found; i++) {
		found = dm_image_read(devs[i].name, &bytes, mapped,
				      sizeof(mapped)) == 0 &&
			!strcmp(mapped, image);
		if (found)
			*d = devs[i];
	}
	free(devs);
	return found;
}
