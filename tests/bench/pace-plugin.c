// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for QEMU's emulator that makes each processor execute so many instructions a second, and no more, by a clock
 * that is slower than ours. A machine of few processors so emulates one of many, which all make progress at once, and
 * what several of them do in a second can be measured by that clock.
 *
 *     -plugin file=pace-plugin.so,mips=N,divisor=N,control=FILE,report=FILE
 *
 * It does so while the control file exists, whose directory must. When that goes, the report gets a line
 * "BUSY-SECONDS LATE-SECONDS", by our clock and of all processors: how long they had instructions to execute, and by how
 * much this machine did not keep up with that. A processor that is late makes up for LATE_LIMIT_NS of it at most.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* What is needed of QEMU's plugin interface, version 1; its header is in no package. */
struct qemu_plugin_tb;
enum { QEMU_PLUGIN_CB_NO_REGS };
typedef uint64_t qemu_plugin_id;
typedef void (*qemu_plugin_cpu_fn)(qemu_plugin_id id, unsigned int cpu);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id id,
					   void (*callback)(qemu_plugin_id id,
							    struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*callback)(unsigned int cpu, void *data),
					  int flags, void *data);
void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id id, qemu_plugin_cpu_fn callback);
void qemu_plugin_register_vcpu_idle_cb(qemu_plugin_id id, qemu_plugin_cpu_fn callback);
void qemu_plugin_register_vcpu_resume_cb(qemu_plugin_id id, qemu_plugin_cpu_fn callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

/* Of tests/vm/divide-clock.diff. */
void qemu_plugin_divide_clock(unsigned int divisor);

/* What QEMU wants of a plugin. */
extern int qemu_plugin_version;
int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc, char **argv);

int qemu_plugin_version = 1;

enum {
	NR_CPUS = 64,
	/* Instructions between two looks at the clock. */
	QUANTUM = 2000,
	LATE_LIMIT_NS = 20000000,
};

/* Only the processor's own thread touches it, but for the sums. */
struct cpu {
	int64_t left;		/* instructions of the quantum */
	int64_t due;		/* when it may begin the next one, by the monotonic clock */
	unsigned int turn;	/* of pacing, for which due counts */
	_Atomic int64_t busy, late;
} __attribute__((aligned(128)));

static struct cpu cpus[NR_CPUS];
static int64_t quantum_ns;
static long divisor;
/* Odd while there is a pace. */
static atomic_uint turn;
static const char *control, *report;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until(int64_t ns)
{
	struct timespec until = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

/* What cannot be made up for any more. */
static void lose(struct cpu *cpu, int64_t now, int64_t limit)
{
	if (now - cpu->due > limit) {
		cpu->late += now - cpu->due - limit;
		cpu->due = now - limit;
	}
}

/* in_turn - true while there is a pace; a processor that has not kept one begins now. */
static bool in_turn(struct cpu *cpu)
{
	unsigned int current = turn;

	if (cpu->turn != current) {
		cpu->turn = current;
		cpu->due = now_ns();
		/* Its thread would sleep for 50 microseconds more than it is told to. */
		prctl(PR_SET_TIMERSLACK, 1);
	}
	return current & 1;
}

/* account - what it has executed of its quantum takes so long; false if there is no pace. */
static bool account(struct cpu *cpu)
{
	int64_t ns = (QUANTUM - cpu->left) * quantum_ns / QUANTUM;

	cpu->left = QUANTUM;
	if (!in_turn(cpu))
		return false;
	cpu->due += ns;
	cpu->busy += ns;
	return true;
}

static void end_quantum(struct cpu *cpu)
{
	int64_t now;

	if (!account(cpu))
		return;
	now = now_ns();
	if (now < cpu->due)
		sleep_until(cpu->due);
	else
		lose(cpu, now, LATE_LIMIT_NS);
}

static void count_block(unsigned int index, void *nr_insns)
{
	struct cpu *cpu = &cpus[index];

	cpu->left -= (intptr_t)nr_insns;
	if (cpu->left < 0)
		end_quantum(cpu);
}

static void translate_block(qemu_plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, count_block, QEMU_PLUGIN_CB_NO_REGS,
					     (void *)(intptr_t)qemu_plugin_tb_n_insns(tb));
}

static void init_cpu(qemu_plugin_id id, unsigned int index)
{
	(void)id;
	if (index >= NR_CPUS) {
		fprintf(stderr, "pace: more than %d processors\n", NR_CPUS);
		abort();
	}
	cpus[index].left = QUANTUM;
}

static void begin_idle(qemu_plugin_id id, unsigned int index)
{
	struct cpu *cpu = &cpus[index];

	(void)id;
	if (account(cpu))
		lose(cpu, now_ns(), 0);
}

/* Time that it was idle is no time in which it has fallen behind. */
static void end_idle(qemu_plugin_id id, unsigned int index)
{
	struct cpu *cpu = &cpus[index];
	int64_t now = now_ns();

	(void)id;
	if (in_turn(cpu) && cpu->due < now)
		cpu->due = now;
}

static void write_report(void)
{
	FILE *out = fopen(report, "w");
	int64_t busy = 0, late = 0;
	unsigned int i;

	if (!out) {
		perror(report);
		return;
	}
	for (i = 0; i < NR_CPUS; i++) {
		busy += cpus[i].busy;
		late += cpus[i].late;
	}
	fprintf(out, "%.3f %.3f\n", busy / 1e9, late / 1e9);
	fclose(out);
}

static void look(void)
{
	bool wanted = access(control, F_OK) == 0;

	if (wanted == (turn & 1))
		return;
	qemu_plugin_divide_clock(wanted ? divisor : 1);
	turn++;
	if (!wanted)
		write_report();
}

static void *watch(void *data)
{
	char event[sizeof(struct inotify_event) + NAME_MAX + 1];
	int fd = (intptr_t)data;

	do
		look();
	while (read(fd, event, sizeof(event)) > 0);
	return NULL;
}

static int start_watch(void)
{
	sigset_t all, old;
	pthread_t thread;
	char *dir = strdup(control), *end;
	int fd = inotify_init1(IN_CLOEXEC), ret;

	end = dir ? strrchr(dir, '/') : NULL;
	if (fd < 0 || !end)
		return -1;
	*end = 0;
	if (inotify_add_watch(fd, dir, IN_CREATE | IN_DELETE) < 0) {
		perror(dir);
		return -1;
	}
	/* QEMU's signals are not for this thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, NULL, watch, (void *)(intptr_t)fd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	free(dir);
	return ret ? -1 : 0;
}

int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc, char **argv)
{
	long mips = 0;
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "mips=", 5))
			mips = atol(argv[i] + 5);
		else if (!strncmp(argv[i], "divisor=", 8))
			divisor = atol(argv[i] + 8);
		else if (!strncmp(argv[i], "control=", 8))
			control = strdup(argv[i] + 8);
		else if (!strncmp(argv[i], "report=", 7))
			report = strdup(argv[i] + 7);
	}
	if (mips <= 0 || divisor <= 0 || !control || !report || start_watch())
		return -1;
	quantum_ns = QUANTUM * 1000LL * divisor / mips;
	qemu_plugin_register_vcpu_init_cb(id, init_cpu);
	qemu_plugin_register_vcpu_idle_cb(id, begin_idle);
	qemu_plugin_register_vcpu_resume_cb(id, end_idle);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate_block);
	return 0;
}
