// SPDX-License-Identifier: GPL-2.0-only
/*
 * An image on its way into the kernel: identified, opened for direct I/O,
 * locked as QEMU locks it, its header found to be one that dm-qcow2 serves.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "backing-header.h"
#include "bitmaps.h"
#include "cmd/err.h"
#include "dm-image.h"
#include "dm-qcow2/format/header-ext.h"
#include "dm-qcow2/format/header.h"
#include "image.h"
#include "lock.h"
#include "open-file.h"

/* More than the header with what follows it, as a rule. */
#define HEADER_BYTES	16384

/* Enough for direct I/O on any device. */
#define DIRECT_ALIGN	4096

/**
 * image_uuid() - name the device after the identity of the image
 *
 * A file keeps its inode number while it is attached, so the device can be
 * found again from any path of the file, without opening it.
 *
 * Return: 0, or -ENOTBLK when it is neither a file nor a block device.
 */
int image_uuid(const struct stat *st, char *uuid, size_t size)
{
	if (S_ISREG(st->st_mode))
		snprintf(uuid, size, DMDEV_PREFIX "%u:%u-%ju",
			 major(st->st_dev), minor(st->st_dev),
			 (uintmax_t)st->st_ino);
	else if (S_ISBLK(st->st_mode))
		snprintf(uuid, size, DMDEV_PREFIX "dev-%u:%u",
			 major(st->st_rdev), minor(st->st_rdev));
	else
		return -ENOTBLK;
	return 0;
}

/**
 * image_identify() - find out which image a path means, without opening it
 * @img: filled in
 * @arg: the path as the user gave it; kept in @img
 *
 * Return: an exit code; what is wrong has been reported.
 */
int image_identify(struct image *img, const char *arg)
{
	memset(img, 0, sizeof(*img));
	img->arg = arg;
	img->fd = -1;
	img->format = IMAGE_QCOW2;

	if (!realpath(arg, img->path) || stat(img->path, &img->st) < 0)
		return err_errno(errno, arg, "cannot find the image");
	if (S_ISDIR(img->st.st_mode))
		return err_report(VBLK_UNSUPPORTED, arg,
				  "not an image: it is a directory");
	if (image_uuid(&img->st, img->uuid, sizeof(img->uuid)))
		return err_report(VBLK_UNSUPPORTED, arg,
				  "not an image: neither a file nor a block device");
	return VBLK_OK;
}

static int open_direct(struct image *img, bool read_only)
{
	int flags = O_DIRECT | O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR);
	struct stat st;
	int err, ret;

	/* A guest's reads are no news of the file; only its owner may say so. */
	img->fd = open(img->path, flags | O_NOATIME);
	if (img->fd < 0 && errno == EPERM)
		img->fd = open(img->path, flags);
	if (img->fd < 0 && errno == EINVAL && img->is_for_program)
		img->fd = open(img->path, flags & ~O_DIRECT);
	err = img->fd < 0 ? errno : 0;
	if (err == EINVAL)
		return err_report(VBLK_UNSUPPORTED, img->arg,
				  "its file system has no direct I/O");
	if (err) {
		ret = err_errno(err, img->arg, "cannot open");
		if (!read_only && access(img->path, R_OK) == 0)
			err_hint_command("vblk-attach", "--read-only", img->arg,
					 img->name, NULL);
		return ret;
	}
	if (fstat(img->fd, &st) < 0 || st.st_ino != img->st.st_ino ||
	    st.st_dev != img->st.st_dev)
		return err_report(VBLK_FAILED, img->arg,
				  "replaced while it was opened");
	return VBLK_OK;
}

static void name_user(const struct image *img, char *who, size_t size)
{
	struct dmdev d;

	if (open_file_locker(img->fd, who, size))
		return;
	/* Of a mapped device the kernel alone holds the lock. */
	if (dm_image_find(img->path, &d))
		snprintf(who, size, DMDEV_DIR "%s", d.name);
	else
		snprintf(who, size,
			 "the kernel, or a process that is not visible here");
}

static int take_lock(struct image *img, bool read_only)
{
	char who[512];
	int err = lock_image(img->fd, read_only);

	/* There are file systems without locks. */
	if (!err || (img->is_for_program && (err == -EOPNOTSUPP || err == -ENOSYS || err == -EINVAL)))
		return VBLK_OK;
	if (err != -EAGAIN)
		return err_errno(-err, img->arg, "cannot lock");
	name_user(img, who, sizeof(who));
	return err_report(VBLK_BUSY, img->arg, "locked: used by %s", who);
}

/* Asked again: it may have grown until it was locked. */
static int get_file_bytes(struct image *img, uint64_t *bytes)
{
	int err = fstat(img->fd, &img->st);

	*bytes = img->st.st_size;
	if (!err && S_ISBLK(img->st.st_mode))
		err = ioctl(img->fd, BLKGETSIZE64, bytes);
	return err ? err_errno(errno, img->arg, "cannot get its size") :
		     VBLK_OK;
}

/* @h: the header, if it could be parsed. Nothing mends what contradicts itself in it. */
static int refuse(struct image *img, int err, const char *why, const struct qcow2_header *h)
{
	int ret = err == -EINVAL ? VBLK_UNSUPPORTED : err_code(-err);
	const char *unused;

	err_report(ret, img->arg, "%s", why);
	if (err == -EINVAL)
		err_hint_command("qemu-img", "info", img->arg, NULL);
	else if (!h || qcow2_header_supported(h, false, &unused))
		return ret;
	else if (err == -EUCLEAN)
		err_hint_command("qemu-img", "check", "-r", "all", img->arg, NULL);
	else
		err_hint_command("vblk-attach", "--read-only", img->arg,
				 img->name, NULL);
	return ret;
}

