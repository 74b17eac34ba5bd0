/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The room of metadata: what it shows to those behind it.
 */
#ifndef DM_QCOW2_META_H
#define DM_QCOW2_META_H

#include "barrier.h"
#include "cache.h"
#include "commit.h"
#include "full.h"
#include "header-io.h"
#include "image.h"
#include "overlap.h"
#include "writeback.h"

#endif /* DM_QCOW2_META_H */
