// SPDX-License-Identifier: GPL-2.0-only
/*
 * crash-warm.so: keep a program started and ready (LD_PRELOAD).
 *
 * Loading and linking qemu-img takes ten times as long as checking a small image, and there are thousands to check. With this
 * library it stops just before main(), with the arguments that it was given, and for each byte read from descriptor WARM_FD
 * a fork of it runs main() and the wait status comes back on the same descriptor.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int main_fn(int argc, char **argv, char **envp);
typedef int start_fn(main_fn *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		     void (*rtld_fini)(void), void *stack_end);

static main_fn *real_main;

static int warm_main(int argc, char **argv, char **envp)
{
	const char *text = getenv("WARM_FD");
	int fd = text ? atoi(text) : -1;
	int status;
	char byte;
	pid_t pid;

	while (fd >= 0 && read(fd, &byte, 1) == 1) {
		pid = fork();
		if (!pid) {
			close(fd);
			return real_main(argc, argv, envp);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || write(fd, &status, sizeof(status)) != sizeof(status))
			return 1;
	}
	return fd < 0 ? real_main(argc, argv, envp) : 0;
}

int __libc_start_main(main_fn *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_fn *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	start_fn *start = (start_fn *)dlsym(RTLD_NEXT, "__libc_start_main");

	real_main = main;
	return start(warm_main, argc, argv, init, fini, rtld_fini, stack_end);
}
