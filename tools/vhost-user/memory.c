// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory in this process's address space.
 *
 * The kernel's vhost workers use the mm of the process that owns the vhost
 * device, so the server maps every region that the front-end passes and
 * translates the front-end's addresses of the rings to its own.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "memory.h"

/** vhost_mem_host_addr() - where the first byte of a region is mapped here */
uint64_t vhost_mem_host_addr(const struct vhost_mem_region *r)
{
	return (uintptr_t)r->map + r->wire.fd_offset;
}

static bool is_sane(const struct vhost_user_region *w)
{
	uint64_t end;

	return w->bytes &&
	       !__builtin_add_overflow(w->guest_addr, w->bytes, &end) &&
	       !__builtin_add_overflow(w->user_addr, w->bytes, &end) &&
	       !__builtin_add_overflow(w->fd_offset, w->bytes, &end) &&
	       end <= INT64_MAX;
}

static bool is_same_memory(const struct vhost_mem_region *a,
			   const struct vhost_mem_region *b)
{
	return a->dev == b->dev && a->ino == b->ino &&
	       a->wire.fd_offset == b->wire.fd_offset &&
	       a->wire.bytes == b->wire.bytes;
}

/*
 * The kernel reads and writes the guest's memory with nobody able to stop it. A
 * page that a FUSE server or a network has to bring could hold it for ever, and
 * with it this process, the device and the image. memfds count as tmpfs or
 * hugetlbfs; a device's node may be on a tmpfs, but its pages are not.
 */
static bool is_in_memory(int fd, const struct stat *st)
{
	struct statfs fs;

	return S_ISREG(st->st_mode) && fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC);
}

static bool overlaps(const struct vhost_user_region *a,
		     const struct vhost_user_region *b)
{
	return a->guest_addr < b->guest_addr + b->bytes &&
	       b->guest_addr < a->guest_addr + a->bytes;
}

/* Huge-page files are mapped and unmapped in units of their block size. */
static size_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static int map_region(struct vhost_mem_region *r, int fd, blksize_t unit)
{
	r->map_bytes = round_up(r->wire.fd_offset + r->wire.bytes,
				unit > 0 ? unit : 4096);
	r->map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (r->map == MAP_FAILED)
		return -errno;
	/* The memory is the guest's: not for our core dumps or children. */
	madvise(r->map, r->map_bytes, MADV_DONTDUMP);
	madvise(r->map, r->map_bytes, MADV_DONTFORK);
	return 0;
}

static bool share_mapping(struct vhost_mem_region *r,
			  const struct vhost_mem *other)
{
	unsigned int i;

	for (i = 0; i < other->nr; i++) {
		if (!is_same_memory(r, &other->regions[i]))
			continue;
		r->map = other->regions[i].map;
		r->map_bytes = other->regions[i].map_bytes;
		return true;
	}
	return false;
}

/**
 * vhost_mem_add() - map a region and append it to a table
 * @m: the table
 * @old: the table it replaces, whose mapping is kept for the same memory
 * @wire: the region
 * @fd: the file that it is part of; not needed afterwards
 *
 * Return: 0, -EINVAL for a region that cannot be, -EOPNOTSUPP for a file that is
 * not in memory, -ENOSPC when the table is full, another -errno.
 */
int vhost_mem_add(struct vhost_mem *m, const struct vhost_mem *old,
		  const struct vhost_user_region *wire, int fd)
{
	struct vhost_mem_region *r = &m->regions[m->nr];
	struct stat st;
	unsigned int i;
	int err;

	if (m->nr == VHOST_MEM_MAX_REGIONS)
		return -ENOSPC;
	if (!is_sane(wire) || fstat(fd, &st) < 0)
		return -EINVAL;
	if (!is_in_memory(fd, &st))
		return -EOPNOTSUPP;
	for (i = 0; i < m->nr; i++)
		if (overlaps(wire, &m->regions[i].wire))
			return -EINVAL;

	*r = (struct vhost_mem_region){
		.wire = *wire,
		.dev = st.st_dev,
		.ino = st.st_ino,
	};
	if (!share_mapping(r, old)) {
		err = map_region(r, fd, st.st_blksize);
		if (err)
			return err;
	}
	m->nr++;
	return 0;
}

/**
 * vhost_mem_remove() - drop a region from a table; its mapping stays
 *
 * Return: 0, or -ENOENT.
 */
int vhost_mem_remove(struct vhost_mem *m, const struct vhost_user_region *wire)
{
	struct vhost_user_region *w;
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		w = &m->regions[i].wire;
		if (w->guest_addr != wire->guest_addr ||
		    w->user_addr != wire->user_addr || w->bytes != wire->bytes)
			continue;
		m->nr--;
		memmove(&m->regions[i], &m->regions[i + 1],
			(m->nr - i) * sizeof(m->regions[0]));
		return 0;
	}
	return -ENOENT;
}

static bool has_mapping(const struct vhost_mem *m, const void *map)
{
	unsigned int i;

	for (i = 0; i < m->nr; i++)
		if (m->regions[i].map == map)
			return true;
	return false;
}

/**
 * vhost_mem_unmap_unshared() - unmap what another table does not use
 * @m: emptied
 * @other: keeps its mappings
 */
void vhost_mem_unmap_unshared(struct vhost_mem *m,
			      const struct vhost_mem *other)
{
	struct vhost_mem_region *r;

	while (m->nr) {
		r = &m->regions[--m->nr];
		/* Two regions may share one mapping inside a table, too. */
		if (!has_mapping(other, r->map) && !has_mapping(m, r->map))
			munmap(r->map, r->map_bytes);
	}
}

/**
 * vhost_mem_translate() - where a range of the front-end is mapped here
 * @m: the table
 * @user_addr: the front-end's address
 * @bytes: length; the range must lie in one region, because regions that are
 *         neighbours there need not be neighbours here
 * @host_addr: set to our address
 *
 * Return: 0, or -EFAULT.
 */
int vhost_mem_translate(const struct vhost_mem *m, uint64_t user_addr,
			uint64_t bytes, uint64_t *host_addr)
{
	const struct vhost_mem_region *r;
	uint64_t offset;
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		r = &m->regions[i];
		offset = user_addr - r->wire.user_addr;
		if (user_addr < r->wire.user_addr || offset >= r->wire.bytes ||
		    bytes > r->wire.bytes - offset)
			continue;
		*host_addr = vhost_mem_host_addr(r) + offset;
		return 0;
	}
	return -EFAULT;
}
