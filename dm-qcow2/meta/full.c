// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host has no space: what writes do, and who is told; and who is told before, when little
 * is left (space/left.c looks how much).
 *
 * Writes wait, or fail at once, as no_space= says; those that have waited for too long
 * fail, and so do all others until there is space. It is the same whether a write needs a
 * cluster, or the host needs space to write in place: into a hole, or an extent that
 * is shared by a reflink. Metadata always waits, also in a suspend, as the image fails with it.
 *
 * Nobody waits through a suspend that does not flush: dm takes such a write back, and submits
 * it again after the resume. A suspend that flushes waits with the writes, and whoever asked
 * for it may interrupt that: dm has no place for them then, and to fail them would lose what
 * the guest wrote.
 */
#include <linux/jiffies.h>
#include <linux/moduleparam.h>

#include "full.h"
#include "image.h"

static unsigned int no_space_timeout_secs = 60;
module_param(no_space_timeout_secs, uint, 0644);
MODULE_PARM_DESC(no_space_timeout_secs,
		 "How long writes wait for space in the host before they fail (0: for ever)");

static unsigned int low_space_event_secs = 10;
module_param(low_space_event_secs, uint, 0644);
MODULE_PARM_DESC(low_space_event_secs,
		 "How long after an event of an image's little space the next one comes at the earliest");

bool qcow2_full_is_over(unsigned long since)
{
	unsigned int secs = READ_ONCE(no_space_timeout_secs);

	return secs && time_after(jiffies, since + (unsigned long)secs * HZ);
}

bool qcow2_full_goes_back(const struct qcow2_image *img)
{
	return test_bit(QCOW2_SUSPENDING, &img->state) && dm_noflush_suspending(img->ti);
}

bool qcow2_full_may_wait(const struct qcow2_image *img, unsigned int what)
{
	unsigned long full = READ_ONCE(img->full->what);

	if (!full)
		return true;
	if (test_bit(QCOW2_LEAVING, &img->state) || qcow2_full_goes_back(img))
		return false;
	/* Where something else has no space, there may be some in a moment. */
	return !(full & (BIT(what) | BIT(QCOW2_FULL_METADATA))) ||
	       !test_bit(QCOW2_NO_SPACE_ERROR, &img->state);
}

/* Whether something has changed that user space is told of. */
static bool note(struct qcow2_image *img, unsigned int what)
{
	struct qcow2_full *f = img->full;
	bool was_full = f->what;

	lockdep_assert_held(&f->lock);
	WRITE_ONCE(f->what, f->what | BIT(what));
	if (!was_full) {
		DMWARN("%s: no space for the image: %s writes", qcow2_name(img),
		       test_bit(QCOW2_NO_SPACE_ERROR, &img->state) ? "failing" : "queueing");
		f->since = jiffies;
		return true;
	}
	if (test_bit(QCOW2_NO_SPACE_ERROR, &img->state) || !qcow2_full_is_over(f->since))
		return false;
	DMWARN("%s: still no space for the image: failing writes", qcow2_name(img));
	set_bit(QCOW2_NO_SPACE_ERROR, &img->state);
	return true;
}

void qcow2_full_enter(struct qcow2_image *img, unsigned int what)
{
	bool is_news;

	spin_lock(&img->full->lock);
	is_news = note(img, what);
	spin_unlock(&img->full->lock);
	if (is_news)
		dm_table_event(img->ti->table);
}

void qcow2_full_begin_anew(struct qcow2_image *img, unsigned int what)
{
	struct qcow2_full *f = img->full;

	spin_lock(&f->lock);
	if (f->what == BIT(what))
		f->since = jiffies;
	spin_unlock(&f->lock);
}

void qcow2_full_leave(struct qcow2_image *img, unsigned int what)
{
	struct qcow2_full *f = img->full;
	bool is_news;

	if (!(READ_ONCE(f->what) & BIT(what)))
		return;
	spin_lock(&f->lock);
	is_news = f->what == BIT(what);
	WRITE_ONCE(f->what, f->what & ~BIT(what));
	if (is_news)
		assign_bit(QCOW2_NO_SPACE_ERROR, &img->state, img->full->is_error);
	spin_unlock(&f->lock);
	if (is_news)
		dm_table_event(img->ti->table);
}

bool qcow2_full_wait(struct qcow2_image *img, int err, unsigned long since)
{
	if (!err)
		qcow2_full_leave(img, QCOW2_FULL_METADATA);
	if ((err != -ENOSPC && err != -EDQUOT) || qcow2_full_is_over(since))
		return false;
	qcow2_full_enter(img, QCOW2_FULL_METADATA);
	img->full->let_out(img);
	schedule_timeout_idle(QCOW2_FULL_DELAY);
	return true;
}

/* Where space comes and goes around the level, not each time is news. */
static unsigned long hold_off(const struct qcow2_low *low)
{
	unsigned long next = low->told + (unsigned long)READ_ONCE(low_space_event_secs) * HZ;

	return low->is_told && time_before(jiffies, next) ? next - jiffies : 0;
}

unsigned long qcow2_full_note_left(struct qcow2_image *img, u64 left, u64 device_bytes)
{
	struct qcow2_low *low = &img->full->low;
	bool was_low = low->is_low;
	unsigned long delay;

	low->is_low = left < low->bytes;
	if (!low->is_low)
		low->is_owed = false;
	else if (!was_low || device_bytes > low->device_bytes)
		low->is_owed = true;
	if (!low->is_owed)
		return 0;
	delay = hold_off(low);
	if (delay)
		return delay;
	low->is_owed = false;
	low->is_told = true;
	low->told = jiffies;
	low->device_bytes = device_bytes;
	DMWARN("%s: %llu bytes of space left for the image", qcow2_name(img), left);
	dm_table_event(img->ti->table);
	return 0;
}

void qcow2_full_set_policy(struct qcow2_image *img, bool is_error)
{
	spin_lock(&img->full->lock);
	img->full->is_error = is_error;
	assign_bit(QCOW2_NO_SPACE_ERROR, &img->state, is_error);
	img->full->since = jiffies;
	/* Those who wait to write in place try again, and say so; nobody else would see space. */
	WRITE_ONCE(img->full->what, img->full->what & ~BIT(QCOW2_FULL_IN_PLACE));
	spin_unlock(&img->full->lock);
}

void qcow2_full_reset(struct qcow2_image *img)
{
	img->full->what = 0;
	assign_bit(QCOW2_NO_SPACE_ERROR, &img->state, img->full->is_error);
}

void qcow2_full_init(struct qcow2_full *f, struct qcow2_image *img)
{
	img->full = f;
	spin_lock_init(&f->lock);
	qcow2_full_reset(img);
}
