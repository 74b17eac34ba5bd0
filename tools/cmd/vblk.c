// SPDX-License-Identifier: GPL-2.0-only
/* The vblk program: `vblk VERB ...`, or `vblk-VERB ...` by the name it has. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "err.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} verbs[] = {
	{ "attach", cmd_attach, "map a qcow2 image and serve it to a guest" },
	{ "backup", cmd_backup, "copy a disk as it is now while it goes on" },
	{ "bitmap", cmd_bitmap, "record what changes of a disk" },
	{ "control", cmd_control, "ask a disk's server something" },
	{ "detach", cmd_detach, "stop serving a disk and let its image go" },
	{ "export", cmd_export, "serve a disk as it is now to NBD clients" },
	{ "freeze", cmd_freeze, "show a disk as it is now while it goes on" },
	{ "list", cmd_list, "list attached disks" },
	{ "resize", cmd_resize, "make a disk larger while it is in use" },
	{ "restore", cmd_restore, "put a backup back, as an image or on a device" },
	{ "snapshot", cmd_snapshot, "leave a disk's image as it is, and write to an overlay" },
	{ "thaw", cmd_thaw, "end what vblk-freeze has begun" },
};

#define NR_VERBS	(sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < NR_VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static void print_verbs(FILE *f)
{
	size_t i;

	fputs("Usage: vblk VERB [OPTION...] [ARGUMENT...]\n\n", f);
	for (i = 0; i < NR_VERBS; i++)
		fprintf(f, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n`vblk VERB --help` tells more; so does vblk-VERB(8).\n", f);
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
	static char prog[32];

	/* getopt names the program in its messages. */
	snprintf(prog, sizeof(prog), "vblk-%s", verb->name);
	argv[0] = prog;
	err_init(verb->name);
	return verb->run(argc, argv);
}

/** cmd_block_signals() - from here on ^C, or a closed pipe, would leave half of it */
void cmd_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/**
 * cmd_usage_error() - end a line about bad arguments with where to look
 *
 * Return: the exit code for it.
 */
int cmd_usage_error(const char *verb)
{
	err_hint("vblk %s --help", verb);
	return VBLK_USAGE;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	const struct verb *verb;

	base = base ? base + 1 : argv[0];
	if (!strncmp(base, "vblk-", 5)) {
		verb = find_verb(base + 5);
		if (verb)
			return run_verb(verb, argc, argv);
	}
	if (argc < 2) {
		print_verbs(stderr);
		return VBLK_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		print_verbs(stdout);
		return VBLK_OK;
	}
	verb = find_verb(argv[1]);
	if (verb)
		return run_verb(verb, argc - 1, argv + 1);
	err_report(VBLK_USAGE, argv[1], "no such verb");
	err_hint("vblk --help");
	return VBLK_USAGE;
}
