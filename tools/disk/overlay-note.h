/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_OVERLAY_NOTE_H
#define VBLK_OVERLAY_NOTE_H

#include <limits.h>
#include <stdbool.h>

#include "image.h"

#define OVERLAY_NOTE_DIR	"/var/lib/vblk/overlays"

void overlay_note_clean(const char *image);
int overlay_note_begin(const char *image, const char *overlay);
void overlay_note_undo(const char *image);
int overlay_note(const char *image, const char *overlay);
bool overlay_note_read(const char *image, char overlay[PATH_MAX]);
void overlay_note_forget(const char *image);
bool overlay_lies_on(const char *path, const struct stat *below);
bool overlay_note_find(const struct image *img, char overlay[PATH_MAX]);

#endif
