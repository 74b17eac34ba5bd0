// SPDX-License-Identifier: GPL-2.0-only
/* vblk-list: the attached disks, from what the kernel says now. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "attached.h"
#include "cmd.h"
#include "err.h"
#include "out-chain.h"
#include "out.h"

static const char help[] =
"Usage: vblk-list [--json] [-n] [--bytes] [-o COLUMN[,COLUMN]...]\n"
"       vblk-list [--json] --chain DISK | --qemu DISK\n"
"\n"
"List the disks that vblk-attach attached.\n"
"\n"
"      --json             print JSON, sizes in bytes\n"
"  -o, --output COLUMNS   of NAME, DEVICE, IMAGE, SIZE, USED, RO, SOCKET,\n"
"                         SERVER, STATE, PROBLEM, DEPTH, BASE, LEFT, LOW, SERIAL,\n"
"                         GUEST, LOW_SPACE, JOB\n"
"  -n, --noheadings       leave the first line of the table out\n"
"      --bytes            sizes in bytes\n"
"      --chain DISK       the images of a disk, the top first\n"
"      --qemu DISK        what vblk-attach printed: the arguments for QEMU\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "noheadings", no_argument, NULL, 'n' },
	{ "bytes", no_argument, NULL, 'b' },
	{ "chain", required_argument, NULL, 'c' },
	{ "qemu", required_argument, NULL, 'q' },
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/* As vblk-attach prints it, which nobody has seen where a service manager runs that. */
static int print_attached(const struct attached *a, const struct layers *layers, bool as_json)
{
	out_attached(a, layers, as_json ? OUT_JSON : OUT_TEXT, QEMU_RECONNECT_UNKNOWN);
	return out_flush();
}

static int list_one(const char *arg, int what, bool as_json)
{
	struct attached a = {};
	struct layers layers;
	int err, ret;

	ret = dmdev_init();
	if (!ret)
		ret = attached_find(arg, &a);
	if (ret)
		return ret;
	err = layers_of_device(a.d.name, &a.bytes, &layers);
	if (err)
		ret = err_errno(-err, a.d.name, "cannot tell its images");
	else if (what == 'q')
		ret = print_attached(&a, &layers, as_json);
	else
		ret = out_chain(&a, &layers, as_json);
	layers_free(&layers);
	return ret;
}

static int list_disks(const struct out_table *how)
{
	struct attached *disks;
	struct dmdev *devs;
	size_t i, n;
	int err, ret;

	ret = dmdev_init();
	if (ret)
		return ret;
	err = dmdev_list(true, &devs, &n);
	if (err)
		return err_errno(-err, NULL, "cannot list the devices");

	disks = calloc(n ? n : 1, sizeof(*disks));
	if (!disks) {
		free(devs);
		return err_report(VBLK_FAILED, NULL, "out of memory");
	}
	for (i = 0; i < n; i++) {
		disks[i].d = devs[i];
		attached_fill(&disks[i]);
	}
	ret = out_list(disks, n, how);
	free(disks);
	free(devs);
	return ret;
}

/** cmd_list() - the verb */
int cmd_list(int argc, char **argv)
{
	struct out_table how = {};
	const char *disk = NULL;
	int opt, what = 0;

	while ((opt = getopt_long(argc, argv, "no:h", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			how.as_json = true;
			break;
		case 'n':
			how.no_headings = true;
			break;
		case 'b':
			how.in_bytes = true;
			break;
		case 'c':
		case 'q':
			if (disk) {
				err_report(VBLK_USAGE, NULL, "one of --chain and --qemu");
				return cmd_usage_error("list");
			}
			disk = optarg;
			what = opt;
			break;
		case 'o':
			how.columns = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("list");
		}
	}
	if (optind != argc) {
		err_report(VBLK_USAGE, argv[optind], "unexpected argument");
		return cmd_usage_error("list");
	}
	if (disk && how.columns) {
		err_report(VBLK_USAGE, "-o", "does not go with --chain or --qemu");
		return cmd_usage_error("list");
	}
	return disk ? list_one(disk, what, how.as_json) : list_disks(&how);
}
