// SPDX-License-Identifier: GPL-2.0-only
/* The vblk programs: `vblk VERB ...`, or `vblk-VERB ...` by the name they have. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "err.h"

static const struct verb *find_verb(const char *name)
{
	const struct verb *verb;

	for (verb = program_verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

static void print_verbs(FILE *f)
{
	const struct verb *verb;

	fputs("Usage: vblk VERB [OPTION...] [ARGUMENT...]\n\n", f);
	for (verb = program_verbs; verb->name; verb++)
		fprintf(f, "  %-8s  %s\n", verb->name, verb->summary);
	fputs("\n`vblk VERB --help` tells more; so does vblk-VERB(8).\n", f);
}

/* The program beside this one. */
static int run_apart(char **argv)
{
	char path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return err_errno(n < 0 ? errno : ENOENT, argv[0], "cannot find it");
	strcpy(slash + 1, argv[0]);
	execv(path, argv);
	return err_errno(errno, path, "cannot run it");
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
	static char prog[32];

	/* getopt names the program in its messages. */
	snprintf(prog, sizeof(prog), "vblk-%s", verb->name);
	argv[0] = prog;
	err_init(verb->name);
	return verb->run ? verb->run(argc, argv) : run_apart(argv);
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
		if (verb && verb->run)
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
