// SPDX-License-Identifier: GPL-2.0-only
/* The options of vblk-attach, and what is chosen where the user has left it open. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "disk/backing-name.h"
#include "dm-qcow2/format/table.h"
#include "err.h"
#include "size.h"
#include "socket-access.h"

#define MAX_DEFAULT_QUEUES	8
#define DEFAULT_QUEUE_SIZE	128

const char attach_help[] =
"Usage: vblk-attach [OPTION...] IMAGE [NAME]\n"
"       vblk-attach [OPTION...] --config FILE\n"
"\n"
"Map the qcow2 image IMAGE as /dev/mapper/NAME and serve it to a guest through\n"
"vhost-blk. NAME is IMAGE's file name without .qcow2 unless it is given.\n"
"\n"
"      --config FILE      lines OPTION=VALUE, image=IMAGE and perhaps name=NAME\n"
"      --read-only        attach read-only\n"
"      --no-vhost         only map it, for use on this host\n"
"      --queues N         request queues, 1-64 (one per CPU, at most 8)\n"
"      --queue-size N     descriptors a queue, 16-1024, a power of 2 (128)\n"
"      --workers N        kernel threads that serve the queues (one a queue)\n"
"      --poll-us N        they look for requests so long before they sleep (50)\n"
"      --batch            they let others finish their turn, for less CPU time\n"
"      --socket PATH      vhost-user socket (/run/vblk/NAME.sock)\n"
"      --socket-owner USER\n"
"      --socket-group GROUP\n"
"      --socket-mode MODE whose socket it is (root, kvm, 0660)\n"
"      --serial TEXT      the disk's serial number, up to 20 bytes (NAME)\n"
"      --backing PATH     a backing file or device that may be opened whoever\n"
"                         names it; may be given several times\n"
"      --no-backing       refuse an image that has a backing file, or whose data\n"
"                         file only its header names\n"
"      --backing-format F raw or qcow2, where an image does not say which it is\n"
"      --data-file PATH   what has IMAGE's data, whatever its header says\n"
"      --cache-mb N       limit of the image's metadata cache\n"
"      --low-space SIZE   send a device-mapper event when the host has less left\n"
"      --discard MODE     unmap, keep or ignore what the guest discards\n"
"      --foreground       serve in this process, do not fork a server\n"
"      --qemu VERSION     print options for that QEMU (the one of this host)\n"
"      --dry-run          check everything, print what would be done, do nothing\n"
"      --json             print the result as JSON\n"
"      --print-xml        print a <disk> element for libvirt\n"
"  -h, --help             print this\n"
"\n"
"If the server of an attached image is gone, attaching it again starts a new\n"
"one; a guest that reconnects goes on where it was.\n";

enum {
	OPT_CONFIG = 256,
	OPT_READ_ONLY,
	OPT_NO_VHOST,
	OPT_QUEUES,
	OPT_QUEUE_SIZE,
	OPT_WORKERS,
	OPT_POLL_US,
	OPT_BATCH,
	OPT_SOCKET,
	OPT_SOCKET_OWNER,
	OPT_SOCKET_GROUP,
	OPT_SOCKET_MODE,
	OPT_SERIAL,
	OPT_BACKING,
	OPT_NO_BACKING,
	OPT_BACKING_FORMAT,
	OPT_DATA_FILE,
	OPT_CACHE_MB,
	OPT_LOW_SPACE,
	OPT_DISCARD,
	OPT_FOREGROUND,
	OPT_DRY_RUN,
	OPT_QEMU,
	OPT_JSON,
	OPT_PRINT_XML,
};

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "read-only", no_argument, NULL, OPT_READ_ONLY },
	{ "no-vhost", no_argument, NULL, OPT_NO_VHOST },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "queue-size", required_argument, NULL, OPT_QUEUE_SIZE },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "poll-us", required_argument, NULL, OPT_POLL_US },
	{ "batch", no_argument, NULL, OPT_BATCH },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "socket-owner", required_argument, NULL, OPT_SOCKET_OWNER },
	{ "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "backing", required_argument, NULL, OPT_BACKING },
	{ "no-backing", no_argument, NULL, OPT_NO_BACKING },
	{ "backing-format", required_argument, NULL, OPT_BACKING_FORMAT },
	{ "data-file", required_argument, NULL, OPT_DATA_FILE },
	{ "cache-mb", required_argument, NULL, OPT_CACHE_MB },
	{ "low-space", required_argument, NULL, OPT_LOW_SPACE },
	{ "discard", required_argument, NULL, OPT_DISCARD },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "qemu", required_argument, NULL, OPT_QEMU },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "print-xml", no_argument, NULL, OPT_PRINT_XML },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static int parse_queue_size(const char *text, unsigned int *value)
{
	int ret = number_parse("--queue-size", text, SERVER_MIN_QUEUE_SIZE,
			       SERVER_MAX_QUEUE_SIZE, value);

	if (!ret && (*value & (*value - 1)))
		return err_report(VBLK_USAGE, "--queue-size",
				  "%u is not a power of 2", *value);
	return ret;
}

static int parse_discard(const char *text, const char **mode)
{
	static const char *const modes[] = { "unmap", "keep", "ignore" };

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (!strcmp(text, modes[i])) {
			*mode = modes[i];
			return VBLK_OK;
		}
	}
	return err_report(VBLK_USAGE, "--discard",
			  "'%s' is neither unmap, keep nor ignore", text);
}

static int parse_socket_access(struct attach *a, int opt)
{
	a->has_socket_access = true;
	switch (opt) {
	case OPT_SOCKET_OWNER:
		return socket_parse_owner(optarg, &a->serving.socket_uid);
	case OPT_SOCKET_GROUP:
		return socket_parse_group(optarg, &a->serving.socket_gid);
	default:
		return socket_parse_mode(optarg, &a->serving.socket_mode);
	}
}

static int parse_backing(struct attach *a, int opt)
{
	switch (opt) {
	case OPT_BACKING:
		if (a->nr_backing == MAX_CHAIN)
			return err_report(VBLK_USAGE, "--backing",
					  "given more than %d times", MAX_CHAIN);
		a->backing[a->nr_backing++] = optarg;
		return VBLK_OK;
	case OPT_NO_BACKING:
		a->policy.is_none = true;
		return VBLK_OK;
	default:
		a->policy.format = image_format_find(optarg);
		if (a->policy.format)
			return VBLK_OK;
		return err_report(VBLK_USAGE, "--backing-format",
				  "'%s' is neither raw nor qcow2", optarg);
	}
}

static int parse_option(struct attach *a, int opt)
{
	switch (opt) {
	case OPT_CONFIG:
		if (a->config)
			return err_report(VBLK_USAGE, "--config", "given twice");
		a->config = optarg;
		return attach_read_config(a);
	case OPT_READ_ONLY:
		a->read_only = true;
		return VBLK_OK;
	case OPT_NO_VHOST:
		a->no_vhost = true;
		return VBLK_OK;
	case OPT_QUEUES:
		return number_parse("--queues", optarg, 1, SERVER_MAX_QUEUES,
				    &a->serving.queues);
	case OPT_QUEUE_SIZE:
		return parse_queue_size(optarg, &a->serving.queue_size);
	case OPT_WORKERS:
		return number_parse("--workers", optarg, 1, SERVER_MAX_QUEUES,
				    &a->serving.workers);
	case OPT_POLL_US:
		a->has_poll_us = true;
		return number_parse("--poll-us", optarg, 0, SERVER_MAX_POLL_US,
				    &a->serving.poll_us);
	case OPT_BATCH:
		a->serving.batch = true;
		return VBLK_OK;
	case OPT_SOCKET:
		a->socket_arg = optarg;
		return VBLK_OK;
	case OPT_SOCKET_OWNER:
	case OPT_SOCKET_GROUP:
	case OPT_SOCKET_MODE:
		return parse_socket_access(a, opt);
	case OPT_SERIAL:
		a->serial_arg = optarg;
		return VBLK_OK;
	case OPT_BACKING:
	case OPT_NO_BACKING:
	case OPT_BACKING_FORMAT:
		return parse_backing(a, opt);
	case OPT_DATA_FILE:
		a->policy.data_file = optarg;
		return VBLK_OK;
	case OPT_CACHE_MB:
		return number_parse("--cache-mb", optarg, 1, QCOW2_MAX_CACHE_MB,
				    &a->cache_mb);
	case OPT_LOW_SPACE:
		a->has_low_space = true;
		return size_parse("--low-space", optarg, &a->low_space);
	case OPT_DISCARD:
		return parse_discard(optarg, &a->discard);
	case OPT_FOREGROUND:
		a->foreground = true;
		return VBLK_OK;
	case OPT_DRY_RUN:
		a->dry_run = true;
		return VBLK_OK;
	case OPT_QEMU:
		return qemu_parse_version(optarg, &a->reconnect);
	case OPT_JSON:
		a->format = OUT_JSON;
		return VBLK_OK;
	case OPT_PRINT_XML:
		a->format = OUT_LIBVIRT_XML;
		return VBLK_OK;
	case 'h':
		a->help = true;
		return VBLK_USAGE;
	default:
		return VBLK_USAGE;
	}
}

static int check_name(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+-.:=@_";

	/* DM_CONTROL_NODE: the device mapper's own. */
	if (!strcmp(name, "control"))
		return err_report(VBLK_USAGE, name,
				  "not a device name: " DMDEV_DIR "control is the device mapper's own");
	if (!*name || *name == '-' || *name == '.' ||
	    name[strspn(name, allowed)])
		return err_report(VBLK_USAGE, name,
				  "not a device name: only letters, digits and +-.:=@_, not starting with - or .");
	return VBLK_OK;
}

