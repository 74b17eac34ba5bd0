// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's command line for a disk.
 *
 * One option is not the same in all versions: before 9.2 there is "reconnect=",
 * in seconds; from 11 on "reconnect-ms="; between them either, but not both. The
 * QEMU of this host is not run to find out, as this is root: the name of
 * an option that a program knows is in its file.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "err.h"
#include "qemu.h"

#define ID_BYTES	160
#define CHUNK_BYTES	(256 * 1024)

#define FIRST_MS_MAJOR	9
#define FIRST_MS_MINOR	2

/* Where distributions and `make install` put it; %s: the machine. */
static const char *const places[] = {
	"/usr/local/bin/qemu-system-%s",
	"/usr/bin/qemu-system-%s",
	"/usr/bin/qemu-kvm",
	"/usr/libexec/qemu-kvm",
};

/* With their ends, so that neither is found in the other. */
static const char name_secs[] = "reconnect";
static const char name_ms[] = "reconnect-ms";

/**
 * qemu_parse_version() - what the QEMU of a version is to be told
 * @text: "7.2", "10.0.13", or as a package has it, "10.0.13+ds-1"
 * @reconnect: set on success
 *
 * Return: an exit code; what is wrong has been reported.
 */
int qemu_parse_version(const char *text, enum qemu_reconnect *reconnect)
{
	unsigned long major, minor = 0;
	char *end;

	major = isdigit(*text) ? strtoul(text, &end, 10) : 0;
	if (major && *end == '.' && isdigit(end[1]))
		minor = strtoul(end + 1, &end, 10);
	if (!major || (*end && !strchr(".+-~ ", *end)))
		return err_report(VBLK_USAGE, "--qemu",
				  "'%s' is not a version, as 10.0 is", text);
	if (major > FIRST_MS_MAJOR ||
	    (major == FIRST_MS_MAJOR && minor >= FIRST_MS_MINOR))
		*reconnect = QEMU_RECONNECT_MS;
	else
		*reconnect = QEMU_RECONNECT_SECS;
	return VBLK_OK;
}

/* Read, not mapped: the file may be replaced meanwhile. */
static enum qemu_reconnect search_file(int fd)
{
	static char buf[CHUNK_BYTES + sizeof(name_ms)];
	bool knows_secs = false;
	size_t kept = 0, n;
	ssize_t got;

	while ((got = read(fd, buf + kept, CHUNK_BYTES)) > 0) {
		n = kept + got;
		if (memmem(buf, n, name_ms, sizeof(name_ms)))
			return QEMU_RECONNECT_MS;
		knows_secs = knows_secs ||
			     memmem(buf, n, name_secs, sizeof(name_secs));
		kept = n < sizeof(name_ms) ? n : sizeof(name_ms);
		memmove(buf, buf + n - kept, kept);
	}
	return knows_secs ? QEMU_RECONNECT_SECS : QEMU_RECONNECT_UNKNOWN;
}

static enum qemu_reconnect search_path(const char *path)
{
	enum qemu_reconnect found = QEMU_RECONNECT_UNKNOWN;
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return found;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		found = search_file(fd);
	close(fd);
	return found;
}

/* A script that starts QEMU knows no option: on with the next place. */
static enum qemu_reconnect search_host(void)
{
	enum qemu_reconnect found = QEMU_RECONNECT_UNKNOWN;
	struct utsname host;
	char path[256];
	size_t i;

	uname(&host);
	for (i = 0; !found && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), places[i], host.machine);
		found = search_path(path);
	}
	if (found)
		return found;
	err_hint("no QEMU found here: its options are for 9.2 or newer; else --qemu VERSION");
	return QEMU_RECONNECT_MS;
}

/* QEMU's ids are narrower than device names. */
static void make_id(const char *name, char *id, size_t size)
{
	char *p;

	snprintf(id, size, "vblk-%s", name);
	for (p = id; *p; p++)
		if (strchr("+:=@", *p))
			*p = '_';
}

/* A comma in an option's value is written twice. */
static void double_commas(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; *in && n + 2 < size; in++) {
		if (*in == ',')
			out[n++] = ',';
		out[n++] = *in;
	}
	out[n] = '\0';
}

/**
 * qemu_make_args() - what to tell QEMU of a disk
 * @a: the disk, which is served
 * @reconnect: of the QEMU that is meant; looked for on this host if unknown
 * @args: filled in
 */
void qemu_make_args(const struct attached *a, enum qemu_reconnect reconnect,
		    struct qemu_args *args)
{
	char id[ID_BYTES], path[2 * sizeof(a->serving.socket) + 1];

	if (!reconnect)
		reconnect = search_host();
	make_id(a->d.name, id, sizeof(id));
	double_commas(a->serving.socket, path, sizeof(path));
	snprintf(args->object, sizeof(args->object),
		 "memory-backend-memfd,id=mem,size=RAM,share=on");
	snprintf(args->chardev, sizeof(args->chardev),
		 "socket,id=%s,path=%s,%s", id, path,
		 reconnect == QEMU_RECONNECT_SECS ? "reconnect=1" :
						    "reconnect-ms=1000");
	snprintf(args->device, sizeof(args->device),
		 "vhost-user-blk-pci,chardev=%s,num-queues=%u,queue-size=%u",
		 id, a->serving.queues, a->serving.queue_size);
}
