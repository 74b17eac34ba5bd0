// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-serve: serve a block device to a guest through /dev/vhost-blk, as vblk-attach does its own devices, until a
 * signal comes. For measurements: what vhost_blk does where no qcow2 image is below.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "server/server.h"

static const char help[] =
"usage: vhost-serve [OPTION]... DEVICE SOCKET\n"
"\n"
"DEVICE is the name of a block device in /dev, SOCKET the path to listen on.\n"
"\n"
"  --queues=N        request queues (1)\n"
"  --workers=N       kernel threads that serve them (one a queue)\n"
"  --poll-us=N       how long they look for requests before they sleep (50)\n"
"  --batch           they have the policy SCHED_BATCH\n";

static unsigned int number(const char *text, unsigned int max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || n > max)
		errx(2, "%s: not a number up to %u", text, max);
	return n;
}

static void parse(int argc, char **argv, struct serving *serving)
{
	static const struct option known[] = {
		{ "queues", required_argument, NULL, 'q' },
		{ "workers", required_argument, NULL, 'w' },
		{ "poll-us", required_argument, NULL, 'p' },
		{ "batch", no_argument, NULL, 'b' },
		{}
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'q')
			serving->queues = number(optarg, SERVER_MAX_QUEUES);
		else if (option == 'w')
			serving->workers = number(optarg, SERVER_MAX_QUEUES);
		else if (option == 'p')
			serving->poll_us = number(optarg, 1000000);
		else if (option == 'b')
			serving->batch = true;
		else
			exit((fputs(help, stderr), 2));
	}
	if (argc - optind != 2)
		exit((fputs(help, stderr), 2));
}

/* The server looks for devices in /dev/mapper, and a name that leads out of it is as good. */
static void find_device(const char *name, struct dmdev *d)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/%s", name);
	if (stat(path, &st) < 0)
		err(1, "%s", path);
	if ((size_t)snprintf(d->name, sizeof(d->name), "../%s", name) >= sizeof(d->name))
		errx(2, "%s: name too long", name);
	d->dev = st.st_rdev;
}

int main(int argc, char **argv)
{
	struct serving serving = { .queues = 1, .queue_size = 128, .poll_us = DEFAULT_POLL_US };
	struct dmdev d = {};
	struct server *server;
	int ret;

	parse(argc, argv, &serving);
	find_device(argv[optind], &d);
	if ((size_t)snprintf(serving.socket, sizeof(serving.socket), "%s", argv[optind + 1]) >= sizeof(serving.socket))
		errx(2, "%s: path too long", argv[optind + 1]);
	/* What the server claims. */
	if ((size_t)snprintf(serving.name, sizeof(serving.name), "%s", argv[optind]) >= sizeof(serving.name))
		errx(2, "%s: name too long", argv[optind]);
	snprintf(serving.serial, sizeof(serving.serial), "%s", argv[optind]);
	ret = server_open(&d, &serving, false, &server);
	if (ret)
		return ret;
	ret = server_run(server);
	server_close(server);
	return ret;
}
