// SPDX-License-Identifier: GPL-2.0-only
/* The server of a disk that is there: started, or put in the place of one that died. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "err.h"

/** attach_start_server() - serve @a->result.d, here if --foreground asks for it; an exit code */
int attach_start_server(struct attach *a, bool takes_over)
{
	struct attached *r = &a->result;

	if (!a->foreground)
		return server_start(&r->d, &r->serving, takes_over, &r->server);
	r->server = getpid();
	return server_open(&r->d, &r->serving, takes_over, &a->server);
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

static bool has_feature(const struct attach *a, const char *feature)
{
	char *params, *word;
	uint64_t sectors;
	bool has_it;

	if (dmdev_table(a->result.d.name, &sectors, &params))
		return false;
	word = strstr(params, feature);
	has_it = word && (word[strlen(feature)] == ' ' || !word[strlen(feature)]);
	free(params);
	return has_it;
}

/* Whether the table line has " NAME=VALUE" */
static bool has_number(const struct attach *a, const char *name, uint64_t value)
{
	char feature[48];

	snprintf(feature, sizeof(feature), " %s=%ju", name, (uintmax_t)value);
	return has_feature(a, feature);
}

static bool has_discard(const struct attach *a)
{
	char feature[32];

	snprintf(feature, sizeof(feature), " discard=%s", a->discard);
	return has_feature(a, feature);
}

/* As far as paths tell, which is what the kernel has of it. */
static bool has_other_data(const struct attach *a)
{
	struct layers layers = {};
	struct stat asked, is;
	uint64_t bytes;
	bool is_same;

	if (layers_of_device(a->result.d.name, &bytes, &layers) || !layers.n) {
		layers_free(&layers);
		return false;
	}
	is_same = layers.list[0].data && stat(layers.list[0].data, &is) == 0 &&
		  stat(a->policy.data_file, &asked) == 0 && image_is_same(&is, &asked);
	layers_free(&layers);
	return !is_same;
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
	if (a->cache_mb && !has_number(a, "cache_mb", a->cache_mb))
		say_kept("--cache-mb", "the limit that it has");
	if (a->has_low_space && !has_number(a, "low_space", a->low_space))
		say_kept("--low-space", "the level that it has");
	if (a->discard && !has_discard(a))
		say_kept("--discard", "the mode that it has");
	if (a->policy.data_file && has_other_data(a))
		say_kept("--data-file", "the data that it has");
}

/** attach_take_over() - a server for a disk whose server has gone; an exit code */
int attach_take_over(struct attach *a, const char *name_arg)
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
		return attach_start_server(a, true);
	}
	ret = err_report(VBLK_BUSY, a->img.arg, "already attached as " DMDEV_DIR
			 "%s", r->d.name);
	err_hint_command("vblk-detach", r->d.name, NULL);
	return ret;
}
