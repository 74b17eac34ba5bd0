/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_NOTIFY_H
#define VBLK_NOTIFY_H

void notify_ready(void);

#endif
