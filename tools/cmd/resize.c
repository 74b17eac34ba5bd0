// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-resize: a larger image under a disk that is in use, and the guest told of it.
 *
 * While the image grows the device is suspended, and a guest waits. If who does that dies, the same command goes
 * on from there.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "disk/grow.h"
#include "err.h"
#include "out.h"
#include "server/control.h"
#include "server/state.h"
#include "size.h"
#include "snapshot.h"

#define ANSWER_MS	10000

static const char help[] =
"Usage: vblk-resize [--dry-run] [--json] DISK [+]SIZE\n"
"\n"
"Make a disk larger while it is in use, and tell its guest. SIZE is in bytes, or\n"
"in KiB, MiB... with K, M, G, T, P or E behind it; with + it is added.\n"
"\n"
"      --dry-run          check everything, print the result, change nothing\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

static const struct option options[] = {
	{ "dry-run", no_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/* In a process of its own; the device is suspended. */
static int load_and_resume(struct change *c, uint64_t bytes)
{
	const char *name = c->a.d.name;
	char *params;
	int fd, err;

	err = live_open_top(&c->chain, 0, &fd);
	if (err)
		return err;
	params = live_table(&c->chain, 1, fd);
	err = params ? dmdev_load(name, bytes >> 9, params, false) : -ENOMEM;
	free(params);
	if (!err)
		err = dmdev_switch(name, c->a.is_served);
	close(fd);
	return err;
}

static int report_failure(struct change *c, const struct growth *g, int why)
{
	int ret = err_errno(-why, c->a.d.name, "the kernel refused the larger image");
	int err;

	err_hint("dmesg | grep qcow2");
	err = grow_undo(g) ?: load_and_resume(c, g->old_bytes);
	if (err) {
		err_errno(-err, c->a.d.name, "suspended: its guest waits");
		err_hint("dmesg | grep qcow2");
	}
	return ret;
}

static int grow(struct change *c, void *arg)
{
	const struct growth *g = arg;
	const char *name = c->a.d.name;
	uint64_t is_bytes;
	int err, ret = VBLK_OK;

	if (!c->a.d.is_suspended) {
		err = dmdev_suspend(name, c->a.is_served);
		if (err)
			return err_errno(-err, name, "cannot suspend it");
	}
	err = grow_read_size(&c->chain.list[0], &is_bytes);
	if (err)
		ret = err_errno(-err, name, "cannot read the header");
	/* Else somebody has come as far as this, and was killed. */
	else if (is_bytes != g->new_bytes)
		ret = grow_image(g, name);
	if (ret) {
		err = grow_undo(g) ?: load_and_resume(c, g->old_bytes);
		if (err)
			err_errno(-err, name, "suspended: its guest waits");
		return ret;
	}
	err = load_and_resume(c, g->new_bytes);
	return err ? report_failure(c, g, err) : VBLK_OK;
}

static void say_not_told(const struct attached *a, const char *why)
{
	err_report(VBLK_FAILED, a->d.name,
		   "the guest was not told of the new size: %s; it has it from its next start on", why);
}

/* Return: whether a guest was. */
static bool tell_guest(const struct attached *a)
{
	json_object *reply, *v;
	const char *why = "its QEMU does not want to know";
	bool was_told = false;
	int err;

	if (!a->server) {
		if (a->is_served)
			say_not_told(a, "its disk has no server");
		return false;
	}
	err = control_call(a->serving.name, control_request("resize"), ANSWER_MS, &reply);
	if (err) {
		say_not_told(a, strerror(-err));
		return false;
	}
	if (control_reply_code(reply, &why) == VBLK_OK &&
	    json_object_object_get_ex(reply, "told", &v))
		was_told = json_object_get_boolean(v);
	if (!was_told && a->guest)
		say_not_told(a, why);
	json_object_put(reply);
	return was_told;
}

static int print_result(const struct attached *a, uint64_t bytes, bool was_told, bool as_json)
{
	char size[16];
	json_object *o;

	if (as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "name", json_object_new_string(a->d.name));
		json_object_object_add(o, "size_bytes", out_bytes_json(bytes));
		json_object_object_add(o, "told", json_object_new_boolean(was_told));
		out_json(o);
	} else {
		out_format_bytes(bytes, size, sizeof(size));
		printf("size: %s\n", size);
	}
	return out_flush();
}

/**
 * struct args - the command line
 * @bytes: the size
 * @is_more: it is added
 * @is_dry: nothing is to be changed
 * @as_json: print JSON
 */
struct args {
	uint64_t bytes;
	bool is_more;
	bool is_dry;
	bool as_json;
};

static int apply(struct change *c, struct growth *g)
{
	char self[32];
	int ret;

	if (g->new_bytes == g->old_bytes && !c->a.d.is_suspended)
		return VBLK_OK;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", c->chain.list[0].fd);
	g->fd = open(self, O_RDWR | O_CLOEXEC);
	ret = g->fd < 0 ? err_errno(errno, c->a.d.name, "cannot open its image") :
			  change_apart(c, grow, g, "its image was made larger");
	if (g->fd >= 0)
		close(g->fd);
	return ret;
}

static int resize(struct change *c, const struct args *args)
{
	struct growth g = { .chain = &c->chain, .fd = -1 };
	int ret;

	c->may_be_suspended = true;
	c->is_dry = args->is_dry;
	ret = change_begin(c);
	if (ret)
		return ret;
	g.old_bytes = c->chain.sectors << 9;
	g.new_bytes = args->is_more ? g.old_bytes + args->bytes : args->bytes;
	if (g.new_bytes < args->bytes)
		return err_report(VBLK_USAGE, c->a.d.name, "too large");
	ret = grow_check(&g, c->a.d.name);
	if (!ret && args->is_dry)
		return print_result(&c->a, g.new_bytes, false, args->as_json);
	if (!ret)
		ret = apply(c, &g);
	return ret ? ret : print_result(&c->a, g.new_bytes, tell_guest(&c->a), args->as_json);
}

static int resize_locked(const char *disk, const struct args *args)
{
	struct change c = CHANGE_NONE;
	int lock, ret;

	ret = attached_lock(disk, &c.a, &lock);
	if (ret)
		return ret;
	state_share_lock(lock);
	ret = resize(&c, args);
	change_end(&c);
	state_unlock(c.a.d.uuid, lock);
	return ret;
}

/** cmd_resize() - the verb */
int cmd_resize(int argc, char **argv)
{
	struct args args = {};
	const char *size;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			args.is_dry = true;
			break;
		case 'j':
			args.as_json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return out_flush();
		default:
			return cmd_usage_error("resize");
		}
	}
	if (argc - optind != 2) {
		err_report(VBLK_USAGE, NULL, "needs the NAME of a disk and a SIZE");
		return cmd_usage_error("resize");
	}
	size = argv[optind + 1];
	args.is_more = *size == '+';
	ret = size_parse("SIZE", size + args.is_more, &args.bytes);
	if (ret)
		return cmd_usage_error("resize");
	ret = dmdev_init();
	return ret ? ret : resize_locked(argv[optind], &args);
}
