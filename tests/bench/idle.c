// SPDX-License-Identifier: GPL-2.0-only
/* Idle time to the nanosecond, which only /proc/timer_list has; it is for root. */
#include "idle.h"

#include <err.h>
#include <stdio.h>

uint64_t idle_ns(void)
{
	FILE *list = fopen("/proc/timer_list", "r");
	unsigned long long ns;
	uint64_t sum = 0;
	char line[256];

	if (!list)
		err(1, "/proc/timer_list");
	while (fgets(line, sizeof(line), list))
		if (sscanf(line, " .idle_sleeptime : %llu", &ns) == 1 ||
		    sscanf(line, " .iowait_sleeptime : %llu", &ns) == 1)
			sum += ns;
	fclose(list);
	return sum;
}
