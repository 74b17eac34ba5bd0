// SPDX-License-Identifier: GPL-2.0-only
/* The images of a disk: of a chain that is open, or of a device, from its table line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backing-name.h"
#include "dm.h"
#include "layers.h"

#define SECTOR_SHIFT	9
#define FORMAT_WORD	"format:"
#define DATA_WORD	"data:"

static int append(struct layers *l, const char *path, const char *data, enum image_format format,
		  uint64_t bytes)
{
	struct layer *layer = &l->list[l->n];

	if (l->n == MAX_CHAIN)
		return -E2BIG;
	layer->path = strdup(path);
	layer->data = data ? strdup(data) : NULL;
	layer->format = format;
	layer->bytes = bytes;
	/* To be freed whatever there is of it. */
	l->n++;
	return layer->path && (layer->data || !data) ? 0 : -ENOMEM;
}

/**
 * layers_of_chain() - the images of a chain that is open
 * @layers: filled in; layers_free() is due in either case
 *
 * Return: 0 or -errno.
 */
int layers_of_chain(const struct chain *chain, struct layers *layers)
{
	int err = 0;

	layers->n = 0;
	for (size_t i = 0; i < chain->n && !err; i++) {
		const struct image *img = chain->images[i];

		err = append(layers, img->path, img->data ? img->data->path : NULL, img->format,
			     img->virtual_bytes);
	}
	return err;
}

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

/* The kernel names the bottom first. */
static void reverse(struct layers *l)
{
	struct layer swap;

	for (size_t i = 0; i < l->n / 2; i++) {
		swap = l->list[i];
		l->list[i] = l->list[l->n - 1 - i];
		l->list[l->n - 1 - i] = swap;
	}
}

/* Attributes of a layer are before it; a path begins with a slash. */
static int parse_table(char *line, struct layers *layers)
{
	enum image_format format = IMAGE_QCOW2;
	const char *data = NULL;
	char *word;
	int err = 0;

	while (!err && (word = next_word(&line)) && strcmp(word, "features") != 0) {
		if (!strncmp(word, FORMAT_WORD, strlen(FORMAT_WORD))) {
			format = image_format_find(word + strlen(FORMAT_WORD));
			continue;
		}
		if (!strncmp(word, DATA_WORD, strlen(DATA_WORD))) {
			data = word + strlen(DATA_WORD);
			continue;
		}
		err = append(layers, word, data, format, 0);
		format = IMAGE_QCOW2;
		data = NULL;
	}
	reverse(layers);
	return err;
}

/**
 * layers_of_device() - the size of a device and its images
 * @device: name of a device of anybody's
 * @bytes: set to the size
 * @layers: filled in; layers_free() is due in either case
 *
 * Return: 0, -ENODATA when the device has no table of dm-qcow2's, another -errno.
 */
int layers_of_device(const char *device, uint64_t *bytes, struct layers *layers)
{
	uint64_t sectors;
	char *params;
	int err;

	layers->n = 0;
	err = dmdev_table(device, &sectors, &params);
	if (err)
		return err;
	*bytes = sectors << SECTOR_SHIFT;
	err = parse_table(params, layers);
	free(params);
	return err;
}

/** layers_drop() - forget @n of them, from @first on */
void layers_drop(struct layers *layers, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		free(layers->list[i].path);
		free(layers->list[i].data);
	}
	memmove(&layers->list[first], &layers->list[first + n],
		(layers->n - first - n) * sizeof(*layers->list));
	layers->n -= n;
}

/** layers_free() - forget them */
void layers_free(struct layers *layers)
{
	layers_drop(layers, 0, layers->n);
}
