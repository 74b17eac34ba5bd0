/* SPDX-License-Identifier: GPL-2.0-only */
/* Commits and flattens that have not ended. */
#ifndef VBLK_RESUME_H
#define VBLK_RESUME_H

#include <stdbool.h>

int resume_report_unreadable(const char *disk, int err);
int resume_list(bool as_json);

#endif
