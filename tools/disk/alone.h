/* SPDX-License-Identifier: GPL-2.0-only */
/* A top that lies on nothing any more. */
#ifndef VBLK_ALONE_H
#define VBLK_ALONE_H

#include "dm-qcow2/format/header.h"
#include "live.h"

int alone_make(const struct live_chain *c, const struct qcow2_header *h, const char *name);
int alone_undo(const struct live_chain *c, const struct qcow2_header *h);

#endif
