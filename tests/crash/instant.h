/* SPDX-License-Identifier: GPL-2.0-only */
/* Is a disk what another one held at one instant? */
#ifndef CRASH_INSTANT_H
#define CRASH_INSTANT_H

#include "journal.h"

/*
 * Check that @disk holds what the writer's disk held at some instant of @j: with each write that it shows, it shows all that
 * had completed before that one was submitted. Prints how many of the writes had been submitted by then. Returns the
 * number of sectors that are wrong, and describes the first few on standard error; exits if @disk cannot be read.
 */
unsigned int instant_verify(const struct journal *j, const char *disk);

#endif
