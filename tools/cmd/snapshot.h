/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_SNAPSHOT_H
#define VBLK_SNAPSHOT_H

#include <stdbool.h>

#include "attached.h"
#include "disk/bitmaps.h"
#include "disk/image.h"
#include "disk/layers.h"
#include "disk/live.h"
#include "disk/overlay.h"

/**
 * struct change - another chain for a disk, on its way
 * @a: the disk, locked
 * @chain: its images as they are
 * @overlay: the new one
 * @top: the same, open
 * @has_noted_top: /run/vblk says that the overlay is the disk's top
 * @may_be_suspended: the disk is taken as it is
 * @may_have_data_file: the chain stays as it is, so its images may have data files
 * @is_dry: nothing is to be changed
 * @bitmaps: of its image; the overlay goes on with those that record
 * @pause: connection to the server that keeps its queues stopped, or -1
 * @node: the device, open for nobody else who wants it so, or -1
 */
struct change {
	struct attached a;
	struct live_chain chain;
	struct overlay overlay;
	struct image top;
	bool has_noted_top;
	bool may_be_suspended;
	bool may_have_data_file;
	bool is_dry;
	struct bitmaps bitmaps;
	int pause;
	int node;
};

#define CHANGE_NONE	{ .top.fd = -1, .overlay.dir = -1, .overlay.fd = -1, .pause = -1, .node = -1 }

/* change-apart.c */
int change_apart(struct change *c, int (*work)(struct change *c, void *arg), void *arg,
		 const char *what);

/* change.c */
int change_begin(struct change *c);
void change_end(struct change *c);
int change_claim_disk(struct change *c);
void change_drop_page_cache(const struct change *c);
int change_name_overlay(struct change *c, size_t below, const char *suffix, const char *file);
int change_name_overlay_by_time(struct change *c, size_t below, const char *prefix, const char *file);
int change_make_overlay(struct change *c, size_t below);
int change_check_overlay(struct change *c, size_t below);
bool change_has_bitmaps(const struct change *c);
int change_read_bitmaps(struct change *c);
void change_forget_top(const struct change *c);
void change_tell_top(const struct change *c, const char *old, const char *new);
int change_switch(struct change *c, size_t below);

/**
 * struct snapshot - a state that a disk has had
 * @name: of the snapshot: what comes behind the last dot in the name of @overlay; "" where that
 *	is not called as the image below it
 * @image: path of the image that has the state
 * @overlay: path of the image over that one
 */
struct snapshot {
	const char *name;
	const char *image;
	const char *overlay;
};

/* snapshot.c */
int snapshot_switch(struct change *c);

/* snapshot-list.c */
const char *snapshot_name(const char *image, const char *overlay);
void snapshot_of_layer(const struct layers *layers, size_t overlay, struct snapshot *s);
int snapshot_list(const struct attached *a, bool as_json);
int snapshot_find(const struct attached *a, const char *arg, struct layers *layers,
		  size_t *overlay);
int snapshot_print(const struct attached *a, const struct snapshot *s, bool as_json);

/* snapshot-revert.c */
int snapshot_remove_image(const struct live_image *img, const char *from);
int snapshot_check_whole(const struct change *c);
void snapshot_say_left(const struct live_image *img, int err);
int snapshot_revert(struct change *c, const char *arg, const char *file, bool as_json);

/* snapshot-delete.c */
int snapshot_delete(struct change *c, const char *arg, bool as_json);

#endif
