// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files /run/vblk/UUID.job. Whether somebody is at a job is a question to the kernel: a lock that dies with him, and with
 * a process that he has left at work on the images.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job.h"
#include "state.h"

/* All files are as long, with blanks behind the text, so that a note is one write over the last one. */
#define FILE_BYTES	512

/* Who reads in the middle of a write reads again. */
#define READ_TRIES	10

static void job_path(char *path, size_t size, const char *uuid)
{
	snprintf(path, size, STATE_DIR "/%s.job", uuid);
}

/**
 * job_note() - write down how far it is
 * @fd: from job_begin()
 *
 * What it says of progress is for people only. Return: 0 or -errno.
 */
int job_note(int fd, const struct job *job)
{
	char text[FILE_BYTES + 1];
	int n;

	n = snprintf(text, sizeof(text),
		     "{ \"verb\": \"%s\", \"percent\": %u, \"pid\": %d, \"merged\": \"%s\", \"into\": \"%s\", \"count\": %u, \"whole\": %s }\n",
		     job->verb, job->percent, job->pid, job->merged, job->into, job->count,
		     job->is_whole ? "true" : "false");
	memset(text + n, ' ', FILE_BYTES - n);
	n = pwrite(fd, text, FILE_BYTES, 0);
	if (n < 0)
		return -errno;
	return n == FILE_BYTES ? 0 : -ENOSPC;
}

/* One that nobody sees before it is locked, and says what it is of. */
static int make(const char *path, const struct job *job)
{
	char self[32];
	int fd, err;

	fd = open(STATE_DIR, O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	err = flock(fd, LOCK_EX) < 0 ? -errno : job_note(fd, job);
	if (!err && linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/**
 * job_begin() - be at a job, a new one or one that somebody has left
 * @uuid: of the device, which is locked: nobody else begins
 *
 * Return: a descriptor for job_end(), which keeps the lock; or -errno.
 */
int job_begin(const char *uuid, const struct job *job)
{
	char path[PATH_MAX];
	int fd, err;

	job_path(path, sizeof(path), uuid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? make(path, job) : -errno;
	/* Who looks has it for a moment. */
	err = flock(fd, LOCK_EX) < 0 ? -errno : job_note(fd, job);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/** job_is_there() - whether @fd, from job_begin(), is still what others find, who may change the disk otherwise */
bool job_is_there(const char *uuid, int fd)
{
	struct stat found, ours;
	char path[PATH_MAX];

	job_path(path, sizeof(path), uuid);
	return stat(path, &found) == 0 && fstat(fd, &ours) == 0 && found.st_dev == ours.st_dev &&
	       found.st_ino == ours.st_ino;
}

/** job_end() - it is done; the device is locked */
void job_end(const char *uuid, int fd)
{
	job_forget(uuid);
	close(fd);
}

/** job_forget() - there is none of that device any more */
void job_forget(const char *uuid)
{
	char path[PATH_MAX];

	job_path(path, sizeof(path), uuid);
	unlink(path);
}

static bool take_string(json_object *o, const char *key, char *to, size_t size)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) &&
	       (size_t)snprintf(to, size, "%s", json_object_get_string(v)) < size;
}

static bool take(json_object *o, struct job *job)
{
	if (!take_string(o, "verb", job->verb, sizeof(job->verb)) ||
	    !take_string(o, "merged", job->merged, sizeof(job->merged)) ||
	    !take_string(o, "into", job->into, sizeof(job->into)))
		return false;
	job->is_whole = json_object_get_boolean(json_object_object_get(o, "whole"));
	job->count = json_object_get_int(json_object_object_get(o, "count"));
	job->percent = json_object_get_int(json_object_object_get(o, "percent"));
	job->pid = json_object_get_int(json_object_object_get(o, "pid"));
	return job->percent <= 100;
}

static bool read_job(int fd, struct job *job)
{
	char text[FILE_BYTES + 1];
	json_object *o;
	bool ok = false;
	ssize_t n;

	for (int i = 0; i < READ_TRIES && !ok; i++) {
		n = pread(fd, text, FILE_BYTES, 0);
		text[n > 0 ? n : 0] = '\0';
		o = json_tokener_parse(text);
		ok = o && json_object_is_type(o, json_type_object) && take(o, job);
		json_object_put(o);
	}
	return ok;
}

/**
 * job_find() - the job of a device
 * @job: filled in
 *
 * Return: 0, -ENOENT when there is none, another -errno.
 */
int job_find(const char *uuid, struct job *job)
{
	char path[PATH_MAX];
	bool is_running;
	int fd;

	*job = (struct job){};
	job_path(path, sizeof(path), uuid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	is_running = flock(fd, LOCK_SH | LOCK_NB) < 0;
	if (!read_job(fd, job))
		*job = (struct job){};
	job->is_running = is_running;
	if (!is_running || job->pid < 0)
		job->pid = 0;
	close(fd);
	return 0;
}

/**
 * job_is_running() - whether somebody is at it
 *
 * Return: 1, 0 or -errno.
 */
int job_is_running(const char *uuid)
{
	char path[PATH_MAX];
	int fd, ret = 0;

	job_path(path, sizeof(path), uuid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		ret = errno == EWOULDBLOCK ? 1 : -errno;
	close(fd);
	return ret;
}
