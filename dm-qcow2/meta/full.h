/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host has no space: what writes do, and who is told.
 */
#ifndef DM_QCOW2_FULL_H
#define DM_QCOW2_FULL_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct qcow2_image;

/* How often to look whether the host has space again. */
#define QCOW2_FULL_DELAY	HZ

/* What the host has no space for: bits of qcow2_full.what */
enum {
	QCOW2_FULL_CLUSTERS,	/* preparing clusters for allocation */
	QCOW2_FULL_IN_PLACE,	/* writing data where the image has no space yet, or shares it */
	QCOW2_FULL_METADATA,	/* the same for a table */
};

/**
 * struct qcow2_low - whether the host has less space left than user space wants to know of
 * @bytes: of the table line: how little that is; 0: it does not
 * @is_low: it had when last looked. This and the rest: the space thread only
 * @is_owed: an event is due
 * @is_told: one was sent
 * @told: when the last one was, in jiffies
 * @device_bytes: size of the block device then
 */
struct qcow2_low {
	u64 bytes;
	bool is_low;
	bool is_owed;
	bool is_told;
	unsigned long told;
	u64 device_bytes;
};

/**
 * struct qcow2_full - whether the host had space when last asked
 * @lock: serialises changes of the rest, and of QCOW2_NO_SPACE_ERROR with it
 * @what: what it had none for; read without the lock
 * @since: when it was found full, or the policy last set, in jiffies
 * @is_error: of the table line, or the last message: writes that find no space fail
 * @low: whether there is little left
 * @let_out: called with the image when those who wait for space may have to do so no more
 */
struct qcow2_full {
	spinlock_t lock;
	unsigned long what;
	unsigned long since;
	bool is_error;
	struct qcow2_low low;
	void (*let_out)(struct qcow2_image *img);
};

/**
 * qcow2_full_init - set an image's policy
 * @f: what is to be initialised; @is_error and @let_out are set
 * @img: the image; it is set to use @f
 */
void qcow2_full_init(struct qcow2_full *f, struct qcow2_image *img);

/**
 * qcow2_full_reset - begin with what the table line or the last message says
 * @img: the image; nothing is under way
 */
void qcow2_full_reset(struct qcow2_image *img);

/**
 * qcow2_full_enter - the host has no space
 * @img: the image
 * @what: one of the bits
 *
 * Logs it and sends an event when that is news, or when it has lasted for as long as
 * writes wait; they fail then. Sleeps.
 */
void qcow2_full_enter(struct qcow2_image *img, unsigned int what);

/**
 * qcow2_full_begin_anew - nobody has waited so far
 * @img: the image
 * @what: one of the bits; where something else has no space, too, nothing is changed
 */
void qcow2_full_begin_anew(struct qcow2_image *img, unsigned int what);

/**
 * qcow2_full_leave - it has some again
 * @img: the image
 * @what: one of the bits
 *
 * When there is space for all, writes that find none wait again. Sleeps.
 */
void qcow2_full_leave(struct qcow2_image *img, unsigned int what);

/**
 * qcow2_full_is_over - whether a wait for space has lasted for as long as one may
 * @since: its start, in jiffies
 */
bool qcow2_full_is_over(unsigned long since);

/**
 * qcow2_full_wait - wait for space that a commit needs, whatever writes do
 * @img: the image
 * @err: how the last attempt ended
 * @since: when the first one was made, in jiffies
 *
 * Those who wait for the commit do not wait for that, too, if they are not to. Sleeps.
 *
 * Return: true when it is to be tried again; false when @err is something else, or it has lasted
 * for as long as writes wait.
 */
bool qcow2_full_wait(struct qcow2_image *img, int err, unsigned long since);

/**
 * qcow2_full_goes_back - whether dm takes back a write that finds no space
 * @img: the image
 *
 * In a suspend that does not flush: it is submitted again after the resume. Any context.
 */
bool qcow2_full_goes_back(const struct qcow2_image *img);

/**
 * qcow2_full_may_wait - whether a write that finds no space waits for it
 * @img: the image
 * @what: for what it finds none: one of the bits
 *
 * A caller that parks the write asks under the lock of the list, and who changes the answer
 * takes that lock afterwards to let out whoever is in the list. Any context.
 */
bool qcow2_full_may_wait(const struct qcow2_image *img, unsigned int what);

/**
 * qcow2_full_set_policy - say what writes do while the host is full
 * @img: the image
 * @is_error: they fail; else they wait, from now on for as long as they may
 *
 * The caller lets out those who wait.
 */
void qcow2_full_set_policy(struct qcow2_image *img, bool is_error);

/**
 * qcow2_full_note_left - how much space the host has left
 * @img: the image
 * @left: so many bytes
 * @device_bytes: size of its block device; 0 for a file
 *
 * Sends an event when that has become less than the table line says, and when it still is on a
 * device that has grown, as far as the last one is long enough ago. The space thread; sleeps.
 *
 * Return: after how many jiffies this is to be called again, as an event is due; or 0.
 */
unsigned long qcow2_full_note_left(struct qcow2_image *img, u64 left, u64 device_bytes);

#endif /* DM_QCOW2_FULL_H */
