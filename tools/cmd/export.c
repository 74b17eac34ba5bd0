// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-export: a disk as it is at one instant, for NBD clients on a UNIX socket.
 *
 *	lock - socket - freeze - nbdkit - [qemu-nbd] - unlock - [clients] - lock - no socket - thaw - unlock
 *
 * The lock of the disk is not held while clients are served: nothing ends the instant meanwhile,
 * as we have the view open. Killed anywhere it leaves a frozen disk, which vblk-thaw thaws, and a
 * socket that the next export replaces.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/child.h"
#include "cmd.h"
#include "disk/bitmaps.h"
#include "disk/view.h"
#include "err.h"
#include "export/bits.h"
#include "export/nbdkit.h"
#include "out.h"
#include "server/server.h"
#include "socket-access.h"
#include "view-use.h"

#define EXPORT_MODE	0600

/* More than anybody has. */
#define MAX_BITMAPS	16

static const char help[] =
"Usage: vblk-export [OPTION...] DISK|NAME-frozen\n"
"\n"
"Serve the disk as it is now, while it is in use and goes on, to NBD clients on\n"
"a UNIX socket, read-only. NAME-frozen is what vblk-freeze has made. It ends when\n"
"the last client has gone.\n"
"\n"
"      --socket PATH      the socket (/run/vblk/NAME.nbd)\n"
"      --socket-owner USER\n"
"      --socket-group GROUP\n"
"      --socket-mode MODE whose socket it is (root, kvm, 0600)\n"
"      --bitmap BITMAP    tell what has changed by it (qemu:dirty-bitmap:BITMAP);\n"
"                         may be given several times\n"
"  -t, --persistent       end at a signal only\n"
"      --fork             return when clients can connect, and go on behind\n"
"      --memory SIZE      of the kernel's, that it may take\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

enum option_id {
	OPT_SOCKET = 0x100,
	OPT_SOCKET_OWNER,
	OPT_SOCKET_GROUP,
	OPT_SOCKET_MODE,
	OPT_BITMAP,
	OPT_FORK,
	OPT_MEMORY,
	OPT_DRY_RUN,
	OPT_JSON,
};

