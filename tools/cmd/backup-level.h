/* SPDX-License-Identifier: GPL-2.0-only */
/* How much of a disk a backup by a bitmap copies: Documentation/backup.rst. */
#ifndef VBLK_LEVEL_H
#define VBLK_LEVEL_H

#include <limits.h>
#include <stdbool.h>

#include "attached.h"
#include "backup/mark.h"

/**
 * enum level - all of the disk, what has changed, or that if it is known
 */
enum level {
	LEVEL_AUTO,
	LEVEL_FULL,
	LEVEL_INCREMENTAL,
};

/**
 * struct level_plan - what is to be done
 * @mark: what the backup is to say of itself
 * @new: the bitmap that begins with it
 * @is_incremental: only what has changed since @base is copied
 * @old: the bitmap that says that
 * @base: absolute path of the backup before
 * @base_mtime_ns: when that was written to last
 * @there: the bitmaps that the disk had
 * @is_dry: nothing is to be changed
 */
struct level_plan {
	struct mark mark;
	char new[BITMAP_NAME_SIZE];
	bool is_incremental;
	char old[BITMAP_NAME_SIZE];
	char base[PATH_MAX];
	uint64_t base_mtime_ns;
	struct bitmaps there;
	bool is_dry;
};

int level_parse(const char *text, enum level *level);
int level_plan(const struct attached *a, const char *name, enum level level, bool is_dry,
	       struct level_plan *plan);
int level_prepare(const struct attached *a, const struct level_plan *plan);
int level_begin(const struct attached *a, const struct level_plan *plan, const char *view);
int level_report_differs(const struct attached *a, const struct level_plan *plan);
int level_note(const struct attached *a, const struct level_plan *plan, const char *target);
void level_free(struct level_plan *plan);
void level_take_back(const struct attached *a, const struct level_plan *plan);

#endif
