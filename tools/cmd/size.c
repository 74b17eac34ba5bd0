// SPDX-License-Identifier: GPL-2.0-only
/* Numbers and sizes as people write them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "size.h"

/**
 * number_parse() - read a number
 * @what: the option or argument that it is, for messages
 * @value: set to it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int number_parse(const char *what, const char *text, unsigned int min,
		 unsigned int max, unsigned int *value)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n < min || n > max)
		return err_report(VBLK_USAGE, what,
				  "'%s' is not a number from %u to %u", text,
				  min, max);
	*value = n;
	return VBLK_OK;
}

/**
 * size_parse() - read a size: digits, and perhaps one of the units that vblk-list prints
 * @what: the option or argument that it is, for messages
 * @bytes: set to it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int size_parse(const char *what, const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTPE";
	unsigned int shift = 0;
	const char *unit;
	uintmax_t n;
	char *end;

	errno = 0;
	n = strtoumax(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (errno || *end || *text < '0' || *text > '9' || n > UINT64_MAX >> shift)
		return err_report(VBLK_USAGE, what,
				  "'%s' is not a size: a number of bytes, or of KiB, MiB... with K, M, G, T, P or E behind it",
				  text);
	*bytes = (uint64_t)n << shift;
	return VBLK_OK;
}

/**
 * bandwidth_parse() - read the value of --bandwidth
 * @bandwidth: set to it, bytes a second
 *
 * Return: an exit code; what is wrong has been reported.
 */
int bandwidth_parse(const char *text, uint64_t *bandwidth)
{
	int ret = size_parse("--bandwidth", text, bandwidth);

	if (ret || *bandwidth)
		return ret;
	return err_report(VBLK_USAGE, "--bandwidth", "at least a byte a second");
}