static const struct option options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "socket-owner", required_argument, NULL, OPT_SOCKET_OWNER },
	{ "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "bitmap", required_argument, NULL, OPT_BITMAP },
	{ "persistent", no_argument, NULL, 't' },
	{ "fork", no_argument, NULL, OPT_FORK },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @disk: what is exported
 * @socket: the user's path, or NULL
 * @access: whose the socket is to be, the rest is 0
 * @bitmaps: those that clients are told of
 * @nr_bitmaps: how many
 * @is_persistent: end at a signal only
 * @forks: go on in a process of its own
 * @memory: for the instant, 0 unless it was given
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 * @help: print the help
 */
struct args {
	const char *disk;
	const char *socket;
	struct serving access;
	const char *bitmaps[MAX_BITMAPS];
	size_t nr_bitmaps;
	bool is_persistent;
	bool forks;
	uint64_t memory;
	bool is_dry;
	bool as_json;
	bool help;
};

/**
 * struct export - one export on its way
 * @a: the disk
 * @lock: on it, or -1
 * @serving: the socket; the rest is 0
 * @is_frozen: by us
 * @view: the device that shows the disk
 * @listener: the clients' socket, or -1
 * @nbdkit: the server: its descriptors are -1 as long as they are not open
 * @front: what is between that and clients that want bitmaps, likewise
 */
struct export {
	struct attached a;
	int lock;
	struct serving serving;
	bool is_frozen;
	struct dmdev view;
	int listener;
	struct nbdkit nbdkit;
	struct front front;
};

static int add_bitmap(struct args *args, const char *name)
{
	if (!*name || strlen(name) >= BITMAP_NAME_SIZE)
		return err_report(VBLK_USAGE, "--bitmap", "not a name for a bitmap");
	if (args->nr_bitmaps == MAX_BITMAPS)
		return err_report(VBLK_USAGE, "--bitmap", "no more than %d", MAX_BITMAPS);
	for (size_t i = 0; i < args->nr_bitmaps; i++)
		if (!strcmp(args->bitmaps[i], name))
			return err_report(VBLK_USAGE, "--bitmap", "'%s' given twice", name);
	args->bitmaps[args->nr_bitmaps++] = name;
	return VBLK_OK;
}

static int parse_option(struct args *args, int opt)
{
	switch (opt) {
	case OPT_SOCKET:
		args->socket = optarg;
		return VBLK_OK;
	case OPT_SOCKET_OWNER:
		return socket_parse_owner(optarg, &args->access.socket_uid);
	case OPT_SOCKET_GROUP:
		return socket_parse_group(optarg, &args->access.socket_gid);
	case OPT_SOCKET_MODE:
		return socket_parse_mode(optarg, &args->access.socket_mode);
	case OPT_BITMAP:
		return add_bitmap(args, optarg);
	case 't':
		args->is_persistent = true;
		return VBLK_OK;
	case OPT_FORK:
		args->forks = true;
		return VBLK_OK;
	case OPT_MEMORY:
		return view_parse_memory(optarg, &args->memory);
	case OPT_DRY_RUN:
		args->is_dry = true;
		return VBLK_OK;
	case OPT_JSON:
		args->as_json = true;
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

	while ((opt = getopt_long(argc, argv, "th", options, NULL)) != -1)
		if (parse_option(args, opt))
			return VBLK_USAGE;
	if (args->help)
		return VBLK_OK;
	if (optind + 1 != argc)
		return err_report(VBLK_USAGE, argv[optind + (optind < argc)],
				  "needs the NAME of one disk");
	args->disk = argv[optind];
	return VBLK_OK;
}

/* The disk that a view shows, if the argument names one. */
static bool find_origin(const char *arg, struct dmdev *origin)
{
	const char *name = arg;
	struct dmdev view;

	if (!strncmp(name, DMDEV_DIR, strlen(DMDEV_DIR)))
		name += strlen(DMDEV_DIR);
	return dmdev_find_name(name, &view) == 0 && view_find_origin(&view, origin) == 0;
}

static int choose_socket(struct export *e, const char *arg)
{
	char own[PATH_MAX], path[2 * PATH_MAX], dir[PATH_MAX];

	state_export_path(e->a.d.name, own, sizeof(own));
	if (!arg)
		snprintf(path, sizeof(path), "%s", own);
	else if (*arg == '/')
		snprintf(path, sizeof(path), "%s", arg);
	else if (getcwd(dir, sizeof(dir)))
		snprintf(path, sizeof(path), "%s/%s", dir, arg);
	else
		return err_errno(errno, arg, "no current directory");

	if (strlen(path) >= sizeof(e->serving.socket))
		return err_report(VBLK_USAGE, path, "socket path longer than %zu bytes",
				  sizeof(e->serving.socket) - 1);
	if (!strncmp(path, STATE_DIR "/", strlen(STATE_DIR "/")) && strcmp(path, own) != 0)
		return err_report(VBLK_USAGE, path,
				  "the only socket of an export of this disk there is %s.nbd",
				  e->a.d.name);
	strcpy(e->serving.socket, path);
	return VBLK_OK;
}

static int open_socket(struct export *e, const struct args *args)
{
	int err, ret;

	e->serving = args->access;
	ret = choose_socket(e, args->socket);
	if (!ret)
		ret = server_unlink_socket(e->a.d.name, e->serving.socket, 0, -1);
	if (ret)
		return ret;
	e->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e->listener < 0)
		return err_errno(errno, e->serving.socket, "cannot create the socket");
	err = server_listen(e->listener, &e->serving);
	/* Clients connect several times at once. */
	if (!err && listen(e->listener, SOMAXCONN) < 0) {
		err = -errno;
		unlink(e->serving.socket);
	}
	if (!err)
		return VBLK_OK;
	close(e->listener);
	e->listener = -1;
	return err_errno(-err, e->serving.socket, "cannot create the socket");
}

/* @arg may have named what has been thawed since. */
static int open_view(struct export *e, const char *arg)
{
	char path[sizeof(DMDEV_DIR) + sizeof(e->view.name)];
	struct nbdkit *n = &e->nbdkit;
	struct stat st;
	int err;

	err = view_find(&e->a.d, &e->view);
	if (err)
		return err_errno(-err, arg, "cannot look it up");
	snprintf(path, sizeof(path), DMDEV_DIR "%s", e->view.name);
	n->view = open(path, O_RDONLY | O_CLOEXEC);
	if (n->view < 0 || fstat(n->view, &st) < 0)
		return err_errno(errno, e->view.name, "cannot open the device");
	if (!S_ISBLK(st.st_mode) || st.st_rdev != e->view.dev)
		return err_report(VBLK_FAILED, e->view.name, "%s is another device", path);
	return VBLK_OK;
}

/* As RFC 3986 has it */
static void put_encoded(FILE *to, const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~/";

	for (; *path; path++) {
		if (strchr(plain, *path))
			putc(*path, to);
		else
			fprintf(to, "%%%02X", (unsigned char)*path);
	}
}

static char *make_uri(const char *socket)
{
	char *uri = NULL;
	size_t size;
	FILE *to = open_memstream(&uri, &size);

	if (!to)
		return NULL;
	fputs("nbd+unix:///?socket=", to);
	put_encoded(to, socket);
	return fclose(to) ? NULL : uri;
}

/* @pid: who serves it, or 0 */
static int print_export(const struct export *e, pid_t pid, bool as_json)
{
	char device[sizeof(DMDEV_DIR) + sizeof(e->view.name)];
	char *uri = make_uri(e->serving.socket);
	json_object *o;

	if (!uri)
		return err_report(VBLK_FAILED, e->a.d.name, "out of memory");
	snprintf(device, sizeof(device), DMDEV_DIR "%s", e->view.name);
	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(e->a.d.name));
		json_object_object_add(o, "frozen", json_object_new_string(device));
		json_object_object_add(o, "socket", json_object_new_string(e->serving.socket));
		json_object_object_add(o, "uri", json_object_new_string(uri));
		json_object_object_add(o, "pid", pid ? json_object_new_int(pid) : NULL);
		out_json(o);
	} else {
		printf("frozen: %s\nsocket: %s\nuri:    %s\n", device, e->serving.socket, uri);
		if (pid)
			printf("pid:    %d\n", pid);
	}
	free(uri);
	return out_flush();
}

