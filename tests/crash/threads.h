/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that all do the same. */
#ifndef CRASH_THREADS_H
#define CRASH_THREADS_H

#include <pthread.h>
#include <stdint.h>

/* @work is called with the number of its thread. Whoever cannot have them ends the program. */
pthread_t *threads_start(uint64_t nr, void *(*work)(void *number));
void threads_join(pthread_t *threads, uint64_t nr);

#endif
