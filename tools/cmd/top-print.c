// SPDX-License-Identifier: GPL-2.0-only
/* What vblk-top prints: a screenful on a terminal, else one table after the other, or JSON. */
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "err.h"
#include "out.h"
#include "top.h"

#define MIB	1048576
#define CLEAR	"\033[H\033[J"

static const char *const columns[] = {
	"NAME", "STATE", "IOPS", "RMIB", "WMIB", "MEAN", "P50", "P99", "QUEUE", "HIT", "FILL", "DROP",
	"WAIT", "CPU",
};

#define NR_COLUMNS	(sizeof(columns) / sizeof(columns[0]))

struct cell {
	char text[160];
};

static void put_time(struct cell *c, double ns)
{
	if (ns < 1)
		snprintf(c->text, sizeof(c->text), "-");
	else if (ns < 9.995e5)
		snprintf(c->text, sizeof(c->text), "%.0fus", ns / 1e3);
	else if (ns < 9.995e8)
		snprintf(c->text, sizeof(c->text), "%.3gms", ns / 1e6);
	else
		snprintf(c->text, sizeof(c->text), "%.3gs", ns / 1e9);
}

static void put_percentile(struct cell *c, const struct rated *d, unsigned int percent)
{
	uint64_t ns = d->has_latency ? latency_percentile_ns(&d->latency, percent) : 0;

	if (ns == UINT64_MAX)
		snprintf(c->text, sizeof(c->text), ">1000s");
	else
		put_time(c, ns);
}

static double mib(const struct rated *d, enum stat_id id)
{
	return d->has_rate[id] ? d->rate[id] / MIB : -1;
}

static void put_value(struct cell *c, const struct rated *d, enum stat_id id)
{
	if (d->d.s.has[id])
		snprintf(c->text, sizeof(c->text), "%ju", (uintmax_t)d->d.s.value[id]);
	else
		snprintf(c->text, sizeof(c->text), "-");
}

static void put_number(struct cell *c, const char *format, double number)
{
	if (number < 0)
		snprintf(c->text, sizeof(c->text), "-");
	else
		snprintf(c->text, sizeof(c->text), format, number);
}

static void make_cells(const struct rated *d, struct cell *c)
{
	snprintf(c[0].text, sizeof(c[0].text), "%s", d->d.a.d.name);
	snprintf(c[1].text, sizeof(c[1].text), "%s", attached_state(&d->d.a));
	put_number(&c[2], "%.0f", rated_iops(d));
	put_number(&c[3], "%.1f", mib(d, STAT_READ_BYTES));
	put_number(&c[4], "%.1f", mib(d, STAT_WRITE_BYTES));
	put_time(&c[5], rated_mean_ns(d));
	put_percentile(&c[6], d, 50);
	put_percentile(&c[7], d, 99);
	put_value(&c[8], d, STAT_IN_FLIGHT);
	put_number(&c[9], "%.0f%%", rated_hit_percent(d));
	put_value(&c[10], d, STAT_FILLS);
	put_value(&c[11], d, STAT_DROPPED);
	put_value(&c[12], d, STAT_WAITING);
	put_number(&c[13], "%.0f%%", d->has_cpu ? d->cpu_percent : -1);
}

static int add_line(struct libscols_table *tb, const struct rated *d)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	struct cell cells[NR_COLUMNS];

	if (!ln)
		return -ENOMEM;
	make_cells(d, cells);
	for (size_t i = 0; i < NR_COLUMNS; i++)
		if (scols_line_set_data(ln, i, cells[i].text))
			return -ENOMEM;
	return 0;
}

static int fill_table(struct libscols_table *tb, const struct rates *r)
{
	int err = 0;

	/* Lines as long as they are: they are cut below, and none becomes two. */
	scols_table_set_termforce(tb, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < NR_COLUMNS; i++)
		if (!scols_table_new_column(tb, columns[i], 1, i < 2 ? 0 : SCOLS_FL_RIGHT))
			return -ENOMEM;
	for (size_t i = 0; i < r->n && !err; i++)
		err = add_line(tb, &r->disks[i]);
	return err;
}

