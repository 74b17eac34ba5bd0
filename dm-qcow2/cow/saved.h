/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Blocks of a frozen disk that are overwritten in place: what was there is in memory.
 *
 * A write to a part of a cluster that is frozen need not take a fresh one, for which all the rest
 * would have to be copied: what it covers is read first, by blocks, and then it goes in place.
 * Whoever reads the disk of the instant takes what the host cluster has, and when that has been
 * read, puts the blocks over it that are in memory by then.
 *
 *	the block as it was, in memory <= the first write in place to its host blocks
 *
 * In a data file a guest cluster has one place: there all that is overwritten is read first, and where it
 * cannot be kept the instant ends (QCOW2_INSTANT_NO_MEMORY).
 *
 * A block is not freed while the instant lasts, unless nobody wants to see it any more
 * (qcow2_instant_pass()).
 */
#ifndef DM_QCOW2_SAVED_H
#define DM_QCOW2_SAVED_H

#include <linux/bio.h>
#include <linux/xarray.h>

#define QCOW2_SAVED_SHIFT	12
#define QCOW2_SAVED_BYTES	(1U << QCOW2_SAVED_SHIFT)

#define QCOW2_SAVED_ENDS_BITS	6
#define QCOW2_SAVED_GONE	128

struct qcow2_image;
struct qcow2_instant;
struct qcow2_mapping;

/**
 * struct qcow2_saved - the blocks of an instant
 * @blocks: by guest block; memory by kmalloc, or a value when it could not be read
 * @is_open: all that was under way at the instant has ended
 * @no_memory_until: there was none for a block: until then, in jiffies, none is saved
 * @ends: where first writes to blocks have ended, by a hash of that
 * @gone: to be freed together; by who lets go of blocks
 */
struct qcow2_saved {
	struct xarray blocks;
	bool is_open;
	unsigned long no_memory_until;
	u64 ends[1 << QCOW2_SAVED_ENDS_BITS];
	void *gone[QCOW2_SAVED_GONE];
};

/**
 * enum qcow2_saved_verdict - how data of the disk of an instant is overwritten
 * @QCOW2_SAVED_ALL: in place: what was there is in memory, or the instant has ended
 * @QCOW2_SAVED_MAY: so, too, after qcow2_saved_take()
 * @QCOW2_SAVED_NOT: elsewhere; in a data file in place, when the instant has ended
 */
enum qcow2_saved_verdict {
	QCOW2_SAVED_ALL,
	QCOW2_SAVED_MAY,
	QCOW2_SAVED_NOT,
};

void qcow2_saved_init(struct qcow2_saved *s);

/* When the instant has ended, and a grace period of RCU and of qcow2_image.inflight is over. */
void qcow2_saved_free(struct qcow2_saved *s);

/**
 * qcow2_saved_judge - look how a write is to go on
 * @img: the image, which has an instant
 * @guest_off: where it begins
 * @bytes: its length, in one cluster that the instant shows
 * @want: the same, with what is behind that cluster
 *
 * Any context, in a read section of qcow2_image.inflight.
 */
enum qcow2_saved_verdict qcow2_saved_judge(struct qcow2_image *img, u64 guest_off, u32 bytes,
					  u32 want);

/**
 * qcow2_saved_take - read what a write is to cover
 * @img: the image
 * @guest_off: where it begins
 * @host_off: likewise, in the image
 * @bytes: its length
 *
 * In the read section of qcow2_image.inflight in which it was judged; sleeps for I/O. The write is
 * then judged again: it may have to go elsewhere now. What cannot be read fails for whoever reads
 * the instant, never for the guest.
 */
void qcow2_saved_take(struct qcow2_image *img, u64 guest_off, u64 host_off, u32 bytes);

/**
 * qcow2_saved_show - put blocks over what has been read of the disk
 * @instant: the instant
 * @bio: the read
 * @iter: what of it, in sectors of the disk
 *
 * Any context. Return: false when there is one that could not be read.
 */
bool qcow2_saved_show(struct qcow2_instant *instant, struct bio *bio, struct bvec_iter iter);

/**
 * qcow2_saved_forget - let go of blocks that nobody wants to see
 * @instant: the instant
 * @from: in bytes of the disk; so is @to
 * @to: what is behind them
 *
 * Under qcow2_instant.ending; sleeps.
 */
void qcow2_saved_forget(struct qcow2_instant *instant, u64 from, u64 to);

#endif /* DM_QCOW2_SAVED_H */
