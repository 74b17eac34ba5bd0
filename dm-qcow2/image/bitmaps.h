/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Persistent dirty bitmaps that changes of the disk are recorded in.
 *
 * What changed is in memory, exactly; on disk a bitmap has these bits at all times, and perhaps
 * more, so that it can be trusted after a power cut. Nothing is written for most writes: before the
 * first one to a region since the bitmaps were stored exactly, all bits of the region are made
 * durable. Such a region is called marked. A bit costs one test then.
 *
 *	all bits of a region <= the first change of its data
 *	exact bits are stored when no write is under way: when the image is deactivated
 *
 * When a disk is frozen the bits that it has are cut off (bitmap-cut.c), and others begin; what is
 * on disk has both, until whoever has used those of the instant says so.
 *
 * Lock order: qcow2_image.bitmaps_lock -> qcow2_bitmaps.lock. Bits are set in a read section of
 * qcow2_image.inflight, without a lock.
 */
#ifndef DM_QCOW2_BITMAPS_H
#define DM_QCOW2_BITMAPS_H

#include "meta/image.h"

struct qcow2_header;

/* Log2 of the bytes of the disk that are marked together; of a larger disk more are, up to so many. */
#define QCOW2_REGION_BITS	24
#define QCOW2_MAX_REGION_BITS	20

/* What qcow2_bitmaps_mark() returns beside 0 and errnos: none is ready to be allocated. */
#define QCOW2_BITMAPS_NO_CLUSTER	1

/* Of an entry in memory. */
#define QCOW2_BITMAP_UNWRITTEN	BIT_ULL(63)

/**
 * struct qcow2_bitmap - one of them
 * @name: its name
 * @granularity_bits: log2 of the bytes that a bit stands for
 * @nr_bits: number of bits
 * @bits: those that are set, in the order of the disk. Read in a read section, behind @next
 * @next: while an instant begins: set, too; they take the place of @bits
 * @frozen: what was set when the disk was frozen, as long as that counts; the lock
 * @table_offset: host offset of the table
 * @nr_chunks: number of its entries
 * @table: the entries; the lock. With QCOW2_BITMAP_UNWRITTEN one may not be on disk
 * @is_stale: bits were forgotten that are on disk; the lock
 */
struct qcow2_bitmap {
	char *name;
	u32 granularity_bits;
	u64 nr_bits;
	unsigned long *bits;
	unsigned long *next;
	unsigned long *frozen;
	u64 table_offset;
	u32 nr_chunks;
	u64 *table;
	bool is_stale;
};

/**
 * struct qcow2_bitmaps - all of an image
 * @img: the image
 * @region_bits: log2 of the bytes of a region
 * @nr_regions: how many the disk has
 * @marked: those of which all bits are on disk; set under the lock
 * @wanted: those that somebody wants to be
 * @marking: those that are about to be; the lock
 * @lock: serialises what is written to the image
 * @buf: for one piece of it
 * @buf_bytes: its size
 * @block_bytes: what is written at least
 * @nr: number of bitmaps
 * @list: the bitmaps
 */
struct qcow2_bitmaps {
	struct qcow2_image *img;
	u32 region_bits;
	u64 nr_regions;
	unsigned long *marked;
	unsigned long *wanted;
	unsigned long *marking;
	struct mutex lock;
	void *buf;
	u32 buf_bytes;
	u32 block_bytes;
	unsigned int nr;
	struct qcow2_bitmap list[] __counted_by(nr);
};

/* Of memory: whole pieces. */
static inline u64 qcow2_bitmap_bytes(const struct qcow2_bitmaps *b, u64 nr_bits)
{
	return round_up(DIV_ROUND_UP_ULL(nr_bits, BITS_PER_BYTE), b->buf_bytes);
}

/* bitmap-load.c */

/**
 * qcow2_bitmaps_load - read the bitmaps that changes are recorded in
 * @img: an image that is about to be written to
 * @h: its header
 *
 * Sleeps. Return: 0 or a negative errno, which has been logged.
 */
int __must_check qcow2_bitmaps_load(struct qcow2_image *img, const struct qcow2_header *h);

/**
 * qcow2_bitmaps_unload - forget them
 * @img: an image that nobody writes to any more
 */
void qcow2_bitmaps_unload(struct qcow2_image *img);

/* bitmaps.c */

/**
 * qcow2_bitmaps_store - write the bits as they are
 * @img: an image that nobody writes to any more; its thread of space may be asked
 *
 * Where a piece of a bitmap cannot be exact for want of space it has more bits. Sleeps.
 *
 * Return: 0 or a negative errno.
 */
int __must_check qcow2_bitmaps_store(struct qcow2_image *img);

/**
 * qcow2_bitmaps_mark - make a range ready to be changed
 * @img: the image
 * @guest_off: its start
 * @bytes: its length, at least 1
 *
 * Our own threads; sleeps for a barrier. Return: 0; QCOW2_BITMAPS_NO_CLUSTER; a negative errno.
 */
int __must_check qcow2_bitmaps_mark(struct qcow2_image *img, u64 guest_off, u64 bytes);

/* Below the inline functions: there are bitmaps. */
bool qcow2_bitmaps_try_record(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes);
bool qcow2_bitmaps_has_marked(const struct qcow2_bitmaps *b, u64 guest_off, u64 bytes);
void qcow2_bitmaps_do_record(struct qcow2_bitmaps *b, u64 guest_off, u64 bytes);

