/* SPDX-License-Identifier: GPL-2.0-only */
/* CPU time of kernel threads and of servers. */
#ifndef VBLK_THREADS_H
#define VBLK_THREADS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct threads - the kernel threads of images, as found now
 * @n: number of them
 * @list: by pid: the device that each is of, its CPU time, and how much of that it had not when they were
 *	looked for before
 */
struct threads {
	size_t n;
	struct thread {
		pid_t pid;
		dev_t dev;
		uint64_t cpu_ms;
		uint64_t grown_ms;
	} *list;
};

void threads_find(struct threads *t, const struct threads *before);
void threads_free(struct threads *t);
uint64_t threads_grown_ms(const struct threads *t, dev_t dev);
uint64_t threads_process_cpu_ms(pid_t pid);

#endif
