// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which overlay was put on an image that was a disk's top.
 *
 * The image does not say so itself: whoever attaches it by its old name, a configuration behind the next boot, say,
 * gives the guest an old state to go on with, and ruins the overlay, which has all since then. So a symbolic link, named for
 * the image's path, points at the overlay, from before that takes its first write. It is a reason to look, no more: what
 * counts is whether there is such an overlay, and whether it lies on the image.
 *
 * Until the overlay is known to be in use there is another link instead. Who made it may have been killed, and the image be
 * the top still: then the overlay has nothing, and hides nothing. With a cluster of its own it was in use.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing-header.h"
#include "backing-name.h"
#include "dm-qcow2/format/disk.h"
#include "dm-qcow2/format/userspace.h"
#include "durable.h"
#include "live.h"
#include "overlay-note.h"

#define BEGUN	".begun"

/* FNV-1a: two paths of one value have one link, and the later overlay is found. */
static void name_note(char note[PATH_MAX], const char *image, const char *suffix)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *image; image++)
		hash = (hash ^ (unsigned char)*image) * 0x100000001b3;
	snprintf(note, PATH_MAX, OVERLAY_NOTE_DIR "/%016" PRIx64 "%s", hash, suffix);
}

static int make_directories(void)
{
	char parent[] = OVERLAY_NOTE_DIR;

	*strrchr(parent, '/') = '\0';
	if ((mkdir(parent, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(OVERLAY_NOTE_DIR, 0700) < 0 && errno != EEXIST))
		return -errno;
	return 0;
}

static int make_note(const char *image, const char *suffix, const char *overlay)
{
	char note[PATH_MAX], new[PATH_MAX];
	int err = make_directories();

	if (err)
		return err;
	name_note(note, image, suffix);
	name_note(new, image, ".new");
	if ((unlink(new) < 0 && errno != ENOENT) || symlink(overlay, new) < 0 || rename(new, note) < 0)
		return -errno;
	return durable_directory(OVERLAY_NOTE_DIR);
}

static bool read_note(const char *image, const char *suffix, char overlay[PATH_MAX])
{
	char note[PATH_MAX];
	ssize_t n;

	name_note(note, image, suffix);
	n = readlink(note, overlay, PATH_MAX);
	if (n < 0 || n == PATH_MAX)
		return false;
	overlay[n] = '\0';
	return true;
}

/** overlay_note_read() - what overlay_note() was told last of @image; whether there is such a note */
bool overlay_note_read(const char *image, char overlay[PATH_MAX])
{
	return read_note(image, "", overlay);
}

/** overlay_note_clean() - the overlay that was on an image is gone: another one may get its name */
void overlay_note_clean(const char *image)
{
	char overlay[PATH_MAX], note[PATH_MAX];

	if (!overlay_note_read(image, overlay) || access(overlay, F_OK) == 0 || errno != ENOENT)
		return;
	name_note(note, image, "");
	unlink(note);
}

/**
 * overlay_note_begin() - an overlay is about to be put on an image; durable
 * @image: its path, absolute, links resolved
 * @overlay: the path of the overlay, likewise
 *
 * Return: 0 or -errno.
 */
int overlay_note_begin(const char *image, const char *overlay)
{
	return make_note(image, BEGUN, overlay);
}

/** overlay_note_undo() - what was begun last did not come to be */
void overlay_note_undo(const char *image)
{
	char note[PATH_MAX];

	name_note(note, image, BEGUN);
	unlink(note);
}

/**
 * overlay_note() - an overlay is in use on an image, or nobody will know when it is; durable
 * @image: its path, absolute, links resolved
 * @overlay: the path of the overlay, likewise
 *
 * Return: 0 or -errno.
 */
int overlay_note(const char *image, const char *overlay)
{
	int err = make_note(image, "", overlay);

	if (!err)
		overlay_note_undo(image);
	return err;
}

/** overlay_note_forget() - there is none on the image any more */
void overlay_note_forget(const char *image)
{
	char note[PATH_MAX];

	name_note(note, image, "");
	unlink(note);
	overlay_note_undo(image);
}

/* By its header, whatever the overlay has become meanwhile. */
static bool lies_on(struct image *overlay, const struct qcow2_header *h, const struct stat *st)
{
	struct backing_name name;
	char why[BACKING_WHY_BYTES];
	struct stat below;
	bool is_so;

	is_so = h->backing_offset && !backing_header_read(overlay, h) &&
		!backing_name_parse(overlay->backing, overlay->path, &name, why) &&
		stat(name.path, &below) == 0 && image_is_same(&below, st);
	free(overlay->backing);
	free(overlay->data_name);
	return is_so;
}

/* Whether anything was written to it; if that cannot be told, it was. */
static bool has_clusters(int fd, const struct qcow2_header *h)
{
	uint64_t at = h->l1_offset, end = at + (uint64_t)h->l1_size * QCOW2_ENTRY_BYTES;
	char part[4096];

	while (at < end) {
		size_t n = min(end - at, (uint64_t)sizeof(part));

		if (pread(fd, part, n, at) != (ssize_t)n || part[0] || memcmp(part, part + 1, n - 1) != 0)
			return true;
		at += n;
	}
	return false;
}

static bool hides(const char *overlay, const struct stat *below, bool is_in_use)
{
	struct image above = { .arg = overlay };
	struct qcow2_header h;
	struct stat st;
	bool is_so;

	snprintf(above.path, sizeof(above.path), "%s", overlay);
	above.fd = open(overlay, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (above.fd < 0)
		return false;
	is_so = fstat(above.fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
		live_read_header(above.fd, &h) == 0 && lies_on(&above, &h, below) &&
		(is_in_use || has_clusters(above.fd, &h));
	close(above.fd);
	return is_so;
}

/** overlay_lies_on() - whether an image, by its header, lies on a file; @path: of the image, absolute */
bool overlay_lies_on(const char *path, const struct stat *below)
{
	return hides(path, below, true);
}

/**
 * overlay_note_find() - look for an overlay that hides what would be written to an image
 * @img: the image, as a top
 * @overlay: set to its path
 *
 * Return: whether there is one.
 */
bool overlay_note_find(const struct image *img, char overlay[PATH_MAX])
{
	return (read_note(img->path, BEGUN, overlay) && hides(overlay, &img->st, false)) ||
	       (read_note(img->path, "", overlay) && hides(overlay, &img->st, true));
}