/**
 * qcow2_bitmaps_record - record that a range changes, if it may
 * @img: the image
 * @guest_off: its start
 * @bytes: its length, at least 1
 *
 * In the read section of qcow2_image.inflight in which it changes. Any context.
 *
 * Return: false when nothing was recorded, and qcow2_bitmaps_mark() has to come first.
 */
static inline bool qcow2_bitmaps_record(struct qcow2_image *img, u64 guest_off, u64 bytes)
{
	return likely(!img->bitmaps) || qcow2_bitmaps_try_record(img->bitmaps, guest_off, bytes);
}

/* Whether that would be true. */
static inline bool qcow2_bitmaps_are_marked(const struct qcow2_image *img, u64 guest_off,
					    u64 bytes)
{
	return !img->bitmaps || qcow2_bitmaps_has_marked(img->bitmaps, guest_off, bytes);
}

/* The same as qcow2_bitmaps_record() for a range that is marked. */
static inline void qcow2_bitmaps_record_marked(struct qcow2_image *img, u64 guest_off, u64 bytes)
{
	if (img->bitmaps)
		qcow2_bitmaps_do_record(img->bitmaps, guest_off, bytes);
}

/**
 * qcow2_bitmaps_list - say which bitmaps there are
 * @img: the image; may be about to be deactivated
 * @first: number of the first one
 * @result: three words a bitmap: name, granularity in bytes, bytes that it says have changed;
 *	ends before the last one when it is full
 * @maxlen: its size
 */
void qcow2_bitmaps_list(struct qcow2_image *img, unsigned int first, char *result,
			unsigned int maxlen);

/* Its three words, if there is room behind @at, which is moved on. */
bool qcow2_bitmap_emit(const char *name, u32 granularity_bits, u64 dirty_bytes, char *result,
		       unsigned int maxlen, unsigned int *at);

/* bitmap-cut.c */

/**
 * struct qcow2_frozen_bitmap - a bitmap as it was at an instant
 * @name: its name
 * @granularity_bits: log2 of the bytes that a bit stands for
 * @nr_bits: number of bits
 * @bits: the bits
 * @was_used: they do not count any more; under the lock of struct qcow2_bitmaps
 */
struct qcow2_frozen_bitmap {
	char *name;
	u32 granularity_bits;
	u64 nr_bits;
	unsigned long *bits;
	bool was_used;
};

/**
 * struct qcow2_bitmap_cut - bitmaps as they were at an instant
 * @is_made: the bits are those of the instant; this and the next are under the lock of struct
 *	qcow2_bitmaps
 * @is_over: the instant is, or never came
 * @nr: number of bitmaps
 * @list: the bitmaps
 */
struct qcow2_bitmap_cut {
	bool is_made;
	bool is_over;
	unsigned int nr;
	struct qcow2_frozen_bitmap list[] __counted_by(nr);
};

/**
 * qcow2_cut_begin - have changes recorded in bits of their own, too
 * @img: the image; it stays active until qcow2_cut_end()
 * @cut: set to what will have the bits of the instant; NULL when there are no bitmaps
 *
 * An instant that begins behind this has no change in it that is recorded only in the new ones.
 * Sleeps for all read sections to end. Return: 0 or -ENOMEM.
 */
int __must_check qcow2_cut_begin(struct qcow2_image *img, struct qcow2_bitmap_cut **cut);

/**
 * qcow2_cut_make - from here on the new bits count as those of the disk
 * @img: the image
 * @cut: from qcow2_cut_begin(), or NULL
 *
 * All changes that are part of the instant have been recorded.
 */
void qcow2_cut_make(struct qcow2_image *img, struct qcow2_bitmap_cut *cut);

/**
 * qcow2_cut_end - nobody can use the bits of the instant any more
 * @img: the image
 * @cut: from qcow2_cut_begin(), or NULL; freed when no read section is left that began before
 *
 * What was not used counts as changed. May be called again.
 */
void qcow2_cut_end(struct qcow2_image *img, struct qcow2_bitmap_cut *cut);
void qcow2_cut_free(struct qcow2_bitmap_cut *cut);

/**
 * qcow2_cut_use - what a bitmap says had changed at the instant is in a backup
 * @img: the image
 * @cut: as above
 * @name: of the bitmap
 *
 * Return: 0; -ENOENT when there is no such bitmap; -ENODATA when the instant is over.
 */
int qcow2_cut_use(struct qcow2_image *img, struct qcow2_bitmap_cut *cut, const char *name);

/**
 * qcow2_cut_list - as qcow2_bitmaps_list()
 * @cut: as above
 * @first: number of the first one
 * @result: as there
 * @maxlen: its size
 */
void qcow2_cut_list(const struct qcow2_bitmap_cut *cut, unsigned int first, char *result,
		    unsigned int maxlen);

/**
 * qcow2_cut_map - say what had changed at the instant
 * @cut: as above
 * @name: of the bitmap
 * @offset: where to begin, in bytes
 * @end: where the disk ends
 * @result: what is there, a word a run: its length in bytes, and "d" for what had changed or "c" for
 *	what had not; ends before @end when it is full
 * @maxlen: its size
 *
 * Return: 0 or -ENOENT.
 */
int qcow2_cut_map(const struct qcow2_bitmap_cut *cut, const char *name, u64 offset, u64 end,
		  char *result, unsigned int maxlen);

#endif /* DM_QCOW2_BITMAPS_H */
