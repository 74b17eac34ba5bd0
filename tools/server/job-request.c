// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files /var/lib/vblk/jobs/NAME.json. Whoever finds one runs the verb again, as root: so it counts only if nobody
 * else could have written it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/durable.h"
#include "job-request.h"

#define VERSION		1
#define SUFFIX		".json"
#define SECOND_NS	1000000000ULL
#define PARENT_DIR	"/var/lib/vblk"

/* Four paths, each byte of which may be six in JSON. */
#define MAX_FILE_BYTES	(25 * PATH_MAX)

/**
 * job_image_take() - it is this one
 * @path: of it
 * @fd: of it
 *
 * Return: 0 or -errno.
 */
int job_image_take(struct job_image *img, const char *path, int fd)
{
	struct statx stx;

	*img = (struct job_image){};
	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_BTIME, &stx) < 0)
		return -errno;
	snprintf(img->path, sizeof(img->path), "%s", path);
	/* What is made anew at each boot. */
	if (S_ISBLK(stx.stx_mode))
		return 0;
	img->inode = stx.stx_ino;
	img->birth_ns = stx.stx_mask & STATX_BTIME ?
			stx.stx_btime.tv_sec * SECOND_NS + stx.stx_btime.tv_nsec : 0;
	return 0;
}

static bool is_device(const char *path, int fd)
{
	struct stat named, st;

	return stat(path, &named) == 0 && fstat(fd, &st) == 0 && S_ISBLK(named.st_mode) &&
	       S_ISBLK(st.st_mode) && named.st_rdev == st.st_rdev;
}

/** job_image_is() - whether it is; of a block device, by any of its paths */
bool job_image_is(const struct job_image *img, const char *path, int fd)
{
	struct job_image other;

	if (is_device(img->path, fd))
		return true;
	return !strcmp(img->path, path) && !job_image_take(&other, path, fd) &&
	       img->inode == other.inode && img->birth_ns == other.birth_ns;
}

/* A path is nobody's name. */
static int make_path(char path[PATH_MAX], const char *disk, const char *suffix)
{
	if (strchr(disk, '/'))
		return -ENOENT;
	return snprintf(path, PATH_MAX, JOB_REQUEST_DIR "/%s%s", disk, suffix) < PATH_MAX ?
	       0 : -ENAMETOOLONG;
}

static int make_directory(const char *path, const char *parent)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return durable_directory(parent);
}

static int make_directories(void)
{
	return make_directory(PARENT_DIR, "/var/lib") ?: make_directory(JOB_REQUEST_DIR, PARENT_DIR);
}

static void add_image(json_object *o, const char *key, const struct job_image *img)
{
	json_object *image = json_object_new_object();

	json_object_object_add(image, "path", json_object_new_string(img->path));
	json_object_object_add(image, "inode", json_object_new_uint64(img->inode));
	/* Programs that take numbers for floating point keep these. */
	json_object_object_add(image, "birth_s", json_object_new_uint64(img->birth_ns / SECOND_NS));
	json_object_object_add(image, "birth_ns", json_object_new_uint64(img->birth_ns % SECOND_NS));
	json_object_object_add(o, key, image);
}

static json_object *to_json(const struct job_request *r)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "version", json_object_new_int(VERSION));
	json_object_object_add(o, "verb", json_object_new_string(r->verb));
	add_image(o, "top", &r->top);
	if (*r->base.path) {
		add_image(o, "base", &r->base);
		json_object_object_add(o, "count", json_object_new_int64(r->count));
	}
	if (*r->above.path)
		add_image(o, "above", &r->above);
	if (*r->file)
		json_object_object_add(o, "file", json_object_new_string(r->file));
	json_object_object_add(o, "bandwidth", json_object_new_uint64(r->bandwidth));
	return o;
}

/**
 * job_request_save() - a job of a disk is about to begin, or to go on; durable
 * @disk: its name
 *
 * Return: 0; or -errno, and it may be noted nevertheless.
 */
int job_request_save(const char *disk, const struct job_request *r)
{
	char path[PATH_MAX], new[PATH_MAX];
	json_object *o;
	int err;

	err = make_path(path, disk, SUFFIX) ?: make_path(new, disk, ".new") ?: make_directories();
	if (err)
		return err;
	o = to_json(r);
	err = durable_replace(JOB_REQUEST_DIR, path, new, json_object_to_json_string(o));
	json_object_put(o);
	return err;
}

static bool take_string(json_object *o, const char *key, char *to, size_t size)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string) ||
	    (size_t)json_object_get_string_len(v) >= size)
		return false;
	strcpy(to, json_object_get_string(v));
	return true;
}

