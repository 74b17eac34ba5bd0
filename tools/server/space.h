/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_SPACE_H
#define VBLK_SPACE_H

#include <stdbool.h>

bool space_say_awaited(const char *disk);
bool space_fail_writes(const char *disk, bool *was_queue);
void space_queue_writes(const char *disk);

#endif