static int take_name(struct attach *a, const char *arg)
{
	if (strlen(arg) >= sizeof(a->name))
		return err_report(VBLK_USAGE, arg, "name too long");
	strcpy(a->name, arg);
	return check_name(a->name);
}

/* The image's file name without .qcow2. */
static int derive_name(struct attach *a)
{
	static const char suffix[] = ".qcow2";
	const char *base = strrchr(a->img.path, '/');
	char name[PATH_MAX];
	size_t len;
	int ret;

	strcpy(name, base ? base + 1 : a->img.path);
	len = strlen(name);
	if (len >= sizeof(suffix) && !strcmp(name + len - strlen(suffix), suffix))
		name[len - strlen(suffix)] = '\0';
	ret = take_name(a, name);
	if (ret)
		err_hint_command("vblk-attach", a->img.arg, "NAME", NULL);
	return ret;
}

static int choose_socket(struct attach *a)
{
	char path[2 * PATH_MAX], dir[PATH_MAX] = "";

	if (!a->socket_arg)
		snprintf(path, sizeof(path), STATE_DIR "/%s.sock", a->name);
	else if (*a->socket_arg == '/')
		snprintf(path, sizeof(path), "%s", a->socket_arg);
	else if (getcwd(dir, sizeof(dir)))
		snprintf(path, sizeof(path), "%s/%s", dir, a->socket_arg);
	else
		return err_errno(errno, a->socket_arg, "no current directory");

	if (strlen(path) >= sizeof(a->serving.socket))
		return err_report(VBLK_USAGE, path,
				  "socket path longer than %zu bytes",
				  sizeof(a->serving.socket) - 1);
	strcpy(a->serving.socket, path);
	return VBLK_OK;
}

