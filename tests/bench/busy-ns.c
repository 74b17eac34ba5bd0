// SPDX-License-Identifier: GPL-2.0-only
/*
 * busy-ns: nanoseconds since boot in which the CPU was not idle. For a machine with one CPU: where time is counted in
 * instructions, these are all instructions so far, those of guests included.
 */
#include <stdio.h>
#include <time.h>
#include "idle.h"

int main(void)
{
	struct timespec now;
	uint64_t idle = idle_ns();

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%llu\n", (unsigned long long)(now.tv_sec * 1000000000ULL + now.tv_nsec - idle));
	return 0;
}
