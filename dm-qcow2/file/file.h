/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A layer: the file or block device that holds an image, how it is opened and locked,
 * who uses it, and synchronous I/O on it.
 *
 * I/O of a guest's data mostly does not come through here: bios are remapped to a block device,
 * or to the one below a file whose blocks are leased (lease/), and a file gets asynchronous
 * requests for the rest (io/run.c).
 */
#ifndef DM_QCOW2_FILE_H
#define DM_QCOW2_FILE_H

#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/mempool.h>

struct dm_dev;
struct dm_target;
struct mapped_device;
struct qcow2_lease;
struct qcow2_scan;
struct qcow2_table;
struct qcow2_table_layer;

/**
 * struct qcow2_file_user - a table that has a file as its top, or as a backing image
 * @file: the file
 * @node: in the registry; this and the next are protected by its mutex, but for what is constant
 * @md: its mapped device
 * @table: the table
 * @dev: of the table, if the file is a block device
 * @is_locked: of a top: the description has the image's locks, or whoever opened it has seen to
 *	them
 * @is_active: between preresume and postsuspend
 * @has_failed: writes to the image by the mapped device have failed, under this or another
 *	table; constant while active
 */
struct qcow2_file_user {
	struct qcow2_file *file;
	struct list_head node;
	struct mapped_device *md;
	struct dm_table *table;
	struct dm_dev *dev;
	bool is_locked;
	bool is_active;
	bool has_failed;
};

/**
 * struct qcow2_file - an opened layer
 * @filp: the open file description; carries the locks of the image. All tables of one
 *	mapped device that have one image as their top share it.
 * @bdev: the block device, or NULL for a regular file
 * @dev: of a regular file: st_dev, as whoever asks for its status is told
 * @ino: likewise st_ino
 * @lease: the blocks of the file; NULL without, or for a block device
 * @pieces: memory for I/O on a file by qcow2_file_rw()
 * @mem_align: alignment of memory for direct I/O, bytes; a power of two
 * @io_align: alignment of offsets and lengths for direct I/O, bytes
 * @may_nowait: the file system heeds IOCB_NOWAIT
 * @is_writable: opened for writing
 * @is_data: the data file of an image: never shorter than its disk
 * @top: the table whose top it is, or the data file of its top; unused for what belongs to a
 *	backing image, which has any number of users
 * @scan: what is known of the refcounts, or NULL; by kvmalloc. While active it is its user's;
 *	else protected by the registry's mutex: the next layer to be active takes it over.
 */
struct qcow2_file {
	struct file *filp;
	struct block_device *bdev;
	dev_t dev;
	u64 ino;
	struct qcow2_lease *lease;
	mempool_t *pieces;
	u32 mem_align;
	u32 io_align;
	bool may_nowait;
	bool is_writable;
	bool is_data;
	struct qcow2_file_user top;
	struct qcow2_scan *scan;
};

/* Offsets and lengths of I/O are multiples of more than a sector. */
static inline bool qcow2_file_has_blocks(const struct qcow2_file *f)
{
	return f->io_align > SECTOR_SIZE;
}

/* What memory, offsets and lengths of direct I/O are all aligned to, if anything is. */
static inline u32 qcow2_file_align(const struct qcow2_file *f)
{
	return max(f->io_align, f->mem_align);
}

/**
 * struct qcow2_stamp - changes when a file is written to
 * @bytes: its size
 * @version: as the file system counts, where it does
 * @mtime: of its data
 * @ctime: of the file
 */
struct qcow2_stamp {
	u64 bytes;
	u64 version;
	struct timespec64 mtime;
	struct timespec64 ctime;
};

static inline bool qcow2_stamp_equal(const struct qcow2_stamp *a, const struct qcow2_stamp *b)
{
	return a->bytes == b->bytes && a->version == b->version &&
	       timespec64_equal(&a->mtime, &b->mtime) && timespec64_equal(&a->ctime, &b->ctime);
}

/**
 * struct qcow2_iovec - one piece of synchronous metadata I/O
 * @host_off: offset in the layer, a multiple of @io_align
 * @buf: memory from kmalloc or the page allocator, not vmalloc
 * @bytes: length, a multiple of @io_align
 */
struct qcow2_iovec {
	u64 host_off;
	void *buf;
	u32 bytes;
};

/**
 * qcow2_file_open - open the top that a table line names, or its data file
 * @f: filled in on success
 * @ti: the target that is being constructed; its table's mode is the open mode
 * @table: the parsed table line
 * @layer: its word for the file
 *
 * Called by the constructor, in the caller of the ioctl: descriptors are the
 * caller's. Sets @ti->error on failure.
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_file_open(struct qcow2_file *f, struct dm_target *ti,
				 const struct qcow2_table *table,
				 const struct qcow2_table_layer *layer);

/**
 * qcow2_file_close - undo qcow2_file_open()
 * @f: the layer
 * @ti: the target it was opened for
 *
 * The last reference to the file is dropped before this returns, so that a
 * detached image is unlocked.
 */
