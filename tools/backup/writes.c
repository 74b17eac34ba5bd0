// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether a block device has been written to, as the kernel counts it: what is on one that has not been must not be lost.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "writes.h"

/* Whoever wants no statistics has none; a partition has them of its disk. */
static bool is_counted(const char *sys)
{
	static const char *const where[] = { "queue/iostats", "../queue/iostats" };
	char path[96];
	int is_on = 0;
	FILE *f;

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", sys, where[i]);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%d", &is_on) != 1)
			is_on = 0;
		fclose(f);
		return is_on;
	}
	return false;
}

/**
 * writes_count() - how many writes and discards there have been
 *
 * Return: UINT64_MAX when the kernel does not say.
 */
uint64_t writes_count(int fd)
{
	unsigned long long writes, discards = 0;
	char sys[48], path[64];
	struct stat st;
	FILE *f;
	int n;

	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return UINT64_MAX;
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	snprintf(path, sizeof(path), "%s/stat", sys);
	f = is_counted(sys) ? fopen(path, "re") : NULL;
	if (!f)
		return UINT64_MAX;
	n = fscanf(f, "%*u %*u %*u %*u %llu %*u %*u %*u %*u %*u %*u %llu", &writes, &discards);
	fclose(f);
	return n >= 1 ? writes + discards : UINT64_MAX;
}

/**
 * writes_were_made() - whether there have been any since
 * @before: from writes_count()
 *
 * What is not known counts as written to.
 */
bool writes_were_made(int fd, uint64_t before)
{
	return before == UINT64_MAX || writes_count(fd) != before;
}
