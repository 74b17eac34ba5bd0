// SPDX-License-Identifier: GPL-2.0-only
/* What can be asked of a disk's server: Documentation/control.rst. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/err.h"
#include "commands.h"
#include "disk.h"
#include "serve.h"
#include "vhost-user/peer.h"

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value && *value ? json_object_new_string(value) : NULL);
}

static void add_number(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void add_bits(json_object *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%jx", (uintmax_t)value);
	add_string(o, key, text);
}

static json_object *errno_reply(int err)
{
	return control_error(err_code(-err), strerror(-err));
}

static json_object *status(struct server *s, json_object *request)
{
	json_object *o = control_ok();

	(void)request;
	add_string(o, "name", s->disk.name);
	add_number(o, "server_pid", getpid());
	json_object_object_add(o, "guest_pid", s->session ?
			       json_object_new_int(vhost_peer_pid(s->conn)) : NULL);
	add_string(o, "problem", s->trouble.problem);
	json_object_object_add(o, "paused", json_object_new_boolean(commands_want_pause(s)));
	json_object_object_add(o, "write_cache",
			       json_object_new_boolean(!s->disk.is_write_through));
	add_number(o, "size_bytes", le64toh(s->disk.config.capacity) << 9);
	add_number(o, "queues", s->disk.queues);
	add_number(o, "queue_size", s->disk.queue_size);
	add_bits(o, "features", s->disk.features);
	add_bits(o, "driver_features", s->session ? vhost_user_features(s->session) : 0);
	return o;
}

static json_object *stats_of_queue(const struct vhost_blk_vring_stats *st)
{
	json_object *o = json_object_new_object();

	add_number(o, "queue", st->index);
	add_number(o, "in_flight", st->in_flight);
	add_number(o, "kicks", st->kicks);
	add_number(o, "batches", st->batches);
	add_number(o, "updates", st->updates);
	add_number(o, "signals", st->signals);
	add_number(o, "reads", st->reads);
	add_number(o, "read_bytes", st->read_bytes);
	add_number(o, "writes", st->writes);
	add_number(o, "write_bytes", st->write_bytes);
	add_number(o, "flushes", st->flushes);
	add_number(o, "others", st->others);
	add_number(o, "errors", st->errors);
	add_number(o, "bounced", st->bounced);
	add_number(o, "reaps", st->reaps);
	add_number(o, "stalls", st->stalls);
	return o;
}

/* Since the guest's queues were started first; none without a guest. */
static json_object *stats(struct server *s, json_object *request)
{
	json_object *o = control_ok(), *list = json_object_new_array();
	struct vhost_blk_vring_stats st;

	(void)request;
	for (unsigned int i = 0; s->session && i < s->disk.queues; i++)
		if (vhost_user_stats(s->session, i, &st) == 0)
			json_object_array_add(list, stats_of_queue(&st));
	json_object_object_add(o, "queues", list);
	return o;
}

/** commands_want_pause() - is no queue to run? */
bool commands_want_pause(const struct server *s)
{
	return s->is_paused || s->holds;
}

static int apply_pause(struct server *s)
{
	return s->session ? vhost_user_set_paused(s->session, commands_want_pause(s)) : 0;
}

/** commands_let_go() - somebody has hung up for whom there is a pause */
void commands_let_go(void *server)
{
	struct server *s = server;
	int err;

	s->holds--;
	err = apply_pause(s);
	if (err)
		err_errno(-err, s->disk.name, "cannot let its queues run again");
}

/* Half of it, some queues stopped and others not, is none. */
static json_object *apply_or_undo(struct server *s, bool was_paused, unsigned int had_holds)
{
	int err = apply_pause(s);

	if (!err)
		return control_ok();
	s->is_paused = was_paused;
	s->holds = had_holds;
	apply_pause(s);
	return errno_reply(err);
}