static int check_socket(const struct attach *a)
{
	const char *path = a->serving.socket;

	if (!strncmp(path, STATE_DIR "/", strlen(STATE_DIR "/")) &&
	    !server_owns_socket(a->name, path))
		return err_report(VBLK_USAGE, path,
				  "the only socket of this disk there is %s.sock",
				  a->name);
	return VBLK_OK;
}

static void choose_serving(struct attach *a)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	strcpy(a->serving.name, a->name);
	strcpy(a->serving.uuid, a->img.uuid);
	snprintf(a->serving.serial, sizeof(a->serving.serial), "%.*s",
		 SERIAL_BYTES, a->serial_arg ? a->serial_arg : a->name);
	strcpy(a->serving.image, a->img.path);
	if (!a->serving.queues)
		a->serving.queues = cpus < 1 ? 1 :
			cpus > MAX_DEFAULT_QUEUES ? MAX_DEFAULT_QUEUES : cpus;
	if (!a->serving.queue_size)
		a->serving.queue_size = DEFAULT_QUEUE_SIZE;
	if (!a->has_poll_us)
		a->serving.poll_us = DEFAULT_POLL_US;
	if (a->serving.socket_mode == SOCKET_ID_UNSET)
		a->serving.socket_mode = SOCKET_MODE;
}

