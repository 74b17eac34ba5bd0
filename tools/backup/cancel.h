/* SPDX-License-Identifier: GPL-2.0-only */
/* A long job that is asked to end. */
#ifndef VBLK_CANCEL_H
#define VBLK_CANCEL_H

#include <stdbool.h>

/* So often somebody who waits looks. */
#define CANCEL_POLL_MS	200

void cancel_init(void);
void cancel_wake_up(bool on);
bool cancel_asked(void);
void cancel_undo(void);

#endif
