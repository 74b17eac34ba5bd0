/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unwritten extents of a file, and first writes to their blocks past its file system.
 */
#ifndef DM_QCOW2_UNWRITTEN_H
#define DM_QCOW2_UNWRITTEN_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct file;
struct iomap;

/* Of one extent: 64 MiB with blocks of 4 KiB. Longer ones are taken in piece by piece. */
#define QCOW2_UNWRITTEN_MAX_BLOCKS	16384
/* Of one set */
#define QCOW2_UNWRITTEN_MAX_EXTENTS	256

/**
 * struct qcow2_unwritten - an extent that was unwritten when it was found
 * @node: in the list of the set
 * @first: sector of the file; where a block begins
 * @distance: what to add to a sector of the file for that of the device; may wrap
 * @block_bits: log2 of the length of a block, bytes
 * @nr_blocks: its length, blocks
 * @is_pending: bit 0: there may be blocks that are written and not converted
 * @written: blocks that hold what was written to them past the file system
 * @converted: those that the file system knows about; under the set's lock
 */
struct qcow2_unwritten {
	struct list_head node;
	sector_t first;
	sector_t distance;
	unsigned int block_bits;
	unsigned int nr_blocks;
	unsigned long is_pending;
	unsigned long *written;
	unsigned long *converted;
};

/**
 * struct qcow2_unwritten_set - the unwritten extents of a file
 * @file: the file
 * @flags: of unwritten.c
 * @lock: serialises conversions; protects @extents, @count, @err, @maps
 * @extents: struct qcow2_unwritten
 * @count: how many
 * @err: of the first conversion that failed
 * @age_work: converts what nobody has asked for
 * @maps: what is converted in one go; NULL until an extent is taken in
 * @nr_maps: how many
 */
struct qcow2_unwritten_set {
	struct file *file;
	unsigned long flags;
	struct mutex lock;
	struct list_head extents;
	unsigned int count;
	int err;
	struct delayed_work age_work;
	struct iomap *maps;
	unsigned int nr_maps;
};

/**
 * qcow2_unwritten_init - get ready for the unwritten extents of a file
 * @set: the set, zeroed
 * @file: an open regular file; outlives the set
 *
 * Unless qcow2_extents_may_be_committed(), nothing must be added. An empty set has nothing
 * pending, and nothing to convert or to drop.
 */
void qcow2_unwritten_init(struct qcow2_unwritten_set *set, struct file *file);
void qcow2_unwritten_exit(struct qcow2_unwritten_set *set);

/**
 * qcow2_unwritten_add - take an extent in
 * @set: the set
 * @extent: whole blocks, unwritten, and in no other extent of the set; at most
 *	QCOW2_UNWRITTEN_MAX_BLOCKS of them
 *
 * Return: the extent, or NULL without memory.
 */
struct qcow2_unwritten *qcow2_unwritten_add(struct qcow2_unwritten_set *set,
					    const struct iomap *extent);

/**
 * qcow2_unwritten_clear - forget all extents
 * @set: the set; nobody uses one of its extents, and all is converted
 */
void qcow2_unwritten_clear(struct qcow2_unwritten_set *set);

/**
 * qcow2_unwritten_admit - may I/O go past the file system?
 * @u: the extent
 * @sector: of the file, in the extent
 * @bytes: its length, in the extent; reduced to what the answer is for
 * @is_write: it writes
 * @is_first: set if it writes to blocks that were not written: when it has succeeded,
 *	qcow2_unwritten_mark() is to be called
 *
 * Any context. Yes for what was written, and for writes of whole blocks.
 */
bool qcow2_unwritten_admit(const struct qcow2_unwritten *u, sector_t sector, u32 *bytes,
			   bool is_write, bool *is_first);

/**
 * qcow2_unwritten_mark - blocks were written
 * @set: the set
 * @u: the extent
 * @sector: of the file, the start of a block
 * @bytes: length of whole blocks
 *
 * Any context; the caller has a qcow2_freeze_tryhold().
 *
 * Return: true if the set has taken that over.
 */
bool qcow2_unwritten_mark(struct qcow2_unwritten_set *set, struct qcow2_unwritten *u,
			  sector_t sector, u32 bytes);

/**
 * qcow2_unwritten_has_pending - may anything be written and not converted?
 * @set: the set
 *
 * Any context.
 */
bool qcow2_unwritten_has_pending(const struct qcow2_unwritten_set *set);

/**
 * qcow2_unwritten_is_pending - is a block of a range written and not converted?
 * @u: the extent
 * @first: sector of the file
 * @last: likewise, not before @first; either may be outside of the extent
 *
 * Any context. Through the file system such a block must be neither read nor written.
 */
bool qcow2_unwritten_is_pending(const struct qcow2_unwritten *u, sector_t first, sector_t last);

/**
 * qcow2_unwritten_convert - tell the file system of all blocks that were written
 * @set: the set
 * @is_durable: set if that has made durable whatever was written to the file before the call; may
 *	be NULL
 *
 * Blocks whose mark came before the call are converted when it returns. Sleeps; takes
 * the file's locks; never waits for a frozen file system to thaw.
 *
 * Return: 0, or the error of this or an earlier conversion: it is not tried again, and
 * what was not converted stays pending. Who has no use for the error may leave it to
 * the next barrier, which gets it, too.
 */
int qcow2_unwritten_convert(struct qcow2_unwritten_set *set, bool *is_durable);

/**
 * qcow2_unwritten_hurry - convert soon
 * @set: the set
 *
 * Any context. For when a file system is to be frozen.
 */
void qcow2_unwritten_hurry(struct qcow2_unwritten_set *set);

/**
 * qcow2_unwritten_drop - blocks are about to be taken from the file
 * @set: the set
 * @first: sector of the file
 * @last: likewise
 *
 * No I/O is under way to them. They are not converted from here on. Sleeps.
 */
void qcow2_unwritten_drop(struct qcow2_unwritten_set *set, sector_t first, sector_t last);

#endif /* DM_QCOW2_UNWRITTEN_H */
