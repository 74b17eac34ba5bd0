// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU time of those who work for a disk: threads of dm-qcow2, called qcow2_WORK/MAJOR:MINOR; and its server, of
 * which the workers of vhost_blk are threads.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "threads.h"

static uint64_t to_ms(uintmax_t ticks)
{
	return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

/** threads_process_cpu_ms() - of all threads that a process has or had; 0 when there is none */
uint64_t threads_process_cpu_ms(pid_t pid)
{
	uintmax_t user, kernel;
	char path[32], line[1024];
	const char *end;
	uint64_t ms = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	/* The name, in brackets, may have anything in it. */
	end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (end && sscanf(end, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ju %ju",
			  &user, &kernel) == 2)
		ms = to_ms(user + kernel);
	fclose(f);
	return ms;
}

static int read_name(const char *pid, char *name, size_t size)
{
	char path[64];
	FILE *f;
	int ok;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	ok = fgets(name, size, f) != NULL;
	fclose(f);
	return ok ? 0 : -1;
}

static void add(struct threads *t, dev_t dev, pid_t pid)
{
	struct thread *grown = realloc(t->list, (t->n + 1) * sizeof(*grown));

	if (!grown)
		return;
	t->list = grown;
	grown[t->n++] = (struct thread) {
		.pid = pid, .dev = dev, .cpu_ms = threads_process_cpu_ms(pid),
	};
}

static int by_pid(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* A thread that was not there is new, and all that it has used is. */
static void compare(struct threads *t, const struct threads *before)
{
	const struct thread *was;
	struct thread *is;

	if (t->n)
		qsort(t->list, t->n, sizeof(*t->list), by_pid);
	for (size_t i = 0; i < t->n; i++) {
		is = &t->list[i];
		was = before->n ? bsearch(is, before->list, before->n, sizeof(*was), by_pid) : NULL;
		is->grown_ms = is->cpu_ms;
		if (was && was->dev == is->dev && was->cpu_ms <= is->cpu_ms)
			is->grown_ms -= was->cpu_ms;
	}
}

/** threads_find() - look for them; threads_free() is due */
void threads_find(struct threads *t, const struct threads *before)
{
	unsigned int dev_major, dev_minor;
	struct dirent *entry;
	char name[80];
	DIR *dir;

	*t = (struct threads){};
	dir = opendir("/proc");
	while (dir && (entry = readdir(dir)))
		if (*entry->d_name >= '1' && *entry->d_name <= '9' &&
		    read_name(entry->d_name, name, sizeof(name)) == 0 &&
		    sscanf(name, "qcow2_%*[a-z]/%u:%u", &dev_major, &dev_minor) == 2)
			add(t, makedev(dev_major, dev_minor), atoi(entry->d_name));
	if (dir)
		closedir(dir);
	compare(t, before);
}

/** threads_free() - forget them */
void threads_free(struct threads *t)
{
	free(t->list);
	*t = (struct threads){};
}

/** threads_grown_ms() - what those of a device have used since they were looked for before */
uint64_t threads_grown_ms(const struct threads *t, dev_t dev)
{
	uint64_t ms = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].dev == dev)
			ms += t->list[i].grown_ms;
	return ms;
}
