// SPDX-License-Identifier: GPL-2.0-only
/* What vblk-status and vblk-top are about: the disks that are named, or all, and what is known of each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "server/control.h"
#include "status.h"

/* A server that stands still is not waited for. */
#define ANSWER_MS	1000

static bool is_among(const struct disk_status *disks, size_t n, const struct attached *a)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(disks[i].a.d.uuid, a->d.uuid))
			return true;
	return false;
}

/* One that is named twice is one. */
static int find_named(char *const names[], size_t n, struct disk_status *disks, size_t *found)
{
	int ret;

	*found = 0;
	for (size_t i = 0; i < n; i++) {
		ret = attached_find(names[i], &disks[*found].a);
		if (ret)
			return ret;
		if (!is_among(disks, *found, &disks[*found].a))
			(*found)++;
	}
	return VBLK_OK;
}

static int collect_named(char *const names[], size_t n, struct disk_status **disks, size_t *nr_disks)
{
	int ret;

	*disks = calloc(n, sizeof(**disks));
	if (!*disks)
		return err_report(VBLK_FAILED, NULL, "out of memory");
	ret = find_named(names, n, *disks, nr_disks);
	if (ret)
		free(*disks);
	return ret;
}

static int collect_all(struct disk_status **disks, size_t *nr_disks)
{
	struct dmdev *devs;
	size_t n;
	int err;

	err = dmdev_list(true, &devs, &n);
	if (err)
		return err_errno(-err, NULL, "cannot list the devices");
	*disks = calloc(n ?: 1, sizeof(**disks));
	if (!*disks) {
		free(devs);
		return err_report(VBLK_FAILED, NULL, "out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		(*disks)[i].a.d = devs[i];
		attached_fill(&(*disks)[i].a);
	}
	free(devs);
	*nr_disks = n;
	return VBLK_OK;
}

static int ask_servers(struct disk_status *disks, size_t n)
{
	struct control_query *q = calloc(n ?: 1, sizeof(*q));
	size_t asked = 0;

	if (!q)
		return err_report(VBLK_FAILED, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (disks[i].a.is_served && disks[i].a.server)
			q[asked++].name = disks[i].a.serving.name;
	control_ask_all(q, asked, control_request("stats"), ANSWER_MS);
	asked = 0;
	for (size_t i = 0; i < n; i++) {
		if (!disks[i].a.is_served)
			continue;
		if (!disks[i].a.server) {
			disk_stats_take_answer(NULL, &disks[i].s);
			continue;
		}
		disk_stats_take_answer(q[asked].reply, &disks[i].s);
		json_object_put(q[asked++].reply);
	}
	free(q);
	return VBLK_OK;
}

/**
 * status_collect() - what there is to know now
 * @names: of disks; all if there are none
 * @n: how many
 * @disks: set to an array that the caller frees
 * @nr_disks: set to its length
 *
 * Return: an exit code; what is wrong has been reported.
 */
int status_collect(char *const names[], size_t n, struct disk_status **disks, size_t *nr_disks)
{
	int ret;

	*nr_disks = 0;
	*disks = NULL;
	ret = n ? collect_named(names, n, disks, nr_disks) : collect_all(disks, nr_disks);
	if (ret)
		return ret;
	/* All of the kernel's first: no disk's is the older for another one's server. */
	for (size_t i = 0; i < *nr_disks; i++)
		disk_stats_read(&(*disks)[i].a, &(*disks)[i].s);
	return ask_servers(*disks, *nr_disks);
}

static json_object *value_to_json(const struct disk_stats *s, enum stat_id id)
{
	if (!s->has[id])
		return NULL;
	if (stat_defs[id].unit == STAT_BOOL)
		return json_object_new_boolean(s->value[id]);
	return json_object_new_uint64(s->value[id]);
}

/** status_disk_json() - all of a disk; null is what is not known, or does not apply */
json_object *status_disk_json(const struct disk_status *d)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(d->a.d.name));
	json_object_object_add(o, "state", json_object_new_string(attached_state(&d->a)));
	for (enum stat_id id = 0; id < NR_STATS; id++)
		json_object_object_add(o, stat_defs[id].key, value_to_json(&d->s, id));
	return o;
}