static json_object *hold_queues(struct server *s)
{
	json_object *reply;

	if (!control_keep(&s->control))
		return control_error(VBLK_BUSY, "too many hold a pause");
	s->holds++;
	reply = apply_or_undo(s, s->is_paused, s->holds - 1);
	s->control.has_to_keep = json_object_get_boolean(json_object_object_get(reply, "ok"));
	return reply;
}

static json_object *pause_queues(struct server *s, json_object *request)
{
	bool was_paused = s->is_paused;

	if (json_object_get_boolean(json_object_object_get(request, "hold")))
		return hold_queues(s);
	s->is_paused = true;
	return apply_or_undo(s, was_paused, s->holds);
}

static json_object *resume_queues(struct server *s, json_object *request)
{
	bool was_paused = s->is_paused;

	(void)request;
	s->is_paused = false;
	return apply_or_undo(s, was_paused, s->holds);
}

static int update_cache(struct server *s, bool is_write_through)
{
	int err;

	s->disk.is_write_through = is_write_through;
	err = s->session ? vhost_user_update_cache(s->session) : 0;
	/* What was acknowledged until now, too. */
	if (!err && is_write_through && fdatasync(s->disk.fd) < 0)
		err = -errno;
	return err ? err : state_set_write_through(s->serving.name, is_write_through);
}

/* Writes that are under way were begun with the cache as it was: none is, meanwhile. */
static int set_write_through(struct server *s, bool is_write_through)
{
	bool was = s->disk.is_write_through;
	int err = 0, resumed;

	if (s->session && is_write_through)
		err = vhost_user_set_paused(s->session, true);
	if (!err)
		err = update_cache(s, is_write_through);
	if (err) {
		s->disk.is_write_through = was;
		if (s->session)
			vhost_user_update_cache(s->session);
	}
	resumed = apply_pause(s);
	return err ?: resumed;
}

static json_object *write_cache(struct server *s, json_object *request)
{
	json_object *v;
	int err;

	if (!json_object_object_get_ex(request, "on", &v) ||
	    !json_object_is_type(v, json_type_boolean))
		return control_error(VBLK_USAGE, "write_cache wants \"on\", true or false");
	err = set_write_through(s, !json_object_get_boolean(v));
	return err ? errno_reply(err) : control_ok();
}

/*
 * The size in NAME.json stays: a server that takes over goes by the device. Asked again, the guest
 * is told again: somebody may not have seen the first answer.
 */
static json_object *resize(struct server *s, json_object *request)
{
	json_object *o;
	bool has_changed, was_told;
	int err;

	(void)request;
	err = disk_update_size(&s->disk, &has_changed);
	if (err)
		return errno_reply(err);
	was_told = s->session && vhost_user_tell_config(s->session);
	o = control_ok();
	add_number(o, "size_bytes", le64toh(s->disk.config.capacity) << 9);
	json_object_object_add(o, "changed", json_object_new_boolean(has_changed));
	json_object_object_add(o, "told", json_object_new_boolean(was_told));
	return o;
}

/* A guest that connects from here on waits for the next server. */
static json_object *stop(struct server *s, json_object *request)
{
	char why[64];

	if (s->session && !json_object_get_boolean(json_object_object_get(request, "force"))) {
		snprintf(why, sizeof(why), "a guest is connected, process %d",
			 vhost_peer_pid(s->conn));
		return control_error(VBLK_BUSY, why);
	}
	s->has_to_stop = true;
	return control_ok();
}

static const struct {
	const char *name;
	json_object *(*run)(struct server *s, json_object *request);
} commands[] = {
	{ "status", status },
	{ "stats", stats },
	{ "pause", pause_queues },
	{ "resume", resume_queues },
	{ "write_cache", write_cache },
	{ "resize", resize },
	{ "stop", stop },
};

/** commands_answer() - do what a request says; the answer is the caller's */
json_object *commands_answer(void *server, json_object *request)
{
	json_object *v = json_object_object_get(request, "command");
	const char *name = json_object_is_type(v, json_type_string) ?
			   json_object_get_string(v) : "";

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run(server, request);
	return control_error(VBLK_UNSUPPORTED, "no such command");
}
