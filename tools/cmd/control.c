// SPDX-License-Identifier: GPL-2.0-only
/* vblk-control: a request to a disk's server, and what it answers. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <libsmartcols/libsmartcols.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attached.h"
#include "cmd.h"
#include "err.h"
#include "out.h"
#include "server/control.h"

/* A pause waits for the guest's requests, and these may wait for space on the host. */
#define ANSWER_MS	60000

static const char help[] =
"Usage: vblk-control [--json] [--force] DISK COMMAND [ARGUMENT]\n"
"\n"
"Ask the server of a disk something. COMMAND is one of:\n"
"  status                 what it serves, and to whom\n"
"  stats                  what the guest's queues did\n"
"  pause, resume          stop the queues; let them run again\n"
"  write-cache on|off     off: writes are durable when they complete\n"
"  stop                   end the server; vblk-attach starts another one\n"
"\n"
"      --json             print JSON\n"
"      --force            stop although a guest is connected\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "force", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

static const char *const plain_commands[] = { "status", "stats", "pause", "resume", "stop" };

/* Return: the request, or NULL when there is no such command; that has been reported. */
static json_object *make_request(int argc, char **argv, bool force)
{
	json_object *o;

	if (!strcmp(argv[0], "write-cache")) {
		if (argc != 2 || (strcmp(argv[1], "on") != 0 && strcmp(argv[1], "off") != 0)) {
			err_report(VBLK_USAGE, argv[0], "wants on or off");
			return NULL;
		}
		o = control_request("write_cache");
		json_object_object_add(o, "on", json_object_new_boolean(!strcmp(argv[1], "on")));
		return o;
	}
	for (size_t i = 0; i < sizeof(plain_commands) / sizeof(plain_commands[0]); i++) {
		if (argc != 1 || strcmp(argv[0], plain_commands[i]) != 0)
			continue;
		o = control_request(argv[0]);
		if (force)
			json_object_object_add(o, "force", json_object_new_boolean(true));
		return o;
	}
	err_report(VBLK_USAGE, argv[0], argc == 1 ? "no such command" : "unexpected argument");
	return NULL;
}

static int add_columns(struct libscols_table *tb, json_object *first)
{
	json_object_object_foreach(first, key, v) {
		char name[32];
		size_t i;

		(void)v;
		for (i = 0; key[i] && i < sizeof(name) - 1; i++)
			name[i] = toupper(key[i]);
		name[i] = '\0';
		if (!scols_table_new_column(tb, name, 1, SCOLS_FL_RIGHT))
			return -ENOMEM;
	}
	return 0;
}

static int add_line(struct libscols_table *tb, json_object *row)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);
	size_t n = 0;

	if (!ln)
		return -ENOMEM;
	json_object_object_foreach(row, key, v) {
		(void)key;
		if (n < scols_table_get_ncols(tb) &&
		    scols_line_set_data(ln, n++, json_object_get_string(v)))
			return -ENOMEM;
	}
	return 0;
}

/* Objects with the same members */
static int print_rows(json_object *list)
{
	struct libscols_table *tb;
	size_t n = json_object_array_length(list);
	int err;

	if (!n)
		return 0;
	tb = scols_new_table();
	if (!tb)
		return -ENOMEM;
	err = add_columns(tb, json_object_array_get_idx(list, 0));
	for (size_t i = 0; i < n && !err; i++)
		err = add_line(tb, json_object_array_get_idx(list, i));
	if (!err)
		err = scols_print_table(tb);
	scols_unref_table(tb);
	return err;
}

static int print_text(json_object *reply)
{
	int err = 0;

	json_object_object_foreach(reply, key, v) {
		if (json_object_is_type(v, json_type_array))
			err = err ?: print_rows(v);
		else if (v)
			printf("%s: %s\n", key, json_object_get_string(v));
	}
	return err;
}

static int print_reply(json_object *reply, bool as_json)
{
	int err = 0;

	json_object_object_del(reply, "version");
	json_object_object_del(reply, "ok");
	if (as_json)
		out_json(json_object_get(reply));
	else
		err = print_text(reply);
	return err ? err_errno(-err, NULL, "cannot print the answer") : out_flush();
}

static int report_no_answer(const struct attached *a, int err)
{
	if (err == -ENOENT && a->server) {
		err_report(VBLK_UNSUPPORTED, a->d.name,
			   "its server is of a version without a control socket");
		return VBLK_UNSUPPORTED;
	}
	return err_errno(-err, a->d.name, "its server does not answer");
}

static int ask(const struct attached *a, json_object *request, bool as_json)
{
	json_object *reply;
	const char *why;
	int err, ret;

	err = control_call(a->serving.name, request, ANSWER_MS, &reply);
	if (err)
		return report_no_answer(a, err);
	ret = control_reply_code(reply, &why);
	if (ret)
		err_report(ret, a->d.name, "%s", why);
	else
		ret = print_reply(reply, as_json);
	json_object_put(reply);
	return ret;
}

static int ask_server(const struct attached *a, json_object *request, bool as_json)
{
	int ret;

	if (a->is_served && a->server)
		return ask(a, request, as_json);
	json_object_put(request);
	ret = err_report(VBLK_NOT_FOUND, a->d.name, "it has no server");
	if (a->is_served)
		err_hint_command("vblk-attach", a->image, NULL);
	return ret;
}

/* It answers before it waits for the guest's requests. Then the next one may be started. */
static int stop_server(const struct attached *a, json_object *request, bool as_json)
{
	int pidfd = a->server ? syscall(SYS_pidfd_open, a->server, 0) : -1;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int ret = ask_server(a, request, as_json);

	if (!ret && pidfd >= 0 && poll(&p, 1, ANSWER_MS) <= 0)
		ret = err_report(VBLK_BUSY, a->d.name,
				 "its server waits for requests of the guest, and ends behind them");
	if (pidfd >= 0)
		close(pidfd);
	return ret;
}

/* Who only looks does not wait for a verb that works on the disk. */
static int look(const char *arg, json_object *request, bool as_json)
{
	struct attached a;
	int ret = attached_find(arg, &a);

	if (!ret)
		return ask_server(&a, request, as_json);
	json_object_put(request);
	return ret;
}

static int ask_locked(const char *arg, json_object *request, bool as_json, bool is_stop)
{
	struct attached a;
	int lock, ret;

	ret = attached_lock_any(arg, &a, &lock);
	if (ret) {
		json_object_put(request);
		return ret;
	}
	ret = is_stop ? stop_server(&a, request, as_json) : ask_server(&a, request, as_json);
	state_unlock(a.d.uuid, lock);
	return ret;
}

static int run_command(const char *arg, const char *command, json_object *request, bool as_json)
{
	if (!strcmp(command, "status") || !strcmp(command, "stats"))
		return look(arg, request, as_json);
	return ask_locked(arg, request, as_json, !strcmp(command, "stop"));
}

/** cmd_control() - the verb */
int cmd_control(int argc, char **argv)
{
	bool as_json = false, force = false;
	json_object *request;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			as_json = true;
			break;
		case 'f':
			force = true;
			break;
		case 'h':
			fputs(help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("control");
		}
	}
	if (argc - optind < 2) {
		err_report(VBLK_USAGE, NULL, "needs a DISK and a COMMAND");
		return cmd_usage_error("control");
	}
	request = make_request(argc - optind - 1, argv + optind + 1, force);
	if (!request)
		return cmd_usage_error("control");
	ret = dmdev_init();
	if (!ret)
		return run_command(argv[optind], argv[optind + 1], request, as_json);
	json_object_put(request);
	return ret;
}
