/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_TOP_H
#define VBLK_TOP_H

#include "rates.h"

int top_print(const struct rates *r);
int top_print_json(const struct rates *r);

#endif
