// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu-img at work on the images of a disk, while the kernel does not use them.
 *
 * It gets the files that the kernel has, by their descriptors: no name in a header is followed, and no
 * format guessed. Our own locks keep others out, so it takes none.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing-name.h"
#include "cmd/err.h"
#include "qemu-img.h"

#define NOT_FOUND	127

/* @process: the one that has it open: a number, or "self" for the one that reads this */
static json_object *describe_file(const char *process, int fd, bool is_device)
{
	json_object *o = json_object_new_object();
	char path[48];

	snprintf(path, sizeof(path), "/proc/%s/fd/%d", process, fd);
	json_object_object_add(o, "driver",
			       json_object_new_string(is_device ? "host_device" : "file"));
	json_object_object_add(o, "filename", json_object_new_string(path));
	json_object_object_add(o, "locking", json_object_new_string("off"));
	return o;
}

/* For who changes metadata only: all others are refused images that have one. */
static json_object *describe_no_data(void)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "driver", json_object_new_string("null-co"));
	return o;
}

static json_object *describe(const char *process, const struct live_chain *c, size_t i,
			     bool with_backing)
{
	const struct live_image *img = &c->list[i];
	json_object *o = json_object_new_object(), *below = NULL;

	json_object_object_add(o, "driver",
			       json_object_new_string(image_format_name(img->format)));
	json_object_object_add(o, "file", describe_file(process, img->fd, S_ISBLK(img->st.st_mode)));
	if (img->has_data_file)
		json_object_object_add(o, "data-file", describe_no_data());
	if (with_backing && i + 1 < c->n)
		below = describe(process, c, i + 1, true);
	if (img->format == IMAGE_QCOW2)
		json_object_object_add(o, "backing", below);
	return o;
}

static char *to_text(json_object *o)
{
	char *text;

	if (asprintf(&text, "json:%s", json_object_to_json_string(o)) < 0)
		text = NULL;
	json_object_put(o);
	return text;
}

/**
 * qemu_describe_fd() - a qcow2 image in a file, alone, as qemu_run() hands it to QEMU
 * @fd: of it; to be open in qemu-img, too
 *
 * Return: a string that the caller frees, or NULL.
 */
char *qemu_describe_fd(int fd)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "driver", json_object_new_string("qcow2"));
	json_object_object_add(o, "file", describe_file("self", fd, false));
	json_object_object_add(o, "backing", NULL);
	return to_text(o);
}

/* Past the page cache: what is merged is read once. */
static void have_direct(json_object *o)
{
	json_object *cache = json_object_new_object();

	json_object_object_add(cache, "direct", json_object_new_boolean(true));
	json_object_object_add(json_object_object_get(o, "file"), "cache", cache);
}

/**
 * qemu_describe_merge() - an empty image over others, that are to be merged into the last of them
 * @overlay: the empty one
 * @c: the others
 *
 * Return: a string that the caller frees, or NULL.
 */
char *qemu_describe_merge(int overlay, const struct live_chain *c)
{
	json_object *top = json_object_new_object(), *below = describe("self", c, 0, true), *o;

	for (o = below; o; o = json_object_object_get(o, "backing"))
		have_direct(o);
	json_object_object_add(top, "driver", json_object_new_string("qcow2"));
	json_object_object_add(top, "file", describe_file("self", overlay, false));
	json_object_object_add(top, "backing", below);
	return to_text(top);
}

/**
 * qemu_describe() - an image, as qemu_run() hands it to QEMU
 * @first: which, counted from the top
 * @with_backing: with all that is below it, else alone
 *
 * Return: a string that the caller frees, or NULL.
 */
char *qemu_describe(const struct live_chain *c, size_t first, bool with_backing)
{
	return to_text(describe("self", c, first, with_backing));
}

/**
 * qemu_describe_ours() - an image with all below it, for a program that has none of our descriptors
 *
 * Return: a string that the caller frees, or NULL.
 */
char *qemu_describe_ours(const struct live_chain *c)
{
	char process[16];

	snprintf(process, sizeof(process), "%d", getpid());
	return to_text(describe(process, c, 0, true));
}

/* In the child. QEMU opens them anew, by the names of the descriptors. */
static void run(const struct live_chain *c, const char *const argv[])
{
	for (size_t i = 0; i < c->n; i++)
		fcntl(c->list[i].fd, F_SETFD, 0);
	execvp(argv[0], (char *const *)argv);
	_exit(NOT_FOUND);
}

/**
 * qemu_run() - run qemu-img
 * @c: the images that @argv describes
 * @name: of the disk
 *
 * Return: an exit code; what is wrong has been reported, by qemu-img as well.
 */
int qemu_run(const struct live_chain *c, const char *const argv[], const char *name)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0)
		run(c, argv);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return err_errno(errno, argv[0], "cannot run it");
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return err_report(VBLK_NOT_FOUND, argv[0], "not found, and needed here");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_report(VBLK_FAILED, name, "%s %s has failed", argv[0], argv[1]);
	return VBLK_OK;
}

/** qemu_is_there() - whether there is a qemu-img */
bool qemu_is_there(void)
{
	char *dirs = strdup(getenv("PATH") ?: "/usr/bin:/bin"), *rest, path[PATH_MAX];
	bool found = false;

	for (char *dir = dirs ? strtok_r(dirs, ":", &rest) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &rest)) {
		snprintf(path, sizeof(path), "%s/qemu-img", dir);
		found = access(path, X_OK) == 0;
	}
	free(dirs);
	return found;
}
