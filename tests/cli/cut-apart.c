// SPDX-License-Identifier: GPL-2.0-only
/*
 * cut-apart.so: kill the processes that a verb forks, or let a call of theirs fail (LD_PRELOAD).
 *
 * What is done while a device is suspended a process of its own does. strace counts the calls of each process by itself, and
 * would kill the verb at the N-th of its own first. Here the calls that change something are counted over all forks of the
 * program, but not of those that it runs: CUT_APART="N kill" or "N EIO" is for the N-th, before anything of it is done, and CUT_APART_LOG is a
 * file that gets a line for each.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static pid_t verb; /* the process that is none of its forks */
static unsigned int *count; /* shared by all of them */
static unsigned int cut_at;
static bool kills;

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("CUT_APART");
	char how[8] = "";

	verb = getpid();
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (count == MAP_FAILED || (text && sscanf(text, "%u %7s", &cut_at, how) != 2))
		abort();
	kills = !strcmp(how, "kill");
	/* Programs that it runs are not meant. */
	unsetenv("LD_PRELOAD");
}

static void log_call(const char *what)
{
	const char *path = getenv("CUT_APART_LOG");
	char line[64];
	int fd, n;

	if (!path)
		return;
	n = snprintf(line, sizeof(line), "%u %s\n", *count, what);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, n) != n)
		abort();
	close(fd);
}

/* Whether the call is to fail. */
static bool is_cut(const char *what)
{
	if (getpid() == verb)
		return false;
	++*count;
	log_call(what);
	if (*count != cut_at)
		return false;
	if (kills)
		kill(getpid(), SIGKILL);
	errno = EIO;
	return true;
}

static const char *name_of(unsigned long request)
{
	switch (request) {
	case DM_DEV_CREATE:
		return "create";
	case DM_DEV_REMOVE:
		return "remove";
	case DM_DEV_SUSPEND:
		return "suspend";
	case DM_TABLE_LOAD:
		return "load";
	case DM_TABLE_CLEAR:
		return "clear";
	default:
		return NULL;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int fd, unsigned long request, ...) = dlsym(RTLD_NEXT, "ioctl");
	const char *what = name_of(request);
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	return what && is_cut(what) ? -1 : real(fd, request, arg);
}

ssize_t pwrite64(int fd, const void *buf, size_t bytes, off64_t offset)
{
	ssize_t (*real)(int fd, const void *buf, size_t bytes, off64_t offset) = dlsym(RTLD_NEXT, "pwrite64");

	return is_cut("pwrite") ? -1 : real(fd, buf, bytes, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t bytes, off_t offset)
{
	return pwrite64(fd, buf, bytes, offset);
}

int fsync(int fd)
{
	int (*real)(int fd) = dlsym(RTLD_NEXT, "fsync");

	return is_cut("fsync") ? -1 : real(fd);
}

int fdatasync(int fd)
{
	int (*real)(int fd) = dlsym(RTLD_NEXT, "fdatasync");

	return is_cut("fdatasync") ? -1 : real(fd);
}

int unlink(const char *path)
{
	int (*real)(const char *path) = dlsym(RTLD_NEXT, "unlink");

	return is_cut("unlink") ? -1 : real(path);
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *from, const char *to) = dlsym(RTLD_NEXT, "rename");

	return is_cut("rename") ? -1 : real(from, to);
}
