// SPDX-License-Identifier: GPL-2.0-only
/* vblk-status: what disks have done and are doing, as a table, as JSON, or for Prometheus. */
#include <getopt.h>
#include <libsmartcols/libsmartcols.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "err.h"
#include "out.h"
#include "status.h"

static const char help[] =
"Usage: vblk-status [OPTION...] [DISK...]\n"
"\n"
"Show what the disks do, all of them if none is named. A disk whose server does\n"
"not answer is shown without what only that knows.\n"
"\n"
"      --json             print JSON, sizes in bytes, times in milliseconds\n"
"      --prometheus       print metrics in the text format of Prometheus\n"
"      --file PATH        replace that file, for node_exporter, instead\n"
"  -o, --output COLUMNS   of NAME, STATE, SIZE, READS, READ, READ_MS, WRITES,\n"
"                         WRITTEN, WRITE_MS, DISCARDS, DISCARDED, BUSY_MS,\n"
"                         INFLIGHT, USED, LEFT, CACHE, CACHE_LIMIT, HITS, MISSES,\n"
"                         COMMITS, WAITING, FILLS, DROPPED, EXTENTS, FAILED,\n"
"                         ANSWERS, G_READS, G_READ, G_WRITES, G_WRITTEN, FLUSHES,\n"
"                         G_OTHERS, ERRORS, G_INFLIGHT, KICKS, SIGNALS, BOUNCED,\n"
"                         STALLS, SERVER_MS\n"
"  -n, --noheadings       without the line of names\n"
"  -b, --bytes            sizes in bytes\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "prometheus", no_argument, NULL, 'p' },
	{ "file", required_argument, NULL, 'f' },
	{ "output", required_argument, NULL, 'o' },
	{ "noheadings", no_argument, NULL, 'n' },
	{ "bytes", no_argument, NULL, 'b' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/* Columns that are no counters. */
enum {
	COL_NAME = NR_STATS,
	COL_STATE,
	NR_COLUMNS,
};

static const int default_columns[] = {
	COL_NAME, COL_STATE, STAT_READS, STAT_READ_BYTES, STAT_WRITES, STAT_WRITE_BYTES, STAT_GUEST_FLUSHES,
	STAT_IN_FLIGHT, STAT_WAITING, STAT_GUEST_ERRORS,
};

/**
 * struct args - the command line
 * @as_json: print JSON
 * @for_prometheus: print metrics
 * @path: into that file, or NULL
 * @columns: names separated by commas, or NULL
 * @no_headings: a table without names
 * @in_bytes: sizes in a table as they are
 * @help: print the help
 * @are_all: no disk is named
 * @ids: the columns
 * @nr_ids: how many
 */
struct args {
	bool as_json;
	bool for_prometheus;
	const char *path;
	const char *columns;
	bool no_headings;
	bool in_bytes;
	bool help;
	bool are_all;
	int ids[NR_COLUMNS];
	size_t nr_ids;
};

static const char *column_name(int id)
{
	switch (id) {
	case COL_NAME:
		return "NAME";
	case COL_STATE:
		return "STATE";
	default:
		return stat_defs[id].column;
	}
}

static int find_column(const char *name, size_t len)
{
	for (int id = 0; id < NR_COLUMNS; id++)
		if (strlen(column_name(id)) == len && !strncasecmp(column_name(id), name, len))
			return id;
	return -1;
}

static int parse_columns(struct args *args)
{
	const char *list = args->columns;
	size_t len;
	int id;

	if (!list) {
		memcpy(args->ids, default_columns, sizeof(default_columns));
		args->nr_ids = sizeof(default_columns) / sizeof(default_columns[0]);
		return VBLK_OK;
	}
	for (;; list += len + 1) {
		len = strcspn(list, ",");
		id = find_column(list, len);
		if (id < 0 || args->nr_ids == NR_COLUMNS)
			return err_report(VBLK_USAGE, "-o", "'%.*s': no such column, or too many",
					  (int)len, list);
		args->ids[args->nr_ids++] = id;
		if (!list[len])
			return VBLK_OK;
	}
}

static void format_cell(const struct args *args, const struct disk_status *d, int id, char *text,
			size_t size)
{
	text[0] = '\0';
	if (id == COL_NAME)
		snprintf(text, size, "%s", d->a.d.name);
	else if (id == COL_STATE)
		snprintf(text, size, "%s", attached_state(&d->a));
	else if (!d->s.has[id])
		return;
	else if (stat_defs[id].unit == STAT_BYTES && !args->in_bytes)
		out_format_bytes(d->s.value[id], text, size);
	else
		snprintf(text, size, "%ju", (uintmax_t)d->s.value[id]);
}

static int add_line(struct libscols_table *tb, const struct args *args, const struct disk_status *d)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	char text[256];

	if (!ln)
		return -ENOMEM;
	for (size_t i = 0; i < args->nr_ids; i++) {
		format_cell(args, d, args->ids[i], text, sizeof(text));
		if (*text && scols_line_set_data(ln, i, text))
			return -ENOMEM;
	}
	return 0;
}

