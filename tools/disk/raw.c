// SPDX-License-Identifier: GPL-2.0-only
/* The length of a raw image that is to be written to: in whole blocks, as the kernel does direct I/O. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/err.h"
#include "dm-qcow2/format/userspace.h"
#include "grow.h"
#include "raw.h"

#define SECTOR_BYTES	512U

/* A kernel that does not say so looks itself. */
static uint64_t block_bytes(const struct live_image *img)
{
	struct statx stx;

	if (S_ISBLK(img->st.st_mode) ||
	    statx(img->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
	    !(stx.stx_mask & STATX_DIOALIGN) || stx.stx_dio_offset_align < SECTOR_BYTES)
		return SECTOR_BYTES;
	return stx.stx_dio_offset_align;
}

/**
 * raw_check() - whether one can be written to, up to some length
 * @bytes: that
 * @name: of the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int raw_check(const struct live_image *img, uint64_t bytes, const char *name)
{
	uint64_t block = block_bytes(img), now;
	int err = grow_read_size(img, &now);

	if (err)
		return err_errno(-err, name, "cannot tell how long %s is", img->path);
	if (now % block)
		return err_report(VBLK_UNSUPPORTED, name,
				  "%s ends inside a block of %ju bytes: it cannot be written to as it is",
				  img->path, (uintmax_t)block);
	if (S_ISBLK(img->st.st_mode) && now < bytes)
		return err_report(VBLK_UNSUPPORTED, name, "%s has %ju bytes, and needs %ju",
				  img->path, (uintmax_t)now, (uintmax_t)bytes);
	return VBLK_OK;
}

/** raw_grow() - make one longer, if it is shorter, by whole blocks of zeroes; 0 when that is durable, or -errno */
int raw_grow(const struct live_image *img, uint64_t bytes)
{
	uint64_t now;
	char self[32];
	int fd, err = grow_read_size(img, &now);

	if (err || now >= bytes)
		return err;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", img->fd);
	fd = open(self, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, round_up(bytes, block_bytes(img))) < 0 || fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}
