// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long requests of a device take: the device mapper's statistics, with a histogram (the kernel's
 * Documentation/admin-guide/device-mapper/statistics.rst).
 *
 * To make a region the kernel holds all requests of the device back until none is under way, which takes as long as
 * the slowest of them; so that is never done unasked, and a child of ours does it: we go on. A region costs each request
 * something, so the child removes ours when we end, however that is: it waits for the end of a pipe. Should
 * somebody end that one, too, the next to look removes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/dm.h"
#include "err.h"
#include "latency.h"

#define PROGRAM		"vblk-top"
#define MIN_BOUND_NS	10000ULL
#define STEPS		6

/* Longer than any disk: one that grows is measured where it has grown, too. */
#define RANGE		"0+4503599627370496"

/* Of a region: whose it is, PID-START-NAMESPACE. */
static char owner[80];
static int to_child = -1;

/* Six to a decade: 10 us, 15 us ... 700 s, 1000 s. */
static uint64_t bound_ns(unsigned int bucket)
{
	static const unsigned int tenths[STEPS] = { 10, 15, 20, 30, 50, 70 };
	uint64_t ns = MIN_BOUND_NS;

	for (unsigned int i = 0; i < bucket / STEPS; i++)
		ns *= 10;
	return ns * tenths[bucket % STEPS] / 10;
}

/* When a process was started, in ticks; 0 when there is none. */
static uintmax_t start_of(pid_t pid)
{
	char path[32], line[1024];
	uintmax_t start = 0;
	const char *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (!end || sscanf(end, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			   " %*s %*s %ju", &start) != 1)
		start = 0;
	fclose(f);
	return start;
}

static uintmax_t pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* Of another namespace nobody here can tell. */
static bool is_abandoned(const char *whose)
{
	uintmax_t start, ns;
	int pid;

	return sscanf(whose, "%d-%ju-%ju", &pid, &start, &ns) == 3 && ns == pid_namespace() &&
	       start_of(pid) != start;
}

/*
 * A line a region: "ID: START+LENGTH STEP PROGRAM AUX_DATA ...". Return: the next one's number, -1 behind the last one;
 * @whose is set to whose it is. @list moves on.
 */
static int next_region(char **list, char *whose, size_t size)
{
	char *line, text[80];
	int id;

	while ((line = strsep(list, "\n"))) {
		if (sscanf(line, "%d: %*s %*s " PROGRAM " %79s", &id, text) == 2) {
			snprintf(whose, size, "%s", text);
			return id;
		}
	}
	return -1;
}

static void remove_regions(const char *device, bool are_ours)
{
	char message[32], whose[80], *list, *at;
	int id;

	if (dmdev_ask(device, "@stats_list " PROGRAM, &list))
		return;
	at = list;
	while ((id = next_region(&at, whose, sizeof(whose))) >= 0) {
		if (!(are_ours && !strcmp(whose, owner)) && !is_abandoned(whose))
			continue;
		snprintf(message, sizeof(message), "@stats_delete %d", id);
		dmdev_message(device, message);
	}
	free(list);
}

static void remove_all(bool are_ours)
{
	struct dmdev *devs;
	size_t n;

	if (dmdev_list(true, &devs, &n))
		return;
	for (size_t i = 0; i < n; i++)
		remove_regions(devs[i].name, are_ours);
	free(devs);
}

static int find_region(const char *device)
{
	char whose[80], *list, *at;
	int id;

	if (dmdev_ask(device, "@stats_list " PROGRAM, &list))
		return -1;
	at = list;
	do {
		id = next_region(&at, whose, sizeof(whose));
	} while (id >= 0 && strcmp(whose, owner) != 0);
	free(list);
	return id;
}