void qcow2_file_close(struct qcow2_file *f, struct dm_target *ti);

/**
 * qcow2_file_open_backing - open what a table line names as a backing image
 * @f: filled in on success
 * @ti: the target that is being constructed
 * @layer: its word
 *
 * Nobody knows of it yet: whoever has it open already may be used instead. Sets @ti->error on
 * failure. Return: 0 or a negative errno.
 */
int __must_check qcow2_file_open_backing(struct qcow2_file *f, struct dm_target *ti,
					 const struct qcow2_table_layer *layer);
void qcow2_file_close_backing(struct qcow2_file *f);

/**
 * qcow2_file_lock_backing - lock a backing image, and get ready to lease it
 * @f: from qcow2_file_open_backing(), which has its undoing
 * @ti: the target that is being constructed
 * @table: its table line
 * @by_path: the table line has a path: the kernel locks it, as QEMU locks a backing file
 *
 * Sets @ti->error on failure. Return: 0, -EAGAIN when another process writes to it, or another
 * negative errno.
 */
int __must_check qcow2_file_lock_backing(struct qcow2_file *f, struct dm_target *ti,
					 const struct qcow2_table *table, bool by_path);

/**
 * qcow2_file_add_user - a table has a file as one of its backing images
 * @f: the file
 * @user: filled in; in the registry until qcow2_file_remove_user()
 * @ti: the target that is being constructed
 *
 * Return: 0, or -EBUSY when the table has it already, or another mapped device writes to it.
 */
int __must_check qcow2_file_add_user(struct qcow2_file *f, struct qcow2_file_user *user,
				     struct dm_target *ti);
void qcow2_file_remove_user(struct qcow2_file_user *user, struct dm_target *ti);

/* registry.c */

/* The same inode */
bool qcow2_file_is_same(const struct qcow2_file *a, const struct qcow2_file *b);

/**
 * qcow2_file_is_written - whether an active table writes to a backing image
 * @f: the file
 */
bool qcow2_file_is_written(const struct qcow2_file *f);

/**
 * qcow2_file_activate - a table is going to use an image: if as its top, as the only one
 * @user: the table's use; from here on its @has_failed says what came before
 *
 * Return: 0; -EBUSY while another table that writes to it is active, or any if this one does.
 */
int __must_check qcow2_file_activate(struct qcow2_file_user *user);

/**
 * qcow2_file_deactivate - let another table use the image
 * @user: an active one
 * @has_failed: writes to the image have failed
 *
 * A failure is handed on to all tables of the mapped device that have the image,
 * and by them to those that are loaded later. It ends when the last one is gone.
 */
void qcow2_file_deactivate(struct qcow2_file_user *user, bool has_failed);

/**
 * qcow2_file_bytes - size of the file or block device
 * @f: the layer
 */
u64 qcow2_file_bytes(const struct qcow2_file *f);

/**
 * qcow2_file_stamp - tell whether somebody else has written to a file
 * @f: the layer
 * @stamp: set to what the next one is compared with
 *
 * Where the file system counts no versions, a change within one tick of the clock that
 * times are taken from is not seen. Return: false for a block device, and after an error.
 */
bool qcow2_file_stamp(const struct qcow2_file *f, struct qcow2_stamp *stamp);

/**
 * qcow2_file_needs_stable_writes - must what is being written not change?
 * @f: the layer
 *
 * File systems with checksums of data say so.
 */
bool qcow2_file_needs_stable_writes(const struct qcow2_file *f);

/**
 * qcow2_file_invalidate - write and drop what the page cache has of a block device
 * @f: the layer
 *
 * Our I/O on a block device bypasses its page cache. Called before the first
 * I/O and after the last one of an activation. Sleeps.
 *
 * Return: 0 or a negative errno: what somebody wrote to the device is lost.
 */
int qcow2_file_invalidate(const struct qcow2_file *f);

int __must_check qcow2_file_io_init(struct qcow2_file *f);
void qcow2_file_io_exit(struct qcow2_file *f);

/**
 * struct qcow2_batch - pieces of I/O that are under way together
 * @pending: how many, and one for whoever adds them
 * @err: the first error
 * @done: completed with the last one
 * @plug: of whoever adds them
 */
struct qcow2_batch {
	atomic_t pending;
	int err;
	struct completion done;
	struct blk_plug plug;
};

/**
 * qcow2_batch_begin - begin I/O on files
 * @b: the batch, on the stack
 *
 * qcow2_batch_end() is to follow. May sleep; must not be called from the submitter of a bio.
 */
void qcow2_batch_begin(struct qcow2_batch *b);