static bool take_number(json_object *o, const char *key, uint64_t most, uint64_t *number)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return false;
	*number = json_object_get_uint64(v);
	return *number <= most;
}

static bool take_image(json_object *o, const char *key, struct job_image *img)
{
	json_object *image;
	uint64_t seconds;
	bool ok;

	ok = json_object_object_get_ex(o, key, &image) &&
	     json_object_is_type(image, json_type_object) &&
	     take_string(image, "path", img->path, sizeof(img->path)) && *img->path == '/' &&
	     take_number(image, "inode", UINT64_MAX, &img->inode) &&
	     take_number(image, "birth_s", UINT64_MAX / SECOND_NS - 1, &seconds) &&
	     take_number(image, "birth_ns", SECOND_NS - 1, &img->birth_ns);
	if (ok)
		img->birth_ns += seconds * SECOND_NS;
	return ok;
}

static bool take(json_object *o, struct job_request *r)
{
	uint64_t version, count = 0;

	if (!take_number(o, "version", VERSION, &version) || version != VERSION ||
	    !take_string(o, "verb", r->verb, sizeof(r->verb)) || !take_image(o, "top", &r->top) ||
	    !take_number(o, "bandwidth", UINT64_MAX, &r->bandwidth))
		return false;
	if (json_object_object_get_ex(o, "file", NULL) &&
	    !take_string(o, "file", r->file, sizeof(r->file)))
		return false;
	if (json_object_object_get_ex(o, "above", NULL) && !take_image(o, "above", &r->above))
		return false;
	if (!strcmp(r->verb, "flatten"))
		return true;
	if (strcmp(r->verb, "commit") != 0 || !take_image(o, "base", &r->base) ||
	    !take_number(o, "count", UINT_MAX, &count) || !count)
		return false;
	r->count = count;
	return true;
}

static int read_file(int fd, struct job_request *r)
{
	json_object *o;
	struct stat st;
	bool ok;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE_BYTES)
		return -EUCLEAN;
	if (st.st_uid != 0 || st.st_mode & 0022)
		return -EPERM;
	o = json_object_from_fd(fd);
	ok = o && json_object_is_type(o, json_type_object) && take(o, r);
	json_object_put(o);
	return ok ? 0 : -EUCLEAN;
}

/**
 * job_request_load() - the job of a disk that has not ended
 * @disk: its name
 * @r: filled in
 *
 * Return: 0, -ENOENT when there is none, -EPERM when somebody else may have written it, -EUCLEAN when it is damaged, another -errno.
 */
int job_request_load(const char *disk, struct job_request *r)
{
	char path[PATH_MAX];
	int fd, err;

	*r = (struct job_request){};
	err = make_path(path, disk, SUFFIX);
	if (err)
		return err;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	err = read_file(fd, r);
	close(fd);
	return err;
}

/** job_request_forget() - it has ended, or nobody wants it any more; durable; 0, also where there is none, or -errno */
int job_request_forget(const char *disk)
{
	char path[PATH_MAX];
	int err = make_path(path, disk, SUFFIX);

	if (err)
		return err;
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return durable_directory(JOB_REQUEST_DIR);
}

static int is_request(const struct dirent *de)
{
	size_t len = strlen(de->d_name);

	return len > strlen(SUFFIX) && !strcmp(de->d_name + len - strlen(SUFFIX), SUFFIX);
}

/**
 * job_request_list() - the disks that have one
 * @disks: set to their names, sorted; for job_request_free_list()
 * @n: set to how many there are
 *
 * Return: 0 or -errno.
 */
int job_request_list(char ***disks, size_t *n)
{
	struct dirent **found;
	int count;

	*disks = NULL;
	*n = 0;
	count = scandir(JOB_REQUEST_DIR, &found, is_request, alphasort);
	if (count < 0)
		return errno == ENOENT ? 0 : -errno;
	*disks = calloc(count ?: 1, sizeof(**disks));
	for (int i = 0; i < count; i++) {
		if (*disks)
			(*disks)[*n] = strndup(found[i]->d_name, strlen(found[i]->d_name) - strlen(SUFFIX));
		if (*disks && (*disks)[*n])
			++*n;
		free(found[i]);
	}
	free(found);
	if (*n == (size_t)count)
		return 0;
	job_request_free_list(*disks, *n);
	*disks = NULL;
	*n = 0;
	return -ENOMEM;
}

/** job_request_free_list() - undo job_request_list() */
void job_request_free_list(char **disks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(disks[i]);
	free(disks);
}
