// SPDX-License-Identifier: GPL-2.0-only
/* The text format of Prometheus, version 0.0.4: to standard output, or to a file for node_exporter. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "err.h"
#include "out.h"
#include "status.h"

static const char *const states[] = {
	"failed", "serving", "blocked", "idle", "unserved", "local", "incomplete",
};

static void put_label(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", to);
		else if (*value == '"' || *value == '\\')
			fprintf(to, "\\%c", *value);
		else
			putc(*value, to);
	}
	putc('"', to);
}

static void put_family(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(FILE *to, enum stat_unit unit, uint64_t value)
{
	if (unit == STAT_MS)
		fprintf(to, " %ju.%03u\n", (uintmax_t)value / 1000, (unsigned int)(value % 1000));
	else
		fprintf(to, " %ju\n", (uintmax_t)value);
}

static void put_stat(FILE *to, const struct disk_status *disks, size_t n, enum stat_id id)
{
	const struct stat_def *def = &stat_defs[id];

	put_family(to, def->metric, stat_is_counter(id) ? "counter" : "gauge", def->help);
	for (size_t i = 0; i < n; i++) {
		if (!disks[i].s.has[id])
			continue;
		fprintf(to, "%s{", def->metric);
		put_label(to, "disk", disks[i].a.d.name);
		putc('}', to);
		put_value(to, def->unit, disks[i].s.value[id]);
	}
}

static void put_states(FILE *to, const struct disk_status *disks, size_t n)
{
	put_family(to, "vblk_disk_state", "gauge", "1 for the state that the disk is in.");
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < sizeof(states) / sizeof(states[0]); j++) {
			fputs("vblk_disk_state{", to);
			put_label(to, "disk", disks[i].a.d.name);
			putc(',', to);
			put_label(to, "state", states[j]);
			fprintf(to, "} %d\n", !strcmp(attached_state(&disks[i].a), states[j]));
		}
	}
}

static void put_all(FILE *to, const struct disk_status *disks, size_t n, bool are_all)
{
	if (are_all) {
		put_family(to, "vblk_disks", "gauge", "Disks that are attached.");
		fprintf(to, "vblk_disks %zu\n", n);
	}
	put_states(to, disks, n);
	for (enum stat_id id = 0; id < NR_STATS; id++)
		put_stat(to, disks, n, id);
}

static int write_all(int fd, const char *text, size_t bytes)
{
	ssize_t n;

	for (; bytes; text += n, bytes -= n) {
		n = write(fd, text, bytes);
		if (n < 0)
			return -errno;
	}
	/* Others read it: node_exporter runs as somebody else. */
	return fchmod(fd, 0644) < 0 ? -errno : 0;
}

/* A reader sees the old one or the new one. The name in between does not end in .prom, which is looked for. */
static int replace_file(const char *path, const char *text, size_t bytes)
{
	char temporary[PATH_MAX];
	int fd, err;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, bytes);
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(temporary, path) < 0)
		err = -errno;
	if (err)
		unlink(temporary);
	return err;
}

static int write_file(const struct disk_status *disks, size_t n, bool are_all, const char *path)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	int err;

	if (!to)
		return -ENOMEM;
	put_all(to, disks, n, are_all);
	if (fclose(to)) {
		free(text);
		return -ENOMEM;
	}
	/* One that is cut short would leave the temporary file. */
	cmd_block_signals();
	err = replace_file(path, text, bytes);
	free(text);
	return err;
}

/* A rename would put a file in the place of whatever it is. */
static int check_replaceable(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0 || S_ISREG(st.st_mode))
		return VBLK_OK;
	return err_report(VBLK_USAGE, path, "is there, and no regular file");
}

/**
 * status_prometheus() - write it
 * @disks: the disks
 * @n: how many
 * @are_all: all that are attached
 * @path: of the file to replace, or NULL: to standard output
 *
 * Return: an exit code; what is wrong has been reported.
 */
int status_prometheus(const struct disk_status *disks, size_t n, bool are_all, const char *path)
{
	int err, ret;

	if (!path) {
		put_all(stdout, disks, n, are_all);
		return out_flush();
	}
	ret = check_replaceable(path);
	if (ret)
		return ret;
	err = write_file(disks, n, are_all, path);
	return err ? err_errno(-err, path, "cannot write it") : VBLK_OK;
}
