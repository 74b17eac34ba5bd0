/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_JOB_LEFT_H
#define VBLK_JOB_LEFT_H

void job_left_clean(void);
void job_left_tell(const char *disk);

#endif
