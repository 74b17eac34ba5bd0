/* SPDX-License-Identifier: GPL-2.0-only */
/* How much of a disk a backup by a bitmap copies. */
#ifndef VBLK_LEVEL_H
#define VBLK_LEVEL_H

#include <limits.h>
#include <stdbool.h>

#include "attached.h"

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
 * @is_incremental: only what has changed since @base is copied
 * @base: absolute path of the backup before
 * @must_add: there is no bitmap, or none that is of use
 * @must_remove: there is one of that name
 */
struct level_plan {
	bool is_incremental;
	char base[PATH_MAX];
	bool must_add;
	bool must_remove;
};

int level_parse(const char *text, enum level *level);
int level_plan(const struct attached *a, const char *bitmap, enum level level,
	       struct level_plan *plan);
int level_confirm(const struct attached *a, const char *bitmap, const struct level_plan *plan);
int level_prepare(const struct attached *a, const char *bitmap, const struct level_plan *plan);
int level_check_view(const struct attached *a, const char *bitmap, const char *view);
int level_report_differs(const struct attached *a, const char *bitmap);
int level_note(const struct attached *a, const char *bitmap, const char *target, const char *view);

#endif
