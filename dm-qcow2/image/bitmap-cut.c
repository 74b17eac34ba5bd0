// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bitmaps as they were at an instant.
 *
 *	begin	bits of their own for what changes from now on; all that is recorded is recorded in both
 *	(the instant: nobody is left who knows only the old ones)
 *	make	the new ones are the disk's; the old ones are those of the instant, and count still
 *	use	they do not any more
 *	end	if they do, they become the disk's, too
 *
 * Whoever records late in an old one has recorded the same in the new one: see
 * qcow2_bitmaps_do_record().
 */
#include <linux/slab.h>

#include "bitmaps.h"

static void free_list(struct qcow2_bitmap_cut *cut)
{
	for (unsigned int i = 0; i < cut->nr; i++) {
		kfree(cut->list[i].name);
		kvfree(cut->list[i].bits);
	}
	kvfree(cut);
}

void qcow2_cut_free(struct qcow2_bitmap_cut *cut)
{
	if (cut)
		free_list(cut);
}

static struct qcow2_bitmap_cut *alloc_cut(const struct qcow2_bitmaps *b)
{
	struct qcow2_bitmap_cut *cut = kvzalloc(struct_size(cut, list, b->nr), GFP_KERNEL);

	if (!cut)
		return NULL;
	cut->nr = b->nr;
	for (unsigned int i = 0; i < b->nr; i++) {
		const struct qcow2_bitmap *bm = &b->list[i];
		struct qcow2_frozen_bitmap *f = &cut->list[i];

		f->granularity_bits = bm->granularity_bits;
		f->nr_bits = bm->nr_bits;
		f->name = kstrdup(bm->name, GFP_KERNEL);
		f->bits = kvzalloc(qcow2_bitmap_bytes(b, bm->nr_bits), GFP_KERNEL);
		if (!f->name || !f->bits) {
			free_list(cut);
			return NULL;
		}
	}
	return cut;
}

int qcow2_cut_begin(struct qcow2_image *img, struct qcow2_bitmap_cut **cut)
{
	struct qcow2_bitmaps *b = img->bitmaps;

	*cut = NULL;
	if (!b)
		return 0;
	*cut = alloc_cut(b);
	if (!*cut)
		return -ENOMEM;
	mutex_lock(&b->lock);
	for (unsigned int i = 0; i < b->nr; i++)
		smp_store_release(&b->list[i].next, (*cut)->list[i].bits);
	mutex_unlock(&b->lock);
	synchronize_srcu(&img->inflight);
	return 0;
}

void qcow2_cut_make(struct qcow2_image *img, struct qcow2_bitmap_cut *cut)
{
	struct qcow2_bitmaps *b = img->bitmaps;

	if (!cut)
		return;
	mutex_lock(&b->lock);
	for (unsigned int i = 0; i < b->nr && !cut->is_over; i++) {
		struct qcow2_bitmap *bm = &b->list[i];

		bm->frozen = bm->bits;
		cut->list[i].bits = bm->frozen;
		WRITE_ONCE(bm->bits, bm->next);
		/* Whoever finds none takes that. */
		smp_store_release(&bm->next, NULL);
	}
	cut->is_made = true;
	mutex_unlock(&b->lock);
}

/* Others record in @to meanwhile. */
static void add_bits(unsigned long *to, const unsigned long *from, u64 bytes)
{
	for (u64 i = 0; i < bytes / sizeof(long); i++)
		if (from[i])
			atomic_long_or(READ_ONCE(from[i]), (atomic_long_t *)&to[i]);
}

static void end(struct qcow2_bitmaps *b, struct qcow2_bitmap_cut *cut)
{
	lockdep_assert_held(&b->lock);
	for (unsigned int i = 0; i < b->nr; i++) {
		struct qcow2_bitmap *bm = &b->list[i];

		if (!cut->is_made)
			smp_store_release(&bm->next, NULL);
		else if (bm->frozen)
			add_bits(bm->bits, bm->frozen, qcow2_bitmap_bytes(b, bm->nr_bits));
		bm->frozen = NULL;
	}
	cut->is_over = true;
}

void qcow2_cut_end(struct qcow2_image *img, struct qcow2_bitmap_cut *cut)
{
	struct qcow2_bitmaps *b = img->bitmaps;

	if (!cut)
		return;
	mutex_lock(&b->lock);
	if (!cut->is_over)
		end(b, cut);
	mutex_unlock(&b->lock);
}

static int find(const struct qcow2_bitmap_cut *cut, const char *name)
{
	for (unsigned int i = 0; cut && i < cut->nr; i++)
		if (!strcmp(cut->list[i].name, name))
			return i;
	return -ENOENT;
}

int qcow2_cut_use(struct qcow2_image *img, struct qcow2_bitmap_cut *cut, const char *name)
{
	struct qcow2_bitmaps *b = img->bitmaps;
	int err = 0, i = find(cut, name);

	if (i < 0)
		return i;
	mutex_lock(&b->lock);
	if (cut->is_over) {
		err = -ENODATA;
	} else if (!cut->list[i].was_used) {
		cut->list[i].was_used = true;
		b->list[i].frozen = NULL;
		b->list[i].is_stale = true;
	}
	mutex_unlock(&b->lock);
	return err;
}

/* The last bit may stand for more than there is of the disk. */
static u64 count_bytes(const struct qcow2_frozen_bitmap *f)
{
	u64 bits = 0;

	for (u64 i = 0; i < BITS_TO_LONGS(f->nr_bits); i++)
		bits += hweight_long(READ_ONCE(f->bits[i]));
	return bits << f->granularity_bits;
}

void qcow2_cut_list(const struct qcow2_bitmap_cut *cut, unsigned int first, char *result,
		    unsigned int maxlen)
{
	unsigned int at = 0;

	result[0] = '\0';
	for (unsigned int i = first; cut && i < cut->nr; i++)
		if (!qcow2_bitmap_emit(cut->list[i].name, cut->list[i].granularity_bits,
				       count_bytes(&cut->list[i]), result, maxlen, &at))
			break;
}

int qcow2_cut_map(const struct qcow2_bitmap_cut *cut, const char *name, u64 offset, u64 end,
		  char *result, unsigned int maxlen)
{
	const struct qcow2_frozen_bitmap *f;
	unsigned int sz = 0, length;
	int i = find(cut, name);
	char word[sizeof(" 18446744073709551615d")];
	u64 bit, next, until;
	bool is_set;

	if (i < 0)
		return i;
	result[0] = '\0';
	f = &cut->list[i];
	for (bit = offset >> f->granularity_bits; bit < f->nr_bits; bit = next, offset = until) {
		is_set = test_bit_le(bit, f->bits);
		next = is_set ? find_next_zero_bit_le(f->bits, f->nr_bits, bit) :
				find_next_bit_le(f->bits, f->nr_bits, bit);
		until = min(next << f->granularity_bits, end);
		length = scnprintf(word, sizeof(word), "%s%llu%c", sz ? " " : "", until - offset,
				   is_set ? 'd' : 'c');
		if (sz + length >= maxlen)
			break;
		DMEMIT("%s", word);
	}
	return 0;
}
