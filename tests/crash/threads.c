// SPDX-License-Identifier: GPL-2.0-only
/* Threads that all do the same. */
#include <err.h>
#include <stdlib.h>

#include "threads.h"

pthread_t *threads_start(uint64_t nr, void *(*work)(void *number))
{
	pthread_t *threads = calloc(nr + 1, sizeof(*threads));
	uint64_t i;

	if (!threads)
		err(1, "threads");
	for (i = 0; i < nr; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i))
			errx(1, "cannot start a thread");
	return threads;
}

void threads_join(pthread_t *threads, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}
