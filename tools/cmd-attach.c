// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-attach: image -> locked descriptor -> dm device -> server -> QEMU's line.
 *
 * One attach or detach of an image runs at a time (state_lock). Between images
 * that want the same name the kernel decides, when the device is created. Its
 * UUID is made from the image's identity; a server that died is replaced
 * on the device found by it, without opening the image, whose locks the kernel
 * holds all the time.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attached.h"
#include "cmd.h"
#include "dm-qcow2/format/table.h"
#include "err.h"
#include "holder.h"
#include "image.h"
#include "out.h"
#include "qemu.h"
#include "server.h"

#define MAX_DEFAULT_QUEUES	8
#define DEFAULT_QUEUE_SIZE	128
#define MAX_ID			(UINT_MAX - 1)	/* the last one means none */

static const char help[] =
"Usage: vblk-attach [OPTION...] IMAGE [NAME]\n"
"\n"
"Map the qcow2 image IMAGE as /dev/mapper/NAME and serve it to a guest through\n"
"vhost-blk. NAME is IMAGE's file name without .qcow2 unless it is given.\n"
"\n"
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
"      --cache-mb N       limit of the image's metadata cache\n"
"      --foreground       serve in this process, do not fork a server\n"
"      --qemu VERSION     print options for that QEMU (the one of this host)\n"
"      --json             print the result as JSON\n"
"      --print-xml        print a <disk> element for libvirt\n"
"  -h, --help             print this\n"
"\n"
"If the server of an attached image is gone, attaching it again starts a new\n"
"one; a guest that reconnects goes on where it was.\n";

enum {
	OPT_READ_ONLY = 256,
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
	OPT_CACHE_MB,
	OPT_FOREGROUND,
	OPT_QEMU,
	OPT_JSON,
	OPT_PRINT_XML,
};

static const struct option options[] = {
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
	{ "cache-mb", required_argument, NULL, OPT_CACHE_MB },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "qemu", required_argument, NULL, OPT_QEMU },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "print-xml", no_argument, NULL, OPT_PRINT_XML },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct attach - one attach on its way
 * @img: the image
 * @name: of a new device; the user's, or made from the image's file name
 * @serving: how it is to be served; unused with @no_vhost
 * @socket_arg: the user's socket path, or NULL
 * @has_socket_access: the user has said whose the socket is to be
 * @has_poll_us: the user has given that
 * @asked: what the user has given of @serving, 0 or "" for the rest
 * @reconnect: of the QEMU that the user has named
 * @cache_mb: 0 for the target's own default
 * @is_new: the device is ours, not one of before
 * @server: opened in this process; only with @foreground
 * @result: what is printed in the end
 */
struct attach {
	struct image img;
	char name[128];
	struct serving serving;
	const char *socket_arg;
	const char *serial_arg;
	bool has_socket_access;
	bool has_poll_us;
	struct serving asked;
	enum qemu_reconnect reconnect;
	unsigned int cache_mb;
	bool read_only;
	bool no_vhost;
	bool foreground;
	bool help;
	enum out_format format;
	bool is_new;
	struct server *server;
	struct attached result;
};

static int parse_uint(const char *what, const char *text, unsigned int min,
		      unsigned int max, unsigned int *value)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n < min || n > max)
		return err_report(VBLK_USAGE, what,
				  "'%s' is not a number from %u to %u", text,
				  min, max);
	*value = n;
	return VBLK_OK;
}

static int parse_queue_size(const char *text, unsigned int *value)
{
	int ret = parse_uint("--queue-size", text, SERVER_MIN_QUEUE_SIZE,
			     SERVER_MAX_QUEUE_SIZE, value);

	if (!ret && (*value & (*value - 1)))
		return err_report(VBLK_USAGE, "--queue-size",
				  "%u is not a power of 2", *value);
	return ret;
}

/* A number is one even if some user has it for a name: there is no such thing. */
static int parse_owner(const char *text, uid_t *uid)
{
	const struct passwd *user = getpwnam(text);

	if (!user)
		return parse_uint("--socket-owner", text, 0, MAX_ID, uid);
	*uid = user->pw_uid;
	return VBLK_OK;
}