/* Zeroes behind the end. Returns how many bytes there are, or -errno. */
static ssize_t read_front(const struct image *img, void *buf, uint64_t offset)
{
	ssize_t len;

	memset(buf, 0, HEADER_BYTES);
	len = pread(img->fd, buf, HEADER_BYTES, offset);
	return len < 0 ? -errno : len;
}

/* @buf has the start of the image; nearly always that is all. */
static int check_extensions(const struct image *img, struct qcow2_header *h,
			    void *buf, const char **why)
{
	uint64_t base = 0, next = h->length;
	int err;

	for (;;) {
		err = qcow2_header_ext_check(h, base, buf, HEADER_BYTES, &next, why);
		if (err || next >= qcow2_header_ext_end(h))
			return err;
		base = round_down(next, DIRECT_ALIGN);
		err = read_front(img, buf, base);
		*why = "header cannot be read";
		if (err < 0)
			return err;
	}
}

/* The kernel judges the same bytes with the same functions. */
static int check_header(struct image *img, void *buf, size_t len, bool read_only)
{
	struct qcow2_header header;
	uint64_t bytes;
	const char *why;
	int err, ret;

	ret = get_file_bytes(img, &bytes);
	if (ret)
		return ret;
	err = qcow2_header_parse(buf, len, &header, &why);
	if (err)
		return refuse(img, err, why, NULL);
	err = qcow2_header_supported(&header, !read_only, &why);
	if (err)
		return refuse(img, err, why, &header);
	err = qcow2_header_verify(&header, qcow2_image_end(header.cluster_bits, bytes,
							   S_ISREG(img->st.st_mode)), &why);
	if (!err)
		err = check_extensions(img, &header, buf, &why);
	if (!err && !read_only)
		err = bitmaps_check(img->fd, &header, &why);
	if (err)
		return refuse(img, err, why, err == -EOPNOTSUPP ? &header : NULL);
	img->virtual_bytes = header.size;
	return backing_header_read(img, &header);
}

static int read_header(struct image *img, bool read_only)
{
	ssize_t len;
	void *buf;
	int ret;

	if (posix_memalign(&buf, DIRECT_ALIGN, HEADER_BYTES))
		return err_errno(ENOMEM, img->arg, "cannot read the header");
	len = read_front(img, buf, 0);
	if (len < 0)
		ret = err_errno(-len, img->arg, "cannot read the header");
	else
		ret = check_header(img, buf, len, read_only);
	free(buf);
	return ret;
}

/* dm-qcow2 refuses these as well, but can tell only the kernel log why. */
static int check_direct_io(struct image *img)
{
	struct statx stx;

	if (S_ISBLK(img->st.st_mode) || img->is_for_program)
		return VBLK_OK;
	if (statx(img->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0)
		return err_errno(errno, img->arg, "cannot ask for direct I/O");
	/* Where it is not told, the kernel tries. */
	if (stx.stx_mask & STATX_DIOALIGN && !stx.stx_dio_offset_align)
		return err_report(VBLK_UNSUPPORTED, img->arg,
				  "its file system has no direct I/O for this file");
	return VBLK_OK;
}

static int look_inside(struct image *img, bool read_only)
{
	int ret = img->format == IMAGE_QCOW2 ? read_header(img, read_only) :
					       get_file_bytes(img, &img->virtual_bytes);

	return ret ? ret : check_direct_io(img);
}

/**
 * image_open() - open, lock and check an image that was identified
 * @img: from image_identify(), as a qcow2 image; @format may say that it is a raw one
 * @read_only: open and lock it for reading only
 *
 * Return: an exit code; what is wrong has been reported. image_close() is due
 * in either case.
 */
int image_open(struct image *img, bool read_only)
{
	int ret;

	img->is_read_only = read_only;
	ret = open_direct(img, read_only);
	if (!ret)
		ret = take_lock(img, read_only);
	return ret ? ret : look_inside(img, read_only);
}

static void read_path(struct image *img)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", img->fd);
	n = readlink(link, img->path, sizeof(img->path) - 1);
	if (n > 0)
		img->path[n] = '\0';
	else
		snprintf(img->path, sizeof(img->path), "%s", img->arg);
}

/**
 * image_adopt() - lock and check an image that another one has below it, or as its data file
 * @img: filled in
 * @fd: of it; belongs to @img
 * @arg: the name that it was opened by; kept in @img
 * @format: what it is; nobody looks for that
 * @above: the image that names it
 * @read_only: lock it for reading only
 *
 * Return: an exit code; what is wrong has been reported. image_close() is due in
 * either case.
 */
int image_adopt(struct image *img, int fd, const char *arg, enum image_format format,
		const struct image *above, bool read_only)
{
	int ret;

	memset(img, 0, sizeof(*img));
	img->arg = arg;
	img->fd = fd;
	img->format = format;
	img->is_read_only = read_only;
	img->is_for_program = above->is_for_program;
	read_path(img);
	if (fstat(fd, &img->st) < 0)
		return err_errno(errno, arg, "cannot look at it");
	ret = take_lock(img, read_only);
	return ret ? ret : look_inside(img, read_only);
}

/** image_is_same() - one file, or one device, whatever its nodes are called */
bool image_is_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/** image_close() - let go; the kernel keeps the locks if it has the file */
void image_close(struct image *img)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = -1;
	free(img->backing);
	img->backing = NULL;
	free(img->data_name);
	img->data_name = NULL;
}
