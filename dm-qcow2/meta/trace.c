// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracepoints of all rooms.
 */
#define CREATE_TRACE_POINTS
#include "trace.h"