/** attach_check_args() - what the user gave of a name, serial number and socket; an exit code */
int attach_check_args(struct attach *a, const char *name_arg)
{
	int ret = name_arg ? take_name(a, name_arg) : VBLK_OK;

	if (!ret && a->serial_arg && strlen(a->serial_arg) > SERIAL_BYTES)
		ret = err_report(VBLK_USAGE, a->serial_arg,
				 "serial number longer than %u bytes",
				 SERIAL_BYTES);
	if (!ret && a->socket_arg)
		ret = choose_socket(a);
	a->asked = a->serving;
	return ret;
}

/** attach_choose_rest() - what the user has left open, for a new disk; an exit code */
int attach_choose_rest(struct attach *a)
{
	int ret = *a->name ? VBLK_OK : derive_name(a);

	if (ret || a->no_vhost)
		return ret;
	choose_serving(a);
	if (!a->socket_arg)
		ret = choose_socket(a);
	return ret ? ret : check_socket(a);
}

/* An option that the command line knows, too. */
static int set_option(struct attach *a, const struct option *option, char *value)
{
	if (option->has_arg == required_argument && (!value || !*value))
		return err_report(VBLK_USAGE, option->name, "needs a value");
	if (option->has_arg == no_argument && value && !strcmp(value, "no"))
		return VBLK_OK;
	if (option->has_arg == no_argument && value && strcmp(value, "yes"))
		return err_report(VBLK_USAGE, option->name, "'%s' is neither yes nor no", value);
	optarg = value;
	return parse_option(a, option->val);
}

/** attach_set() - what a configuration says of one key; @value may be NULL, and is kept; an exit code */
int attach_set(struct attach *a, const char *key, char *value)
{
	const char **arg = !strcmp(key, "image") ? &a->image_arg :
			   !strcmp(key, "name") ? &a->name_arg : NULL;

	if (arg && (!value || !*value))
		return err_report(VBLK_USAGE, key, "needs a value");
	if (arg) {
		*arg = value;
		return VBLK_OK;
	}
	for (const struct option *o = options; o->name; o++)
		if (!strcmp(o->name, key) && o->val != OPT_CONFIG && o->val != 'h')
			return set_option(a, o, value);
	return err_report(VBLK_USAGE, key, "no such key");
}

static int take_arguments(struct attach *a, int argc, char **argv)
{
	if (a->config && argc)
		return err_report(VBLK_USAGE, "--config",
				  "IMAGE and NAME are in the file, not on the command line");
	if (a->config)
		return VBLK_OK;
	if (argc < 1 || argc > 2)
		return err_report(VBLK_USAGE, NULL, "needs IMAGE and perhaps NAME");
	a->image_arg = argv[0];
	a->name_arg = argv[1];
	return VBLK_OK;
}

/** attach_parse() - what can be told without touching the image or the kernel; an exit code */
int attach_parse(struct attach *a, int argc, char **argv)
{
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		ret = parse_option(a, opt);
		if (ret)
			return ret;
	}
	ret = take_arguments(a, argc - optind, argv + optind);
	if (ret)
		return ret;
	if (a->no_vhost && (a->foreground || a->socket_arg || a->serial_arg ||
			    a->has_socket_access ||
			    a->serving.queues || a->serving.queue_size ||
			    a->serving.workers || a->has_poll_us ||
			    a->serving.batch || a->reconnect ||
			    a->format == OUT_LIBVIRT_XML))
		return err_report(VBLK_USAGE, "--no-vhost",
				  "goes with none of the options about serving");
	if (a->dry_run && (a->foreground || a->format == OUT_LIBVIRT_XML))
		return err_report(VBLK_USAGE, "--dry-run",
				  "goes with neither --foreground nor --print-xml");
	if (a->policy.is_none && (a->nr_backing || a->policy.format))
		return err_report(VBLK_USAGE, "--no-backing",
				  "goes with neither --backing nor --backing-format");
	return VBLK_OK;
}
