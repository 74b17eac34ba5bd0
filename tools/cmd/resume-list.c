// SPDX-License-Identifier: GPL-2.0-only
/* vblk-resume --list: what has not ended, as a table or as JSON. */
#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols.h>

#include "err.h"
#include "out.h"
#include "resume.h"
#include "server/job-request.h"

static void add_json(json_object *list, const char *disk, const struct job_request *r)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(disk));
	json_object_object_add(o, "verb", json_object_new_string(r->verb));
	json_object_object_add(o, "image", json_object_new_string(r->top.path));
	json_object_object_add(o, "base", *r->base.path ? json_object_new_string(r->base.path) : NULL);
	json_object_array_add(list, o);
}

static int add_line(struct libscols_table *tb, const char *disk, const struct job_request *r)
{
	struct libscols_line *ln = scols_table_new_line(tb, NULL);

	if (!ln || scols_line_set_data(ln, 0, disk) || scols_line_set_data(ln, 1, r->verb) ||
	    scols_line_set_data(ln, 2, r->top.path) ||
	    (*r->base.path && scols_line_set_data(ln, 3, r->base.path)))
		return -ENOMEM;
	return 0;
}

static int make_columns(struct libscols_table *tb)
{
	return scols_table_new_column(tb, "NAME", 8, 0) && scols_table_new_column(tb, "JOB", 8, 0) &&
	       scols_table_new_column(tb, "IMAGE", 20, 0) &&
	       scols_table_new_column(tb, "BASE", 20, 0) ? 0 : -ENOMEM;
}

/* Return: an exit code. */
static int print(char **disks, size_t n, struct libscols_table *tb, json_object *list)
{
	struct job_request r;
	int err, ret = VBLK_OK;

	for (size_t i = 0; i < n; i++) {
		err = job_request_load(disks[i], &r);
		if (err == -ENOENT)
			continue;
		if (err) {
			ret = resume_report_unreadable(disks[i], err);
			continue;
		}
		add_json(list, disks[i], &r);
		if (add_line(tb, disks[i], &r))
			return err_errno(ENOMEM, disks[i], "cannot print it");
	}
	return ret;
}

/** resume_list() - print them; an exit code */
int resume_list(bool as_json)
{
	struct libscols_table *tb = scols_new_table();
	json_object *o = json_object_new_object(), *list = json_object_new_array();
	char **disks = NULL;
	size_t n = 0;
	int err, ret;

	json_object_object_add(o, "jobs", list);
	err = tb ? make_columns(tb) : -ENOMEM;
	if (!err)
		err = job_request_list(&disks, &n);
	ret = err ? err_errno(-err, JOB_REQUEST_DIR, "cannot list it") :
		    print(disks, n, tb, list);
	if (!err && as_json)
		out_json(json_object_get(o));
	else if (!err)
		scols_print_table(tb);
	json_object_put(o);
	scols_unref_table(tb);
	job_request_free_list(disks, n);
	return out_flush() ?: ret;
}