static void make_region(const char *device)
{
	char message[1024], *answer = NULL;
	size_t len;

	if (find_region(device) >= 0)
		return;
	len = snprintf(message, sizeof(message),
		       "@stats_create " RANGE " /1 2 precise_timestamps histogram:");
	for (unsigned int i = 0; i < LATENCY_BUCKETS - 1; i++)
		len += snprintf(message + len, sizeof(message) - len, "%s%" PRIu64, i ? "," : "",
				bound_ns(i));
	snprintf(message + len, sizeof(message) - len, " " PROGRAM " %s", owner);
	dmdev_ask(device, message, &answer);
	free(answer);
}

/* Whoever sends signals to all of a terminal's processes means our parent. */
static void serve(int fd)
{
	char *line = NULL;
	size_t size = 0;
	FILE *from;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int i = 0; i <= STDERR_FILENO; i++)
		close(i);
	from = fdopen(fd, "r");
	while (from && getline(&line, &size, from) > 0) {
		line[strcspn(line, "\n")] = '\0';
		make_region(line);
	}
	remove_all(true);
	_exit(0);
}

/**
 * latency_init() - be able to measure
 *
 * Return: 0 or -errno.
 */
int latency_init(void)
{
	int fds[2];
	pid_t child;

	snprintf(owner, sizeof(owner), "%d-%ju-%ju", getpid(), start_of(getpid()), pid_namespace());
	/* Standard ones that are closed would be the pipe. */
	for (int i = 0; i <= STDERR_FILENO; i++)
		if (fcntl(i, F_GETFD) < 0)
			open("/dev/null", O_RDWR);
	remove_all(false);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (!child) {
		close(fds[1]);
		serve(fds[0]);
	}
	close(fds[0]);
	if (child < 0) {
		close(fds[1]);
		return -errno;
	}
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	to_child = fds[1];
	return 0;
}

/** latency_want() - have a device measured soon; may be said again */
void latency_want(const char *device)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%s\n", device);

	/* If it does not take it now, it is asked again. */
	if (write(to_child, line, n) < 0)
		return;
}

static void parse_buckets(const char *text, struct latency *l)
{
	char *end;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		l->buckets[i] = strtoull(text, &end, 10);
		if (*end != ':')
			return;
		text = end + 1;
	}
}

/**
 * latency_read() - what has been counted since the last call
 * @device: name of the device
 * @l: filled in
 *
 * Return: 0, -ENOENT where nothing is measured yet, or another -errno.
 */
int latency_read(const char *device, struct latency *l)
{
	uint64_t reads, read_ns, writes, write_ns;
	char message[40], *answer;
	int region = find_region(device), err, at = 0;

	*l = (struct latency){};
	if (region < 0)
		return -ENOENT;
	snprintf(message, sizeof(message), "@stats_print_clear %d", region);
	err = dmdev_ask(device, message, &answer);
	if (err)
		return err;
	if (sscanf(answer, "%*s %" SCNu64 " %*s %*s %" SCNu64 " %" SCNu64 " %*s %*s %" SCNu64
		   " %*s %*s %*s %*s %*s %n", &reads, &read_ns, &writes, &write_ns, &at) == 4 && at) {
		parse_buckets(answer + at, l);
		l->count = reads + writes;
		l->mean_ns = l->count ? (read_ns + write_ns) / l->count : 0;
	} else {
		err = -EBADMSG;
	}
	free(answer);
	return err;
}

/**
 * latency_percentile_ns() - so many percent took no longer than that, by the bounds of the buckets
 *
 * Return: that; 0 if there was nothing, UINT64_MAX if it is more than the last bound.
 */
uint64_t latency_percentile_ns(const struct latency *l, unsigned int percent)
{
	uint64_t count = 0, seen = 0;

	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		count += l->buckets[i];
	if (!count)
		return 0;
	for (unsigned int i = 0; i < LATENCY_BUCKETS - 1; i++) {
		seen += l->buckets[i];
		if (seen * 100 >= count * percent)
			return bound_ns(i);
	}
	return UINT64_MAX;
}