/* What there is room for: the busiest disks, and what is on the left. */
static void print_screen(char *text)
{
	struct winsize size = {};
	char *line;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 4 || size.ws_col < 20)
		size = (struct winsize) { .ws_row = 24, .ws_col = 80 };
	fputs(CLEAR, stdout);
	for (unsigned int i = 1; i < size.ws_row && (line = strsep(&text, "\n")) && *line; i++)
		printf("%.*s\n", size.ws_col - 1, line);
}

static int print_table(struct libscols_table *tb, const struct rates *r)
{
	char *text = NULL;
	int err;

	err = fill_table(tb, r);
	if (!err)
		err = scols_print_table_to_string(tb, &text);
	if (err)
		return err;
	if (isatty(STDOUT_FILENO))
		print_screen(text);
	else
		printf("%s%s\n", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
	free(text);
	return 0;
}

/** top_print() - a table; an exit code */
int top_print(const struct rates *r)
{
	struct libscols_table *tb = scols_new_table();
	int err;

	if (!tb)
		return err_report(VBLK_FAILED, NULL, "out of memory");
	err = print_table(tb, r);
	scols_unref_table(tb);
	return err ? err_errno(-err, NULL, "cannot print the table") : out_flush();
}

static void add_number(json_object *o, const char *key, bool is_known, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(o, key, is_known ? json_object_new_double_s(value, text) : NULL);
}

static void add_rate(json_object *o, const char *key, const struct rated *d, enum stat_id id)
{
	add_number(o, key, d->has_rate[id], d->rate[id]);
}

static void add_percentile(json_object *o, const char *key, const struct rated *d, unsigned int percent)
{
	uint64_t ns = d->has_latency ? latency_percentile_ns(&d->latency, percent) : 0;

	json_object_object_add(o, key, ns && ns != UINT64_MAX ? json_object_new_int64(ns) : NULL);
}

static void add_value(json_object *o, const struct rated *d, enum stat_id id)
{
	json_object_object_add(o, stat_defs[id].key, d->d.s.has[id] ?
			       json_object_new_uint64(d->d.s.value[id]) : NULL);
}

static json_object *disk_to_json(const struct rated *d)
{
	json_object *o = json_object_new_object();
	double mean_ns = rated_mean_ns(d);

	json_object_object_add(o, "name", json_object_new_string(d->d.a.d.name));
	json_object_object_add(o, "state", json_object_new_string(attached_state(&d->d.a)));
	add_rate(o, "reads_per_second", d, STAT_READS);
	add_rate(o, "writes_per_second", d, STAT_WRITES);
	add_rate(o, "discards_per_second", d, STAT_DISCARDS);
	add_rate(o, "read_bytes_per_second", d, STAT_READ_BYTES);
	add_rate(o, "write_bytes_per_second", d, STAT_WRITE_BYTES);
	json_object_object_add(o, "latency_mean_ns", mean_ns > 0 ? json_object_new_int64(mean_ns) : NULL);
	add_percentile(o, "latency_p50_ns", d, 50);
	add_percentile(o, "latency_p90_ns", d, 90);
	add_percentile(o, "latency_p99_ns", d, 99);
	add_value(o, d, STAT_IN_FLIGHT);
	add_rate(o, "cache_hits_per_second", d, STAT_HITS);
	add_rate(o, "cache_misses_per_second", d, STAT_MISSES);
	add_value(o, d, STAT_FILLS);
	add_value(o, d, STAT_DROPPED);
	add_value(o, d, STAT_WAITING);
	add_number(o, "cpu_percent", d->has_cpu, d->cpu_percent);
	return o;
}

/** top_print_json() - one object, in one line; an exit code */
int top_print_json(const struct rates *r)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();

	add_number(o, "seconds", true, r->seconds);
	for (size_t i = 0; i < r->n; i++)
		json_object_array_add(list, disk_to_json(&r->disks[i]));
	json_object_object_add(o, "disks", list);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return out_flush();
}
