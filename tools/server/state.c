// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files under /run/vblk. Nothing in them has to be trusted after a crash:
 * whether a server or a guest is there is a question to the kernel's lock
 * table, which also knows the server's pid.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state.h"

/* Bytes of NAME.pid: POSIX locks, because those name their owner. */
enum {
	CLAIM_SERVER,
	CLAIM_GUEST,
};

/* In the file: the guest's pid, a number of this width, and a line of its own. */
#define GUEST_BYTES	15

static void state_path(char *path, size_t size, const char *name,
		       const char *suffix)
{
	snprintf(path, size, STATE_DIR "/%s.%s", name, suffix);
}

/* A front-end has to reach its socket, whatever the umask of the first attach. */
static int make_dir(void)
{
	if (mkdir(STATE_DIR, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	return chmod(STATE_DIR, 0755) < 0 ? -errno : 0;
}

static bool is_still_linked(int fd, const char *path)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
	       held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

/**
 * state_lock() - let one attach or detach of an image run at a time
 * @uuid: of the image's device
 *
 * Waits for the other one. The holder unlinks the file before it lets go, so
 * whoever gets a lock on an unlinked file starts again.
 *
 * Return: a descriptor for state_unlock(), or -errno.
 */
int state_lock(const char *uuid)
{
	char path[PATH_MAX];
	int fd, err;

	err = make_dir();
	if (err)
		return err;
	state_path(path, sizeof(path), uuid, "lock");
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX) < 0) {
			err = -errno;
			close(fd);
			return err;
		}
		if (is_still_linked(fd, path))
			return fd;
		close(fd);
	}
}

/**
 * state_share_lock() - have it last until the programs that are run from here on have ended, too
 *
 * They work on the images, whatever becomes of us.
 */
void state_share_lock(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

/** state_unlock() - undo state_lock() */
void state_unlock(const char *uuid, int fd)
{
	char path[PATH_MAX];

	state_path(path, sizeof(path), uuid, "lock");
	unlink(path);
	close(fd);
}

static json_object *serving_to_json(const struct serving *s)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "uuid", json_object_new_string(s->uuid));
	json_object_object_add(o, "image", json_object_new_string(s->image));
	json_object_object_add(o, "socket", json_object_new_string(s->socket));
	if (s->socket_uid != SOCKET_ID_UNSET)
		json_object_object_add(o, "socket_uid",
				       json_object_new_int64(s->socket_uid));
	if (s->socket_gid != SOCKET_ID_UNSET)
		json_object_object_add(o, "socket_gid",
				       json_object_new_int64(s->socket_gid));
	json_object_object_add(o, "socket_mode",
			       json_object_new_int(s->socket_mode));
	json_object_object_add(o, "serial", json_object_new_string(s->serial));
	json_object_object_add(o, "queues", json_object_new_int(s->queues));
	json_object_object_add(o, "queue_size",
			       json_object_new_int(s->queue_size));
	json_object_object_add(o, "workers", json_object_new_int(s->workers));
	json_object_object_add(o, "poll_us", json_object_new_int(s->poll_us));
	json_object_object_add(o, "batch", json_object_new_boolean(s->batch));
	json_object_object_add(o, "write_through",
			       json_object_new_boolean(s->is_write_through));
	if (s->offer.is_known)
		json_object_object_add(o, "offer", offer_to_json(&s->offer));
	return o;
}

/*
 * A verb and the server of a disk both change NAME.json: one at a time, from the read to the
 * write. Closing lets go.
 */
static int lock_files(void)
{
	int fd = open(STATE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int save(const struct serving *serving)
{
	const char *name = serving->name;
	char path[PATH_MAX], tmp[PATH_MAX];
	json_object *o = serving_to_json(serving);
	int err = 0;

	state_path(path, sizeof(path), name, "json");
	state_path(tmp, sizeof(tmp), name, "json.new");
	if (json_object_to_file_ext(tmp, o, JSON_C_TO_STRING_PRETTY) < 0 ||
	    rename(tmp, path) < 0) {
		err = -errno;
		unlink(tmp);
	}
	json_object_put(o);
	return err;
}

/**
 * state_save() - write NAME.json, whole or not at all
 *
 * Return: 0 or -errno.
 */
int state_save(const struct serving *serving)
{
	int lock = lock_files(), err;

	if (lock < 0)
		return lock;
	err = save(serving);
	close(lock);
	return err;
}

static bool get_string(json_object *o, const char *key, char *to, size_t size)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return false;
	return (size_t)snprintf(to, size, "%s", json_object_get_string(v)) <
	       size;
}

static bool get_uint(json_object *o, const char *key, unsigned int *to)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_int) ||
	    json_object_get_int(v) < 0)
		return false;
	*to = json_object_get_int(v);
	return true;
}

