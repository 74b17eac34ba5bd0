// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether backups that lie on each other belong together, by what each says of itself: Documentation/backup.rst.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mark-chain.h"

__attribute__((format(printf, 2, 3)))
static bool wrong(char why[MARK_WHY_BYTES], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, MARK_WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/**
 * mark_is_right() - whether an image is the backup that it was, in the place where it was
 * @above: what the image above it says of itself, or NULL for the top
 * @namer: the name of that image
 * @m: what this one says; of one that says nothing all is 0
 * @is_last: it lies on nothing
 * @why: set to why not
 */
bool mark_is_right(const struct mark *above, const char *namer, const struct mark *m, bool is_last,
		   char why[MARK_WHY_BYTES])
{
	if (above && *above->token && !*above->base)
		return wrong(why, "%s was made as a backup that lies on nothing, and now lies on it",
			     namer);
	if (above && *above->token && strcmp(above->base, m->token) != 0)
		return wrong(why, "it is not the backup that %s was made on", namer);
	if (*m->token && m->is_changed)
		return wrong(why, "it was written to since it was made as a backup");
	if (is_last && *m->base)
		return wrong(why, "it was made as a backup that lies on another, and now lies on nothing");
	return true;
}
