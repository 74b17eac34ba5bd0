// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuse-host MOUNT-POINT FILE: a host file system that fails reads when it is told to.
 *
 * Two files are in it:
 *	image	what FILE holds
 *	faults	takes one line: after "read OFFSET BYTES ERRNO", reads of the image fail that touch
 *		this range; after "ok", none. Reads as how many have failed since the last line.
 *
 * It goes to the background once it is mounted, and ends when it is unmounted. It speaks the
 * protocol of <linux/fuse.h> as far as that takes; the kernel does without the rest.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* As many pages as the kernel has in a request, unless told otherwise */
#define MAX_IO		(32 * 4096)
#define BLOCK_BYTES	4096
#define MAX_ERRNO	4095

enum node {
	NODE_ROOT = FUSE_ROOT_ID,
	NODE_IMAGE,
	NODE_FAULTS,
};

static struct {
	struct fuse_in_header head;
	union {
		struct fuse_setattr_in setattr;
		struct fuse_fallocate_in fallocate;
		struct fuse_read_in read;
		struct {
			struct fuse_write_in write;
			char data[MAX_IO + 1];
		};
		char name[NAME_MAX + 1];
	};
} request;

static struct {
	struct fuse_out_header head;
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_write_out write;
		char data[MAX_IO];
	};
} reply;

static struct {
	uint64_t from;
	uint64_t bytes;
	int error;
	unsigned int failed;
} fault;

static int image;

/* Functions of requests return the length of the reply behind its header, or a negative errno. */

static ssize_t do_init(void)
{
	reply.init = (struct fuse_init_out) {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = FUSE_ASYNC_DIO | FUSE_BIG_WRITES,
		.max_write = MAX_IO,
	};
	return sizeof(reply.init);
}

static int get_attr(uint64_t node, struct fuse_attr *attr)
{
	struct stat st = { 0 };

	if (node == NODE_IMAGE && fstat(image, &st))
		return -errno;
	*attr = (struct fuse_attr) {
		.ino = node,
		.size = st.st_size,
		.blocks = st.st_blocks,
		.mode = node == NODE_ROOT ? S_IFDIR | 0700 : S_IFREG | 0600,
		.nlink = 1,
		.uid = getuid(),
		.gid = getgid(),
		.blksize = BLOCK_BYTES,
	};
	return 0;
}

static ssize_t do_lookup(void)
{
	reply.entry = (struct fuse_entry_out) { 0 };
	if (!strcmp(request.name, "image"))
		reply.entry.nodeid = NODE_IMAGE;
	else if (!strcmp(request.name, "faults"))
		reply.entry.nodeid = NODE_FAULTS;
	else
		return -ENOENT;
	return get_attr(reply.entry.nodeid, &reply.entry.attr) ?: (ssize_t)sizeof(reply.entry);
}

static ssize_t do_getattr(void)
{
	reply.attr = (struct fuse_attr_out) { 0 };
	return get_attr(request.head.nodeid, &reply.attr.attr) ?: (ssize_t)sizeof(reply.attr);
}

static ssize_t do_setattr(void)
{
	if (request.head.nodeid == NODE_IMAGE && request.setattr.valid & FATTR_SIZE &&
	    ftruncate(image, request.setattr.size))
		return -errno;
	return do_getattr();
}

static ssize_t do_open(void)
{
	reply.open = (struct fuse_open_out) { .open_flags = FOPEN_DIRECT_IO };
	return sizeof(reply.open);
}

static bool has_fault(const struct fuse_read_in *in)
{
	return in->offset < fault.from + fault.bytes && fault.from < in->offset + in->size;
}

static ssize_t read_image(const struct fuse_read_in *in)
{
	ssize_t ret;

	if (has_fault(in)) {
		fault.failed++;
		return -fault.error;
	}
	ret = pread(image, reply.data, in->size, in->offset);
	return ret < 0 ? -errno : ret;
}

static ssize_t read_faults(const struct fuse_read_in *in)
{
	return in->offset ? 0 : snprintf(reply.data, in->size, "%u\n", fault.failed);
}