/**
 * qcow2_batch_add - start the I/O of a piece
 * @b: the batch
 * @f: the file; may be another one than that of other pieces
 * @op: REQ_OP_READ or REQ_OP_WRITE
 * @vec: the piece
 *
 * Pieces reach the disk in any order. A read behind the end of a file is filled with zeroes; of a
 * data file it fails.
 */
void qcow2_batch_add(struct qcow2_batch *b, const struct qcow2_file *f, enum req_op op,
		     const struct qcow2_iovec *vec);

/**
 * qcow2_batch_read - start to read any bytes
 * @b: the batch
 * @f: the file
 * @vec: where, of a block device none behind its end; the memory is by kvmalloc
 *
 * The guest's data: the blocks of a file are leased for more of it. What direct I/O cannot take
 * as it is has been read when this returns.
 */
void qcow2_batch_read(struct qcow2_batch *b, const struct qcow2_file *f,
		      const struct qcow2_iovec *vec);

/**
 * qcow2_batch_end - wait for all pieces
 * @b: the batch
 *
 * Return: 0 or the first error.
 */
int __must_check qcow2_batch_end(struct qcow2_batch *b);

/**
 * qcow2_file_rw - read or write pieces of the image and wait for all of them
 * @f: the layer
 * @op: REQ_OP_READ or REQ_OP_WRITE
 * @vec: the pieces
 * @count: how many
 *
 * All pieces are under way at the same time and reach the disk in any order. A
 * read behind the end of a file is filled with zeroes, of a data file it fails. May sleep; must not be
 * called from the submitter of a bio.
 *
 * Return: 0 or the first error.
 */
int __must_check qcow2_file_rw(const struct qcow2_file *f, enum req_op op,
			       const struct qcow2_iovec *vec, unsigned int count);

/**
 * qcow2_file_read - read any bytes
 * @f: the file
 * @host_off: start
 * @buf: where they go, by kvmalloc
 * @bytes: length; of a block device, none behind its end
 *
 * qcow2_batch_read() of one piece. Return: 0 or a negative errno.
 */
int __must_check qcow2_file_read(const struct qcow2_file *f, u64 host_off, void *buf, u32 bytes);

/**
 * qcow2_file_sync - make everything written so far durable
 * @f: the layer
 *
 * Return: 0 or a negative errno. An error is reported once by the file system;
 * use qcow2_barrier(), which remembers it.
 */
int __must_check qcow2_file_sync(const struct qcow2_file *f);

/**
 * qcow2_file_zero - make a range allocated and read as zero
 * @f: the layer
 * @host_off: start, a multiple of the cluster size
 * @bytes: length, a multiple of the cluster size
 *
 * Extends a file as needed; nothing is durable before qcow2_file_sync(). Zeroes
 * are written where the file system has nothing better.
 *
 * Return: 0, -ENOSPC, or another negative errno.
 */
int __must_check qcow2_file_zero(const struct qcow2_file *f, u64 host_off,
				 u64 bytes);

/**
 * qcow2_file_extend - make a file longer by zeroes; nothing for a block device
 * @f: the layer
 * @bytes: the size that it is to have at least, a multiple of the cluster size
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_file_extend(const struct qcow2_file *f, u64 bytes);

/**
 * qcow2_file_discard - give the space of a range back to the host, best effort
 * @f: the layer
 * @host_off: start, a multiple of the cluster size
 * @bytes: length, a multiple of the cluster size
 */
void qcow2_file_discard(const struct qcow2_file *f, u64 host_off, u64 bytes);

/**
 * qcow2_file_clear - make a range of guest's data read as zero
 * @f: the layer
 * @host_off: start; it, and @bytes, a multiple of the blocks of the file system
 * @bytes: length; behind it the file does not end
 * @gives_back: its space should be the host's
 * @may_write: zeroes are written where there is no other way
 *
 * Not durable before qcow2_file_sync(). Where there is no space for zeroes it becomes a hole.
 *
 * Return: 0; -EOPNOTSUPP without @may_write, where some may have been cleared nevertheless; or
 * another negative errno.
 */
int __must_check qcow2_file_clear(const struct qcow2_file *f, u64 host_off, u64 bytes,
				  bool gives_back, bool may_write);

/**
 * qcow2_file_hole_align - what a hole can be made of
 * @f: the layer
 *
 * Return: bytes; of a file, a block of its file system at least.
 */
u32 qcow2_file_hole_align(const struct qcow2_file *f);

/**
 * qcow2_file_truncate - cut the end off a file; nothing for a block device
 * @f: the layer
 * @bytes: the new size
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_file_truncate(const struct qcow2_file *f, u64 bytes);

/**
 * qcow2_image_lock - take QEMU's lock bytes on a file that we opened
 * @file: the open file description that is to hold the locks
 * @writable: lock as a writer
 *
 * Return: 0, or -EAGAIN when another opener holds the image.
 */
int __must_check qcow2_image_lock(struct file *file, bool writable);

#endif /* DM_QCOW2_FILE_H */