static int fill_table(struct libscols_table *tb, const struct args *args,
		      const struct disk_status *disks, size_t n)
{
	int err = 0;

	if (args->no_headings)
		scols_table_enable_noheadings(tb, 1);
	for (size_t i = 0; i < args->nr_ids; i++)
		if (!scols_table_new_column(tb, column_name(args->ids[i]), 1,
					    args->ids[i] < NR_STATS ? SCOLS_FL_RIGHT : 0))
			return -ENOMEM;
	for (size_t i = 0; i < n && !err; i++)
		err = add_line(tb, args, &disks[i]);
	return err ?: scols_print_table(tb);
}

static int print_table(const struct args *args, const struct disk_status *disks, size_t n)
{
	struct libscols_table *tb = scols_new_table();
	int err;

	if (!tb)
		return err_report(VBLK_FAILED, NULL, "out of memory");
	err = fill_table(tb, args, disks, n);
	scols_unref_table(tb);
	return err ? err_errno(-err, NULL, "cannot print the table") : out_flush();
}

static int print_json(const struct disk_status *disks, size_t n)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, status_disk_json(&disks[i]));
	json_object_object_add(o, "disks", list);
	out_json(o);
	return out_flush();
}

static int print(const struct args *args, const struct disk_status *disks, size_t n)
{
	if (args->for_prometheus)
		return status_prometheus(disks, n, args->are_all, args->path);
	return args->as_json ? print_json(disks, n) : print_table(args, disks, n);
}

static int parse_option(struct args *args, int opt)
{
	switch (opt) {
	case 'j':
		args->as_json = true;
		return VBLK_OK;
	case 'p':
		args->for_prometheus = true;
		return VBLK_OK;
	case 'f':
		args->path = optarg;
		return VBLK_OK;
	case 'o':
		args->columns = optarg;
		return VBLK_OK;
	case 'n':
		args->no_headings = true;
		return VBLK_OK;
	case 'b':
		args->in_bytes = true;
		return VBLK_OK;
	case 'h':
		args->help = true;
		return VBLK_OK;
	default:
		return VBLK_USAGE;
	}
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "o:nbh", options, NULL)) != -1)
		if (parse_option(args, opt))
			return VBLK_USAGE;
	if (args->path && !args->for_prometheus)
		return err_report(VBLK_USAGE, "--file", "goes with --prometheus");
	if (args->as_json && args->for_prometheus)
		return err_report(VBLK_USAGE, "--prometheus", "does not go with --json");
	if ((args->columns || args->no_headings || args->in_bytes) &&
	    (args->as_json || args->for_prometheus))
		return err_report(VBLK_USAGE, NULL, "-o, -n and -b go with a table");
	return parse_columns(args);
}

/** cmd_status() - the verb */
int cmd_status(int argc, char **argv)
{
	struct disk_status *disks;
	struct args args = {};
	size_t n;
	int ret;

	if (parse(&args, argc, argv))
		return cmd_usage_error("status");
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	args.are_all = optind == argc;
	ret = dmdev_init();
	if (!ret)
		ret = status_collect(argv + optind, argc - optind, &disks, &n);
	if (ret)
		return ret;
	ret = print(&args, disks, n);
	free(disks);
	return ret;
}
