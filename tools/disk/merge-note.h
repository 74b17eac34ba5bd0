/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_MERGE_NOTE_H
#define VBLK_MERGE_NOTE_H

#include "live.h"

int merge_note(const struct live_image *into, const struct live_image *merged);
void merge_note_forget(const struct live_image *into, const struct live_image *merged);
bool merge_note_find(const struct live_chain *c, size_t *merged, size_t *into);

#endif
