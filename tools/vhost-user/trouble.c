// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a guest is not served: a line in the log when it happens, and a sentence
 * that vblk-list shows until a guest is served.
 *
 * A front-end that is refused tries again, every second or as often as its guest
 * likes: a line is not repeated within a minute, and there is a limit to others.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/err.h"
#include "trouble.h"

#define PERIOD_SECS	60
#define PERIOD_LINES	10

static bool may_log(struct trouble *t, const char *text)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!t->lines || now.tv_sec - t->since >= PERIOD_SECS) {
		if (t->lines > PERIOD_LINES)
			err_report(VBLK_FAILED, t->object,
				   "%u lines were left out",
				   t->lines - PERIOD_LINES);
		t->since = now.tv_sec;
		t->lines = 0;
	} else if (!strcmp(text, t->last)) {
		return false;
	}
	strcpy(t->last, text);
	return t->lines++ < PERIOD_LINES;
}

/** trouble_log() - a line of the log, if there were not many before it */
void trouble_log(struct trouble *t, const char *fmt, ...)
{
	char text[TROUBLE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (may_log(t, text))
		err_report(VBLK_FAILED, t->object, "%s", text);
}

/** trouble_begin() - have vblk-list show why a guest is not served */
void trouble_begin(struct trouble *t, const char *problem)
{
	snprintf(t->problem, sizeof(t->problem), "%s", problem);
	t->show(t->claim, problem);
}

/** trouble_end() - a guest is served */
void trouble_end(struct trouble *t)
{
	if (!t->problem[0])
		return;
	t->problem[0] = '\0';
	t->show(t->claim, "");
}
