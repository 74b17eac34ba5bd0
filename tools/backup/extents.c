// SPDX-License-Identifier: GPL-2.0-only
/* Where a frozen disk has data: Documentation/dm-qcow2.rst, "Frozen disks". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/bitmaps.h"
#include "disk/dm.h"
#include "extents.h"

static uint64_t known_end(const struct extents *e)
{
	return e->known.offset + e->known.bytes;
}

static int ask(struct extents *e)
{
	char message[2 * BITMAP_NAME_SIZE + 32];
	int err;

	free(e->answer);
	e->answer = NULL;
	snprintf(message, sizeof(message), "map %" PRIu64, known_end(e));
	if (e->bitmap)
		dmdev_add_word(message, e->bitmap);
	err = dmdev_ask(e->view, message, &e->answer);
	e->left = e->answer;
	return err;
}

/* What follows the one that is known. Return: 0 or -errno. */
static int read_next(struct extents *e)
{
	uint64_t bytes;
	int err, n;
	char kind;

	if (!e->left || !*e->left) {
		err = ask(e);
		if (err)
			return err;
	}
	if (sscanf(e->left, "%" SCNu64 "%c%n", &bytes, &kind, &n) != 2 || !bytes ||
	    bytes > e->size - known_end(e))
		return -EPROTO;
	e->left += n;
	while (*e->left == ' ')
		e->left++;
	e->known = (struct extent) { known_end(e), bytes, kind != 'd' };
	return 0;
}

/**
 * extents_next() - the next part of the disk that is alike
 * @e: @view, @size and @unit are set, the rest is 0 at first
 * @extent: filled in
 *
 * A unit with any data is data. Return: 1, 0 at the end of the disk, -errno.
 */
int extents_next(struct extents *e, struct extent *extent)
{
	uint64_t end;
	int err;

	if (e->offset >= e->size)
		return 0;
	while (known_end(e) <= e->offset) {
		err = read_next(e);
		if (err)
			return err;
	}
	extent->offset = e->offset;
	extent->is_zero = e->known.is_zero;
	end = known_end(e);
	if (extent->is_zero && end < e->size) {
		end &= ~(e->unit - 1);
		/* Others are in the same unit. */
		if (end == e->offset) {
			extent->is_zero = false;
			end++;
		}
	}
	end = (end + e->unit - 1) & ~(e->unit - 1);
	e->offset = end < e->size ? end : e->size;
	extent->bytes = e->offset - extent->offset;
	return 1;
}

/** extents_seek() - go on at an offset, which a unit begins with */
void extents_seek(struct extents *e, uint64_t offset)
{
	extents_end(e);
	e->offset = offset;
	e->known = (struct extent) { .offset = offset };
}

void extents_end(struct extents *e)
{
	free(e->answer);
	e->answer = NULL;
	e->left = NULL;
}