/* The bounds that vblk-attach keeps: others would fail in the middle of a guest's start. */
static bool is_in_bounds(const struct serving *s)
{
	return s->queues >= 1 && s->queues <= SERVER_MAX_QUEUES &&
	       s->queue_size >= SERVER_MIN_QUEUE_SIZE &&
	       s->queue_size <= SERVER_MAX_QUEUE_SIZE &&
	       !(s->queue_size & (s->queue_size - 1)) &&
	       s->workers <= SERVER_MAX_QUEUES && s->poll_us <= SERVER_MAX_POLL_US &&
	       s->image[0] == '/' && s->socket[0] == '/';
}

/* Who the socket is for; a version that has no such settings does not write them. */
static bool get_access(json_object *o, struct serving *s)
{
	json_object *v;

	s->socket_uid = SOCKET_ID_UNSET;
	s->socket_gid = SOCKET_ID_UNSET;
	s->socket_mode = SOCKET_MODE;
	if (json_object_object_get_ex(o, "socket_uid", &v))
		s->socket_uid = json_object_get_int64(v);
	if (json_object_object_get_ex(o, "socket_gid", &v))
		s->socket_gid = json_object_get_int64(v);
	if (json_object_object_get_ex(o, "socket_mode", &v))
		s->socket_mode = json_object_get_int64(v);
	return s->socket_mode <= 0777;
}

static bool serving_from_json(json_object *o, struct serving *s)
{
	/* A version that has no such settings does not write them. */
	get_string(o, "uuid", s->uuid, sizeof(s->uuid));
	get_uint(o, "workers", &s->workers);
	get_uint(o, "poll_us", &s->poll_us);
	s->batch = json_object_get_boolean(json_object_object_get(o, "batch"));
	s->is_write_through = json_object_get_boolean(json_object_object_get(o, "write_through"));
	return get_string(o, "image", s->image, sizeof(s->image)) &&
	       get_string(o, "socket", s->socket, sizeof(s->socket)) &&
	       get_string(o, "serial", s->serial, sizeof(s->serial)) &&
	       get_uint(o, "queues", &s->queues) &&
	       get_uint(o, "queue_size", &s->queue_size) &&
	       get_access(o, s) && is_in_bounds(s) &&
	       offer_from_json(json_object_object_get(o, "offer"), &s->offer);
}

/**
 * state_load() - read NAME.json
 *
 * Return: 0, -ENOENT when the disk is not served, -EBADMSG when the file is not
 * what state_save() writes.
 */
int state_load(const char *name, struct serving *serving)
{
	char path[PATH_MAX];
	json_object *o;
	bool ok;

	state_path(path, sizeof(path), name, "json");
	if (access(path, F_OK) < 0)
		return -errno;
	o = json_object_from_file(path);
	if (!o)
		return -EBADMSG;
	memset(serving, 0, sizeof(*serving));
	snprintf(serving->name, sizeof(serving->name), "%s", name);
	ok = json_object_is_type(o, json_type_object) &&
	     serving_from_json(o, serving);
	json_object_put(o);
	return ok ? 0 : -EBADMSG;
}

struct change {
	const struct offer *offer;
	const char *image;
	const bool *is_write_through;
};

static void apply(const struct change *c, struct serving *s)
{
	if (c->offer)
		s->offer = *c->offer;
	if (c->image)
		snprintf(s->image, sizeof(s->image), "%s", c->image);
	if (c->is_write_through)
		s->is_write_through = *c->is_write_through;
}

/* What the caller has read there may be old by now. */
static int change_file(const char *name, const struct change *c)
{
	struct serving serving;
	int lock = lock_files(), err;

	if (lock < 0)
		return lock;
	err = state_load(name, &serving);
	if (!err) {
		apply(c, &serving);
		err = save(&serving);
	}
	close(lock);
	return err;
}

/** state_set_offer() - have in NAME.json what the guest was offered; 0 or -errno */
int state_set_offer(const char *name, const struct offer *offer)
{
	return change_file(name, &(struct change){ .offer = offer });
}