/* nbdkit ends behind what is in front of it. */
static int begin_front(struct export *e, const struct args *args)
{
	struct front *f = &e->front;
	int err, ret;

	ret = bits_make(e->a.d.name, e->view.name, e->a.bytes, args->bitmaps, args->nr_bitmaps,
			&f->bits);
	if (ret)
		return ret;
	err = front_connect(&e->nbdkit.listener, &f->below);
	if (err)
		return err_errno(-err, STATE_DIR, "cannot make a socket");
	e->nbdkit.is_persistent = true;
	ret = nbdkit_start(&e->nbdkit);
	if (ret)
		return ret;
	f->name = e->a.d.name;
	f->listener = e->listener;
	f->bitmaps = args->bitmaps;
	f->nr_bitmaps = args->nr_bitmaps;
	f->is_persistent = args->is_persistent;
	f->has_no_terminal = args->forks;
	return front_start(f);
}

static int check_disk(const struct export *e, const struct args *args, bool is_view)
{
	struct dmdev view;

	if (!is_view)
		return view_check_disk(&e->a);
	if (args->memory)
		return err_report(VBLK_USAGE, "--memory", "%s is frozen already", args->disk);
	if (view_find(&e->a.d, &view) == 0 && view_passed(&view) != 0)
		return err_report(VBLK_BUSY, view.name,
				  "it is of a backup, and its beginning cannot be read any more");
	return VBLK_OK;
}

static int check_programs(const struct args *args)
{
	int ret = nbdkit_check();

	if (ret || !args->nr_bitmaps)
		return ret;
	return child_check("qemu-img") ?: child_check("qemu-io") ?: child_check("qemu-nbd");
}

/* Under the lock: all that may be wrong, and nothing is made. */
static int plan(struct export *e, const struct args *args, bool is_view)
{
	int ret;

	ret = check_disk(e, args, is_view);
	if (!ret)
		ret = choose_socket(e, args->socket);
	if (!ret)
		ret = server_check_socket(e->a.d.name, e->serving.socket);
	if (!ret)
		ret = check_programs(args);
	if (ret)
		return ret;
	view_find(&e->a.d, &e->view);
	if (args->nr_bitmaps)
		ret = bits_check(e->a.d.name, is_view ? e->view.name : e->a.d.name, args->bitmaps,
				 args->nr_bitmaps);
	return ret ? ret : print_export(e, 0, args->as_json);
}

/* Under the lock. Signals are blocked. */
static int begin(struct export *e, const struct args *args, bool is_view)
{
	int ret;

	ret = check_disk(e, args, is_view);
	if (!ret)
		ret = open_socket(e, args);
	if (!ret && !is_view) {
		ret = view_freeze(&e->a, args->memory, &e->view);
		e->is_frozen = !ret;
	}
	if (!ret)
		ret = open_view(e, args->disk);
	if (ret)
		return ret;
	e->nbdkit.name = e->a.d.name;
	e->nbdkit.is_persistent = args->is_persistent;
	e->nbdkit.has_no_terminal = args->forks;
	if (args->nr_bitmaps)
		return begin_front(e, args);
	e->nbdkit.listener = e->listener;
	return nbdkit_start(&e->nbdkit);
}