static ssize_t do_read(void)
{
	if (request.read.size > MAX_IO)
		return -EINVAL;
	return request.head.nodeid == NODE_IMAGE ? read_image(&request.read) :
						   read_faults(&request.read);
}

static int errno_by_name(const char *name)
{
	const char *known;

	for (int error = 1; error <= MAX_ERRNO; error++) {
		known = strerrorname_np(error);
		if (known && !strcmp(known, name))
			return error;
	}
	return 0;
}

static int write_faults(const char *line)
{
	uint64_t from = 0, bytes = 0;
	char name[32];
	int error = 0;

	if (sscanf(line, "read %" SCNu64 " %" SCNu64 " %31s", &from, &bytes, name) == 3)
		error = errno_by_name(name);
	else if (strcmp(line, "ok\n"))
		return -EINVAL;
	if (bytes && !error)
		return -EINVAL;
	fault.from = from;
	fault.bytes = bytes;
	fault.error = error;
	fault.failed = 0;
	return 0;
}

static ssize_t do_write(void)
{
	const struct fuse_write_in *in = &request.write;
	ssize_t ret = in->size;

	if (request.head.nodeid == NODE_IMAGE) {
		ret = pwrite(image, request.data, in->size, in->offset);
		if (ret < 0)
			return -errno;
	} else {
		request.data[in->size] = '\0';
		if (write_faults(request.data))
			return -EINVAL;
	}
	reply.write = (struct fuse_write_out) { .size = ret };
	return sizeof(reply.write);
}

static ssize_t do_fsync(void)
{
	return fsync(image) ? -errno : 0;
}

static ssize_t do_fallocate(void)
{
	const struct fuse_fallocate_in *in = &request.fallocate;

	return fallocate(image, in->mode, in->offset, in->length) ? -errno : 0;
}

static ssize_t serve(void)
{
	switch (request.head.opcode) {
	case FUSE_INIT:
		return do_init();
	case FUSE_LOOKUP:
		return do_lookup();
	case FUSE_GETATTR:
		return do_getattr();
	case FUSE_SETATTR:
		return do_setattr();
	case FUSE_OPEN:
		return do_open();
	case FUSE_RELEASE:
		return 0;
	case FUSE_READ:
		return do_read();
	case FUSE_WRITE:
		return do_write();
	case FUSE_FSYNC:
		return do_fsync();
	case FUSE_FALLOCATE:
		return do_fallocate();
	default:
		return -ENOSYS;
	}
}

static bool wants_reply(void)
{
	return request.head.opcode != FUSE_FORGET && request.head.opcode != FUSE_BATCH_FORGET &&
	       request.head.opcode != FUSE_INTERRUPT;
}

static bool send_reply(int dev, ssize_t result)
{
	reply.head = (struct fuse_out_header) {
		.len = sizeof(reply.head) + (result > 0 ? result : 0),
		.error = result < 0 ? result : 0,
		.unique = request.head.unique,
	};
	return write(dev, &reply, reply.head.len) >= 0 || errno == ENOENT;
}

/* ENOENT: whoever asked has gone. */
static void serve_all(int dev)
{
	ssize_t ret;

	for (;;) {
		ret = read(dev, &request, sizeof(request));
		if (ret < 0 && (errno == ENOENT || errno == EINTR))
			continue;
		if (ret < 0)
			return;
		if (wants_reply() && !send_reply(dev, serve()))
			return;
	}
}

static int mount_at(const char *dir)
{
	int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];

	if (dev < 0)
		err(1, "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=%u,group_id=%u", dev, S_IFDIR,
		 getuid(), getgid());
	if (mount("fuse-host", dir, "fuse", MS_NOSUID | MS_NODEV, options))
		err(1, "%s", dir);
	return dev;
}

int main(int argc, char **argv)
{
	int dev;

	if (argc != 3)
		errx(2, "usage: fuse-host MOUNT-POINT FILE");
	image = open(argv[2], O_RDWR | O_CLOEXEC);
	if (image < 0)
		err(1, "%s", argv[2]);
	dev = mount_at(argv[1]);
	if (daemon(0, 0))
		err(1, "daemon");
	serve_all(dev);
	return 0;
}
