// SPDX-License-Identifier: GPL-2.0-only
/* QEMU as the judge. */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"

static _Noreturn void become(const struct oracle *o, int ctl, const char *warm, char *const argv[])
{
	char text[16];

	snprintf(text, sizeof(text), "%d", ctl);
	setenv("WARM_FD", text, 1);
	setenv("LD_PRELOAD", warm, 1);
	setenv("LD_BIND_NOW", "1", 1);
	dup2(o->output, STDOUT_FILENO);
	dup2(o->output, STDERR_FILENO);
	execvp(argv[0], argv);
	_exit(127);
}

void oracle_start(struct oracle *o, const char *warm, char *const argv[])
{
	int pair[2];
	pid_t pid;

	*o = (struct oracle){ .output = memfd_create(argv[0], MFD_CLOEXEC) };
	if (o->output < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(1, "%s", argv[0]);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		close(pair[0]);
		become(o, pair[1], warm, argv);
	}
	close(pair[1]);
	o->ctl = pair[0];
}

static void read_output(struct oracle *o)
{
	off_t bytes = lseek(o->output, 0, SEEK_END);

	free(o->text);
	o->text = calloc(1, bytes + 1);
	if (!o->text || pread(o->output, o->text, bytes, 0) != bytes)
		err(1, "output of the oracle");
}

int oracle_ask(struct oracle *o)
{
	int status;

	/* The fork's standard output shares this offset. */
	if (ftruncate(o->output, 0) || lseek(o->output, 0, SEEK_SET))
		err(1, "output of the oracle");
	if (write(o->ctl, "", 1) != 1 || read(o->ctl, &status, sizeof(status)) != sizeof(status))
		errx(1, "the oracle does not run");
	read_output(o);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