static int parse_group(const char *text, gid_t *gid)
{
	const struct group *group = getgrnam(text);

	if (!group)
		return parse_uint("--socket-group", text, 0, MAX_ID, gid);
	*gid = group->gr_gid;
	return VBLK_OK;
}

static int parse_mode(const char *text, unsigned int *mode)
{
	unsigned long n;
	char *end;

	n = strtoul(text, &end, 8);
	if (*end || *text < '0' || *text > '7' || n > 0777)
		return err_report(VBLK_USAGE, "--socket-mode",
				  "'%s' is not an octal number from 0 to 0777",
				  text);
	*mode = n;
	return VBLK_OK;
}

static int parse_socket_access(struct attach *a, int opt)
{
	a->has_socket_access = true;
	switch (opt) {
	case OPT_SOCKET_OWNER:
		return parse_owner(optarg, &a->serving.socket_uid);
	case OPT_SOCKET_GROUP:
		return parse_group(optarg, &a->serving.socket_gid);
	default:
		return parse_mode(optarg, &a->serving.socket_mode);
	}
}

static int parse_option(struct attach *a, int opt)
{
	switch (opt) {
	case OPT_READ_ONLY:
		a->read_only = true;
		return VBLK_OK;
	case OPT_NO_VHOST:
		a->no_vhost = true;
		return VBLK_OK;
	case OPT_QUEUES:
		return parse_uint("--queues", optarg, 1, SERVER_MAX_QUEUES,
				  &a->serving.queues);
	case OPT_QUEUE_SIZE:
		return parse_queue_size(optarg, &a->serving.queue_size);
	case OPT_WORKERS:
		return parse_uint("--workers", optarg, 1, SERVER_MAX_QUEUES,
				  &a->serving.workers);
	case OPT_POLL_US:
		a->has_poll_us = true;
		return parse_uint("--poll-us", optarg, 0, SERVER_MAX_POLL_US,
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
	case OPT_CACHE_MB:
		return parse_uint("--cache-mb", optarg, 1, QCOW2_MAX_CACHE_MB,
				  &a->cache_mb);
	case OPT_FOREGROUND:
		a->foreground = true;
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

/* What the user gave; the rest is chosen for a new device only. */
static int check_args(struct attach *a, const char *name_arg)
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

static int choose_rest(struct attach *a)
{
	int ret = *a->name ? VBLK_OK : derive_name(a);

	if (ret || a->no_vhost)
		return ret;
	choose_serving(a);
	if (!a->socket_arg)
		ret = choose_socket(a);
	return ret ? ret : check_socket(a);
}

/* Everything that can be told without touching the image or the kernel. */
static int parse(struct attach *a, int argc, char **argv)
{
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		ret = parse_option(a, opt);
		if (ret)
			return ret;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return err_report(VBLK_USAGE, NULL, "needs IMAGE and perhaps NAME");
	if (a->no_vhost && (a->foreground || a->socket_arg || a->serial_arg ||
			    a->has_socket_access ||
			    a->serving.queues || a->serving.queue_size ||
			    a->serving.workers || a->has_poll_us ||
			    a->serving.batch || a->reconnect ||
			    a->format == OUT_LIBVIRT_XML))
		return err_report(VBLK_USAGE, "--no-vhost",
				  "goes with none of the options about serving");
	return VBLK_OK;
}

static int check_host(struct attach *a)
{
	int err, ret;

	err = dmdev_target_present();
	if (err == -EINVAL) {
		ret = err_report(VBLK_NOT_FOUND, "dm-qcow2",
				 "the kernel module is not loaded");
		err_hint("modprobe dm-qcow2");
		return ret;
	}
	if (err)
		return err_errno(-err, "dm-qcow2", "cannot ask for the target");
	return a->no_vhost ? VBLK_OK : server_check();
}

static int report_load_error(struct attach *a, int err)
{
	char who[512];
	int ret;

	if (err == -EBUSY && S_ISBLK(a->img.st.st_mode) &&
	    holder_of_device(a->img.st.st_rdev, 0, who, sizeof(who)))
		return err_report(VBLK_BUSY, a->img.arg, "in use: %s", who);
	ret = err_errno(-err, a->img.arg, "the kernel refused the image");
	err_hint("dmesg | grep qcow2");
	return ret;
}

static int load_table(struct attach *a)
{
	uint64_t sectors = a->img.virtual_bytes >> 9;
	char params[64];
	int err;

	if (a->cache_mb)
		snprintf(params, sizeof(params), "%d features 1 cache_mb=%u",
			 a->img.fd, a->cache_mb);
	else
		snprintf(params, sizeof(params), "%d", a->img.fd);

	err = dmdev_load(a->name, sectors, params, a->read_only);
	if (!err)
		err = dmdev_resume(a->name, !a->no_vhost);
	return err ? report_load_error(a, err) : VBLK_OK;
}

/* Often by the same disk: its image has been replaced by a new file of its name. */
static int report_taken(const struct attach *a)
{
	struct attached other = {};
	int ret;

	if (dmdev_find_name(a->name, &other.d) == 0 && dmdev_is_ours(&other.d))
		attached_fill(&other);
	if (!other.is_served || strcmp(other.serving.image, a->img.path) != 0) {
		ret = err_report(VBLK_BUSY, a->name, "name taken: " DMDEV_DIR
				 "%s exists", a->name);
		err_hint_command("vblk-attach", a->img.arg, "NAME", NULL);
		return ret;
	}
	ret = err_report(VBLK_BUSY, a->name,
			 "name taken: it serves the file that was %s before",
			 a->img.arg);
	err_hint("vblk-%s " DMDEV_DIR "%s", other.server ? "detach" : "attach",
		 a->name);
	return ret;
}

/* The device that a name's files are of may have been renamed since. */
static int check_files(const struct attach *a)
{
	struct serving old;
	struct dmdev d;
	int ret;

	if (state_load(a->name, &old) || !*old.uuid ||
	    !strcmp(old.uuid, a->img.uuid) || dmdev_find_uuid(old.uuid, &d))
		return VBLK_OK;
	/* Unless they are left-overs of a name that it had once. */
	if (state_find(d.name, d.uuid, &old) || strcmp(old.name, a->name) != 0)
		return VBLK_OK;
	ret = err_report(VBLK_BUSY, a->name,
			 "name taken: by the disk that is " DMDEV_DIR "%s now",
			 d.name);
	err_hint_command("vblk-attach", a->img.arg, "NAME", NULL);
	return ret;
}

static int create_device(struct attach *a)
{
	int err, ret;

	err = dmdev_create(a->name, a->img.uuid);
	if (err == -EBUSY)
		return report_taken(a);
	if (err)
		return err_errno(-err, a->name, "cannot create the device");
	ret = check_files(a);
	if (ret) {
		dmdev_remove(a->name);
		return ret;
	}

	/* Before the table, so that whoever finds one knows who serves it. */
	if (a->no_vhost) {
		/* What the name's last disk may have left. */
		state_forget(a->name);
	} else {
		err = state_save(&a->serving);
		if (err) {
			ret = err_errno(-err, STATE_DIR, "cannot write");
			goto err_remove;
		}
	}
	ret = load_table(a);
	if (ret)
		goto err_remove;
	return VBLK_OK;

err_remove:
	state_forget(a->name);	/* while the name is still ours */
	dmdev_remove(a->name);
	return ret;
}

/* Serve a->result.d; in a process of its own unless --foreground. */
static int start_server(struct attach *a, bool takes_over)
{
	struct attached *r = &a->result;

	if (!a->foreground)
		return server_start(&r->d, &r->serving, takes_over, &r->server);
	r->server = getpid();
	return server_open(&r->d, &r->serving, takes_over, &a->server);
}

static int finish_new(struct attach *a)
{
	struct attached *r = &a->result;
	int err;

	err = dmdev_find_name(a->name, &r->d);
	if (err)
		return err_errno(-err, a->name, "cannot find the new device");
	strcpy(r->image, a->img.path);
	r->bytes = a->img.virtual_bytes;
	r->is_served = !a->no_vhost;
	r->serving = a->serving;
	return a->no_vhost ? VBLK_OK : start_server(a, false);
}

static void remove_new(struct attach *a)
{
	state_forget(a->name);
	dmdev_remove(a->name);
}

static void warn_of_compressed(const struct attach *a)
{
	err_warn(a->img.arg,
		 "has compressed clusters, which are not supported: their I/O fails");
	err_hint_command("vblk-detach", a->name, NULL);
	err_hint_command("qemu-img", "convert", "-O", "qcow2", a->img.arg, "NEW", NULL);
}

static int attach_new(struct attach *a)
{
	int ret;

	ret = choose_rest(a);
	if (!ret)
		ret = check_host(a);
	if (ret)
		return ret;
	ret = image_open(&a->img, a->read_only);
	if (!ret)
		ret = create_device(a);
	/* A server that kept it open would keep the locks beyond a detach. */
	image_close(&a->img);
	if (ret)
		return ret;

	a->is_new = true;
	ret = finish_new(a);
	if (ret)
		remove_new(a);
	else if (a->img.has_compressed)
		warn_of_compressed(a);
	return ret;
}

/*
 * Nobody was told where the disk is. A new process that took a disk over goes
 * on: a guest may wait for it.
 */
static void undo(struct attach *a)
{
	if (a->server)
		server_close(a->server);
	else if (a->is_new && a->result.server)
		server_stop(&a->serving, a->name, a->result.server, true);
	if (a->is_new)
		remove_new(a);
}

static int report_result(struct attach *a)
{
	int ret;

	out_attached(&a->result, a->format, a->reconnect);
	ret = out_flush();
	if (ret)
		undo(a);
	return ret;
}

static void say_kept(const char *option, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say_kept(const char *option, const char *fmt, ...)
{
	char is[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(is, sizeof(is), fmt, args);
	va_end(args);
	err_report(VBLK_FAILED, option,
		   "ignored: the disk stays as it was attached, with %s", is);
}

static bool has_cache_mb(const struct attach *a)
{
	char feature[32], *params, *word;
	uint64_t sectors;
	bool has_it;

	if (dmdev_table(a->result.d.name, &sectors, &params))
		return false;
	snprintf(feature, sizeof(feature), " cache_mb=%u", a->cache_mb);
	word = strstr(params, feature);
	has_it = word && (word[strlen(feature)] == ' ' || !word[strlen(feature)]);
	free(params);
	return has_it;
}

static bool has_other_id(unsigned int asked, unsigned int is)
{
	return asked != SOCKET_ID_UNSET && asked != is;
}

/* A guest may be in the middle of what it was offered. */
static void say_what_is_kept(const struct attach *a)
{
	const struct serving *is = &a->result.serving, *asked = &a->asked;

	if (a->read_only && !a->result.d.is_read_only)
		say_kept("--read-only", "writing");
	if (asked->queues && asked->queues != is->queues)
		say_kept("--queues", "%u", is->queues);
	if (asked->queue_size && asked->queue_size != is->queue_size)
		say_kept("--queue-size", "%u", is->queue_size);
	if (asked->workers && asked->workers != is->workers)
		say_kept("--workers", is->workers ? "%u" : "one a queue",
			 is->workers);
	if (a->has_poll_us && asked->poll_us != is->poll_us)
		say_kept("--poll-us", "%u", is->poll_us);
	if (asked->batch && !is->batch)
		say_kept("--batch", "the usual scheduling policy");
	if (*asked->socket && strcmp(asked->socket, is->socket) != 0)
		say_kept("--socket", "%s", is->socket);
	if (has_other_id(asked->socket_uid, is->socket_uid))
		say_kept("--socket-owner", is->socket_uid == SOCKET_ID_UNSET ? "root" : "%u",
			 is->socket_uid);
	if (has_other_id(asked->socket_gid, is->socket_gid))
		say_kept("--socket-group", is->socket_gid == SOCKET_ID_UNSET ? "kvm" : "%u",
			 is->socket_gid);
	if (has_other_id(asked->socket_mode, is->socket_mode))
		say_kept("--socket-mode", "%04o", is->socket_mode);
	if (a->serial_arg && strcmp(a->serial_arg, is->serial) != 0)
		say_kept("--serial", "%s", is->serial);
	if (a->cache_mb && !has_cache_mb(a))
		say_kept("--cache-mb", "the limit that it has");
}

/* The image has a device already; all that may be missing is its server. */
static int take_over(struct attach *a, const char *name_arg)
{
	struct attached *r = &a->result;
	int ret;

	attached_fill(r);
	if (!a->no_vhost && r->is_served && !r->server &&
	    (!name_arg || !strcmp(name_arg, r->d.name))) {
		ret = server_check();
		if (ret)
			return ret;
		say_what_is_kept(a);
		return start_server(a, true);
	}
	ret = err_report(VBLK_BUSY, a->img.arg, "already attached as " DMDEV_DIR
			 "%s", r->d.name);
	err_hint_command("vblk-detach", r->d.name, NULL);
	return ret;
}

static int attach_locked(struct attach *a, const char *name_arg)
{
	struct dmdev *d = &a->result.d;
	int err;

	err = dmdev_find_uuid(a->img.uuid, d);
	if (!err && d->is_live)
		return take_over(a, name_arg);
	if (err && err != -ENXIO)
		return err_errno(-err, a->img.arg, "cannot look for its device");
	if (!err) {
		/* Left by an attach that was killed before it had a table. */
		state_forget(d->name);
		dmdev_remove(d->name);
	}
	return attach_new(a);
}

/* Killing an attach half-way by ^C, or by a closed pipe, would leave half of it. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/*
 * A served disk by its device: its image may have no path any more. A disk of
 * this host's may have an image inside instead.
 */
static void adopt_device(struct attach *a)
{
	struct attached disk;

	if (!S_ISBLK(a->img.st.st_mode) ||
	    dmdev_find_number(a->img.st.st_rdev, &disk.d) ||
	    !dmdev_is_ours(&disk.d))
		return;
	attached_fill(&disk);
	if (disk.is_served && strlen(disk.d.uuid) < sizeof(a->img.uuid))
		strcpy(a->img.uuid, disk.d.uuid);
}

static int attach(struct attach *a, const char *name_arg)
{
	int lock, ret;

	adopt_device(a);
	lock = state_lock(a->img.uuid);
	if (lock < 0)
		return err_errno(-lock, STATE_DIR, "cannot lock");
	block_signals();
	ret = attach_locked(a, name_arg);
	if (!ret)
		ret = report_result(a);
	state_unlock(a->img.uuid, lock);
	if (ret || !a->server)
		return ret;
	ret = server_run(a->server);
	server_close(a->server);
	return ret;
}

/** cmd_attach() - the verb */
int cmd_attach(int argc, char **argv)
{
	struct attach a = {
		.serving = {
			.socket_uid = SOCKET_ID_UNSET,
			.socket_gid = SOCKET_ID_UNSET,
			.socket_mode = SOCKET_ID_UNSET,
		},
	};
	const char *name_arg;
	int ret;

	ret = parse(&a, argc, argv);
	if (a.help) {
		fputs(help, stdout);
		return out_flush();
	}
	if (ret)
		return cmd_usage_error("attach");
	name_arg = argv[optind + 1];

	ret = image_identify(&a.img, argv[optind]);
	a.img.name = name_arg;
	if (!ret)
		ret = check_args(&a, name_arg);
	if (!ret)
		ret = dmdev_init();
	if (!ret)
		ret = attach(&a, name_arg);
	return ret;
}
