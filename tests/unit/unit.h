/* SPDX-License-Identifier: GPL-2.0-only */
/* <cmocka.h> and the headers that it wants before it. */
#ifndef UNIT_CMOCKA_H
#define UNIT_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
