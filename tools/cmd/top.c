// SPDX-License-Identifier: GPL-2.0-only
/* vblk-top: what disks do now, again and again. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "err.h"
#include "out.h"
#include "rates.h"
#include "top.h"

#define MAX_SECONDS	86400

static const char help[] =
"Usage: vblk-top [OPTION...] [DISK...]\n"
"\n"
"Show what the disks do, all of them if none is named, every few seconds; those\n"
"with the most requests first.\n"
"\n"
"  -d, --delay SECONDS    how often (2)\n"
"  -n, --count N          end behind so many (never)\n"
"      --latency          measure percentiles; stops each disk for a moment first\n"
"      --json             print an object a line\n"
"  -h, --help             print this\n"
"\n"
"IOPS, RMIB, WMIB       requests completed, and MiB read and written, in a second\n"
"MEAN, P50, P99         how long requests took, and half, and 99 in 100 at most\n"
"QUEUE                  requests under way\n"
"HIT                    look-ups of metadata that the cache had, in percent\n"
"FILL, DROP, WAIT       clusters to be filled up, and to be freed; requests that\n"
"                       wait for space on the host\n"
"CPU                    of server and image threads; 100 is a whole processor\n";

static const struct option options[] = {
	{ "delay", required_argument, NULL, 'd' },
	{ "count", required_argument, NULL, 'n' },
	{ "latency", no_argument, NULL, 'l' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @seconds: between two looks
 * @count: how many are printed, 0: all
 * @measures: percentiles are wanted
 * @as_json: print JSON
 * @help: print the help
 */
struct args {
	double seconds;
	unsigned long count;
	bool measures;
	bool as_json;
	bool help;
};

static int parse_seconds(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	if (end == text || *end || !(*seconds >= 0.1 && *seconds <= MAX_SECONDS))
		return err_report(VBLK_USAGE, "-d", "not a number of seconds, from 0.1 to %d",
				  MAX_SECONDS);
	return VBLK_OK;
}

static int parse_count(const char *text, unsigned long *count)
{
	char *end;

	errno = 0;
	*count = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || !*count)
		return err_report(VBLK_USAGE, "-n", "not a number from 1 on");
	return VBLK_OK;
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "d:n:h", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			if (parse_seconds(optarg, &args->seconds))
				return VBLK_USAGE;
			break;
		case 'n':
			if (parse_count(optarg, &args->count))
				return VBLK_USAGE;
			break;
		case 'l':
			args->measures = true;
			break;
		case 'j':
			args->as_json = true;
			break;
		case 'h':
			args->help = true;
			break;
		default:
			return VBLK_USAGE;
		}
	}
	return VBLK_OK;
}

static double until(const struct timespec *due)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return due->tv_sec - now.tv_sec + (due->tv_nsec - now.tv_nsec) / 1e9;
}

static void wait_until(struct timespec *due, double seconds)
{
	uint64_t ns = seconds * 1e9 + due->tv_nsec;

	due->tv_sec += ns / 1000000000;
	due->tv_nsec = ns % 1000000000;
	/* Who has been stopped, or waited for long, does not catch up. */
	if (until(due) < seconds / 2) {
		clock_gettime(CLOCK_MONOTONIC, due);
		ns = seconds * 1e9 + due->tv_nsec;
		due->tv_sec += ns / 1000000000;
		due->tv_nsec = ns % 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, due, NULL) == EINTR)
		;
}

static int run(const struct args *args, char *const names[], size_t nr_names)
{
	struct rates rates;
	struct timespec due;
	int ret;

	rates_init(&rates, args->measures);
	clock_gettime(CLOCK_MONOTONIC, &due);
	ret = rates_look(&rates, names, nr_names);
	for (unsigned long i = 0; !ret && (!args->count || i < args->count); i++) {
		wait_until(&due, args->seconds);
		ret = rates_look(&rates, names, nr_names);
		if (!ret)
			ret = args->as_json ? top_print_json(&rates) : top_print(&rates);
	}
	rates_exit(&rates);
	return ret;
}

/** cmd_top() - the verb */
int cmd_top(int argc, char **argv)
{
	struct args args = { .seconds = 2 };
	int ret, err;

	if (parse(&args, argc, argv))
		return cmd_usage_error("top");
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	ret = dmdev_init();
	if (ret)
		return ret;
	err = args.measures ? latency_init() : 0;
	if (err)
		return err_errno(-err, NULL, "cannot start a process");
	return run(&args, argv + optind, argc - optind);
}