/* Under the lock. The socket is listened on until its name is gone, so it is ours until then. */
static int end(struct export *e)
{
	struct nbdkit *n = &e->nbdkit;

	front_kill(&e->front);
	nbdkit_kill(n);
	if (e->listener >= 0) {
		unlink(e->serving.socket);
		close(e->listener);
	}
	if (n->view >= 0)
		close(n->view);
	return e->is_frozen ? view_thaw(&e->a) : VBLK_OK;
}

/* Of a view that was given up all reads have failed since: whoever waits for us is told, too. */
static int check_instant(const struct export *e)
{
	char *answer;
	int err = dmdev_ask(e->view.name, "map 0", &answer);

	free(answer);
	return err ? err_errno(-err, e->view.name, "the disk was not kept as it was") : VBLK_OK;
}

/* Whatever the disk is called by now. */
static void lock_again(struct export *e)
{
	e->lock = state_lock(e->a.d.uuid);
	if (e->lock < 0)
		err_errno(-e->lock, STATE_DIR, "cannot lock");
	dmdev_find_uuid(e->a.d.uuid, &e->a.d);
}

static void unlock(struct export *e)
{
	if (e->lock >= 0)
		state_unlock(e->a.d.uuid, e->lock);
	e->lock = -1;
}

static int leave_terminal(int ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || chdir("/") < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		return err_errno(errno, NULL, "cannot leave the terminal");
	if (write(ready, "", 1) != 1)
		return VBLK_FAILED;
	close(ready);
	err_use_syslog();
	dup2(null, STDERR_FILENO);
	close(null);
	return VBLK_OK;
}

static int serve(struct export *e, const struct args *args, int ready)
{
	int ret, lasted;

	ret = print_export(e, getpid(), args->as_json);
	if (!ret && ready >= 0)
		ret = leave_terminal(ready);
	if (!ret)
		ret = nbdkit_wait(&e->nbdkit, &e->front);
	lasted = check_instant(e);
	return ret ? ret : lasted;
}

/* @ready: where to say that clients can connect, or -1 */
static int export(const struct args *args, int ready)
{
	struct export e = {
		.lock = -1,
		.listener = -1,
		.nbdkit = { .listener = -1, .view = -1 },
		.front = { .listener = -1, .below = -1, .bits = -1 },
	};
	struct dmdev origin;
	bool is_view;
	int ret, end_ret;

	is_view = find_origin(args->disk, &origin);
	ret = attached_lock(is_view ? origin.name : args->disk, &e.a, &e.lock);
	if (ret)
		return ret;
	if (args->is_dry) {
		ret = plan(&e, args, is_view);
		unlock(&e);
		return ret;
	}
	nbdkit_block_signals();
	ret = begin(&e, args, is_view);
	if (!ret) {
		unlock(&e);
		ret = serve(&e, args, ready);
		lock_again(&e);
	}
	end_ret = end(&e);
	unlock(&e);
	return ret ? ret : end_ret;
}

static int wait_for_child(pid_t pid, int ready)
{
	ssize_t n;
	int status;
	char byte;

	do
		n = read(ready, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return VBLK_OK;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		return WEXITSTATUS(status);
	return err_report(VBLK_FAILED, NULL, "the export died at its start");
}

static int export_behind(const struct args *args)
{
	int pipefd[2], ret;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(errno, args->disk, "cannot start a process");
	pid = fork();
	if (pid == 0) {
		close(pipefd[0]);
		setsid();
		exit(export(args, pipefd[1]));
	}
	close(pipefd[1]);
	if (pid < 0)
		ret = err_errno(errno, args->disk, "cannot start a process");
	else
		ret = wait_for_child(pid, pipefd[0]);
	close(pipefd[0]);
	return ret;
}

/** cmd_export() - the verb */
int cmd_export(int argc, char **argv)
{
	struct args args = {
		.access = {
			.socket_uid = SOCKET_ID_UNSET,
			.socket_gid = SOCKET_ID_UNSET,
			.socket_mode = EXPORT_MODE,
		},
	};
	int ret;

	if (parse(&args, argc, argv))
		return cmd_usage_error("export");
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	ret = dmdev_init();
	if (ret)
		return ret;
	return args.forks && !args.is_dry ? export_behind(&args) : export(&args, -1);
}