/** state_set_image() - the same for the path of the image; 0 or -errno */
int state_set_image(const char *name, const char *image)
{
	return change_file(name, &(struct change){ .image = image });
}

/** state_set_write_through() - the same for that; 0 or -errno */
int state_set_write_through(const char *name, bool is_write_through)
{
	return change_file(name, &(struct change){ .is_write_through = &is_write_through });
}

/**
 * state_control_path() - where a disk's control socket is
 *
 * Return: 0, or -ENAMETOOLONG.
 */
int state_control_path(const char *name, char *path, size_t size)
{
	int n = snprintf(path, size, STATE_DIR "/%s.ctl", name);

	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/**
 * state_export_path() - where the socket of a disk's export is, unless another path was asked for
 *
 * Return: 0, or -ENAMETOOLONG.
 */
int state_export_path(const char *name, char *path, size_t size)
{
	int n = snprintf(path, size, STATE_DIR "/%s.nbd", name);

	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static bool is_of_disk(const char *name, const char *uuid, struct serving *s)
{
	return state_load(name, s) == 0 && !strcmp(s->uuid, uuid);
}

/* The name of the disk that a file of STATE_DIR describes. */
static bool name_of_file(const char *file, char *name, size_t size)
{
	static const char suffix[] = ".json";
	size_t len = strlen(file);

	if (len < sizeof(suffix) ||
	    strcmp(file + len - strlen(suffix), suffix) != 0)
		return false;
	len -= strlen(suffix);
	return (size_t)snprintf(name, size, "%.*s", (int)len, file) < size;
}

/**
 * state_find() - how a disk is served, also when its device has been renamed
 * @name: of the device, now
 * @uuid: of the device
 * @serving: filled in
 *
 * Return: 0, -ENOENT when the disk is not served, -EBADMSG when NAME.json is not
 * what state_save() writes.
 */
int state_find(const char *name, const char *uuid, struct serving *serving)
{
	char file[STATE_NAME_SIZE];
	bool found = false;
	struct dirent *de;
	DIR *dir;
	int err;

	err = state_load(name, serving);
	if (err == -EBADMSG ||
	    (!err && (!*serving->uuid || !strcmp(serving->uuid, uuid))))
		return err;
	dir = opendir(STATE_DIR);
	if (!dir)
		return -errno;
	while (!found && (de = readdir(dir)))
		found = name_of_file(de->d_name, file, sizeof(file)) &&
			is_of_disk(file, uuid, serving);
	closedir(dir);
	return found ? 0 : -ENOENT;
}

/**
 * state_set_top() - note that an image is the top of a device that has another one's UUID
 * @uuid: what the image would have its own device called
 * @device_uuid: the device
 *
 * Whoever reads it asks the kernel whether that is still so. Return: 0 or -errno.
 */
int state_set_top(const char *uuid, const char *device_uuid)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	int err = make_dir();

	if (err)
		return err;
	state_path(path, sizeof(path), uuid, "disk");
	state_path(tmp, sizeof(tmp), uuid, "disk.new");
	unlink(tmp);
	if (symlink(device_uuid, tmp) == 0 && rename(tmp, path) == 0)
		return 0;
	err = -errno;
	unlink(tmp);
	return err;
}

/** state_find_top() - what state_set_top() was told; 0, -ENOENT for nothing, another -errno */
int state_find_top(const char *uuid, char *device_uuid, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	state_path(path, sizeof(path), uuid, "disk");
	n = readlink(path, device_uuid, size);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -ENAMETOOLONG;
	device_uuid[n] = '\0';
	return 0;
}

/** state_forget_top() - undo state_set_top() */
void state_forget_top(const char *uuid)
{
	char path[PATH_MAX];

	state_path(path, sizeof(path), uuid, "disk");
	unlink(path);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && !strcmp(text + len - end_len, end);
}

static bool is_top_of(int dir, const char *file, const char *device_uuid)
{
	char uuid[STATE_UUID_SIZE];
	ssize_t n;

	if (!ends_with(file, ".disk") && !ends_with(file, ".disk.new"))
		return false;
	n = readlinkat(dir, file, uuid, sizeof(uuid));
	return n == (ssize_t)strlen(device_uuid) && !memcmp(uuid, device_uuid, n);
}

/**
 * state_forget_tops() - undo all that state_set_top() was told of a device that is gone
 *
 * Who was killed on the way to another top has left one of an image that never became that.
 */
void state_forget_tops(const char *device_uuid)
{
	DIR *dir = opendir(STATE_DIR);
	struct dirent *de;

	while (dir && (de = readdir(dir)))
		if (is_top_of(dirfd(dir), de->d_name, device_uuid))
			unlinkat(dirfd(dir), de->d_name, 0);
	if (dir)
		closedir(dir);
}

/** state_forget() - remove what a disk left, its own socket excepted */
void state_forget(const char *name)
{
	int lock = lock_files();
	char path[PATH_MAX];

	state_path(path, sizeof(path), name, "json");
	unlink(path);
	state_path(path, sizeof(path), name, "pid");
	unlink(path);
	state_path(path, sizeof(path), name, "ctl");
	unlink(path);
	if (lock >= 0)
		close(lock);
}

static int claim_lock(int fd, int cmd, short type, off_t byte,
		      struct flock *fl)
{
	*fl = (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
	return fcntl(fd, cmd, fl) < 0 ? -errno : 0;
}

/**
 * state_claim() - become the server of a disk
 *
 * The claim ends with the process. POSIX locks end with the first close of the
 * file, so the server must open NAME.pid nowhere else.
 *
 * Return: a descriptor to keep open, -EAGAIN when there is a server, -errno.
 */
int state_claim(const char *name)
{
	char path[PATH_MAX];
	struct flock fl;
	int fd, err;

	state_path(path, sizeof(path), name, "pid");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = claim_lock(fd, F_SETLK, F_WRLCK, CLAIM_SERVER, &fl);
	if (err) {
		close(fd);
		return err == -EACCES ? -EAGAIN : err;
	}
	/* What the last one said is over. */
	if (ftruncate(fd, 0) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	state_set_guest(fd, 0);
	return fd;
}

/**
 * state_set_guest() - tell others whether a guest is connected
 * @claim: from state_claim()
 * @guest: pid of the process at the other end, or 0 for none
 */
void state_set_guest(int claim, pid_t guest)
{
	char text[16];
	struct flock fl;

	snprintf(text, sizeof(text), "%-14d\n", guest);
	if (pwrite(claim, text, strlen(text), 0) < 0)
		return;		/* the pid is for error messages only */
	claim_lock(claim, F_SETLK, guest ? F_WRLCK : F_UNLCK, CLAIM_GUEST, &fl);
}

/**
 * state_set_problem() - tell others why a guest is not served
 * @claim: from state_claim()
 * @problem: a sentence, or "" when all is well
 */
void state_set_problem(int claim, const char *problem)
{
	size_t len = strlen(problem);

	/* For people only: nothing hangs on it. */
	if (pwrite(claim, problem, len, GUEST_BYTES) == (ssize_t)len &&
	    ftruncate(claim, GUEST_BYTES + len) < 0)
		return;
}

/**
 * state_problem() - what state_set_problem() was told
 * @problem: set to it, "" if there is none
 * @size: of @problem
 *
 * Not to be called in the server itself, and of no meaning without one.
 */
void state_problem(const char *name, char *problem, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = -1;
	int fd;

	state_path(path, sizeof(path), name, "pid");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = pread(fd, problem, size - 1, GUEST_BYTES);
		close(fd);
	}
	problem[n > 0 ? n : 0] = '\0';
}

static pid_t read_guest(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return -1;
	return atoi(text);
}

/**
 * state_server() - which process serves a disk
 * @guest: set to the pid of the guest's process, 0 when none is connected
 *
 * Not to be called in the server itself: closing the file would drop its claim.
 *
 * Return: the server's pid, 0 when there is none.
 */
pid_t state_server(const char *name, pid_t *guest)
{
	char path[PATH_MAX];
	pid_t server = 0;
	struct flock fl;
	int fd;

	*guest = 0;
	state_path(path, sizeof(path), name, "pid");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (!claim_lock(fd, F_GETLK, F_WRLCK, CLAIM_SERVER, &fl) &&
	    fl.l_type != F_UNLCK)
		server = fl.l_pid;
	if (server && !claim_lock(fd, F_GETLK, F_WRLCK, CLAIM_GUEST, &fl) &&
	    fl.l_type != F_UNLCK)
		*guest = read_guest(fd);
	close(fd);
	return server;
}
