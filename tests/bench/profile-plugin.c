// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for QEMU's emulator that counts executed instructions by address.
 *
 *     -plugin file=profile-plugin.so,begin=ADDRESS,end=ADDRESS,out=FILE
 *
 * Counting begins when the instruction at the one address is executed for the first time, and ends when the
 * one at the other is executed after that; the two may be the same. Then FILE gets lines
 * "address instructions executions", one for each block of instructions that are executed as a whole. A
 * block that begins a function is executed once for each call.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is needed of QEMU's plugin interface, version 1; its header is in no package. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_INLINE_ADD_U64 };
enum { QEMU_PLUGIN_CB_NO_REGS };
typedef uint64_t qemu_plugin_id;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id id,
					   void (*callback)(qemu_plugin_id id,
							    struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int operation,
					      void *counter, uint64_t operand);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*callback)(unsigned int cpu, void *data),
					    int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

/* What QEMU wants of a plugin. */
extern int qemu_plugin_version;
int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc, char **argv);

int qemu_plugin_version = 1;

/* One for each address at which a block begins; the emulated code adds to it. Never freed. */
struct counter {
	uint64_t address;
	uint64_t insns;
	uint64_t executions;
	struct counter *next;	/* in its bucket */
};

enum { NR_BUCKETS = 1 << 16 };

static struct counter *buckets[NR_BUCKETS];
static uint64_t begin_address, end_address;
static const char *out_path;
static enum { BEFORE, DURING, AFTER } phase;

static struct counter *counter_of(uint64_t address)
{
	struct counter **bucket = &buckets[(address ^ address >> 16) % NR_BUCKETS];
	struct counter *counter;

	for (counter = *bucket; counter; counter = counter->next)
		if (counter->address == address)
			return counter;
	counter = calloc(1, sizeof(*counter));
	if (!counter)
		abort();
	counter->address = address;
	counter->next = *bucket;
	*bucket = counter;
	return counter;
}

static void zero_counters(void)
{
	struct counter *counter;
	unsigned int i;

	for (i = 0; i < NR_BUCKETS; i++)
		for (counter = buckets[i]; counter; counter = counter->next)
			counter->insns = counter->executions = 0;
}

static void write_counters(void)
{
	FILE *out = fopen(out_path, "w");
	struct counter *counter;
	unsigned int i;

	if (!out) {
		perror(out_path);
		return;
	}
	for (i = 0; i < NR_BUCKETS; i++)
		for (counter = buckets[i]; counter; counter = counter->next)
			if (counter->executions)
				fprintf(out, "%016" PRIx64 " %" PRIu64 " %" PRIu64 "\n", counter->address,
					counter->insns, counter->executions);
	fclose(out);
}

static void pass_mark(unsigned int cpu, void *data)
{
	uint64_t address = (uintptr_t)data;

	(void)cpu;
	if (phase == BEFORE && address == begin_address) {
		zero_counters();
		phase = DURING;
	} else if (phase == DURING && address == end_address) {
		write_counters();
		phase = AFTER;
	}
}

/* A block that holds the mark in its middle counts on the side where it begins; that is an error of one. */
static void count_block(qemu_plugin_id id, struct qemu_plugin_tb *tb)
{
	struct counter *counter = counter_of(qemu_plugin_tb_vaddr(tb));
	size_t i, nr_insns = qemu_plugin_tb_n_insns(tb);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &counter->insns, nr_insns);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &counter->executions, 1);
	for (i = 0; i < nr_insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		uint64_t address = qemu_plugin_insn_vaddr(insn);

		if (address == begin_address || address == end_address)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, pass_mark, QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)address);
	}
}

int qemu_plugin_install(qemu_plugin_id id, const void *info, int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "begin=", 6))
			begin_address = strtoull(argv[i] + 6, NULL, 16);
		else if (!strncmp(argv[i], "end=", 4))
			end_address = strtoull(argv[i] + 4, NULL, 16);
		else if (!strncmp(argv[i], "out=", 4))
			out_path = strdup(argv[i] + 4);
	}
	if (!begin_address || !end_address || !out_path)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
	return 0;
}
