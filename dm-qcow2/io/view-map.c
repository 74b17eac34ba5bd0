// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a frozen disk has data: so that who copies it need not read zeroes; and what of it is in a
 * backup.
 */
#include "cow/instant.h"
#include "image/base.h"
#include "image/bitmaps.h"

#include "dev.h"
#include "map.h"
#include "view.h"

/* A word of the answer at its longest. */
#define MAX_WORD	(sizeof(" 18446744073709551615z") - 1)

/* Looked at in one go; a run ends with its page of entries anyhow. */
#define MAX_RUN		SZ_1G

/*
 * Pages of entries for one answer. A disk that is all alike fits into one word: who asks shall be able
 * to end, and to remove the device, all the same.
 */
#define MAX_LOOKS	1024

static int load(struct qcow2_image *img, u64 offset, int result)
{
	switch (result) {
	case QCOW2_MAP_AGAIN:
		return 0;
	case QCOW2_MAP_LOAD:
		return qcow2_below_load(img->base, offset);
	case QCOW2_MAP_MISS:
		return qcow2_tables_load(img);
	default:
		return result < 0 ? result : -EIO;
	}
}

/* What is at an offset, and how far. Return: 0 or a negative errno. */
static int look(struct qcow2_image *img, struct qcow2_instant *instant, u64 offset, u64 *bytes,
		bool *is_zero)
{
	u32 want = min_t(u64, img->geo.size - offset, MAX_RUN);
	struct qcow2_mapping m;
	struct qcow2_mpage *p;
	int result, err;

	for (;;) {
		p = qcow2_mpage_get(img, QCOW2_META_L2, qcow2_l2_page(&img->geo, offset));
		if (IS_ERR(p))
			return PTR_ERR(p);
		result = qcow2_map_instant(img, instant, p, offset, want, &m);
		qcow2_mpage_put(p);
		if (result == QCOW2_MAP_ZERO || result == QCOW2_MAP_DATA ||
		    result == QCOW2_MAP_INFLATE || result == QCOW2_MAP_TAIL)
			break;
		err = load(img, offset, result);
		if (err)
			return err;
	}
	*bytes = m.bytes;
	*is_zero = result == QCOW2_MAP_ZERO;
	return 0;
}

/* In a read section, while the image is there; without one there is none. */
static struct qcow2_image *enter(struct qcow2_instant *instant, int *srcu_idx)
{
	struct qcow2_image *img;

	rcu_read_lock();
	img = rcu_dereference(instant->readable);
	if (img)
		*srcu_idx = qcow2_inflight_enter(img);
	rcu_read_unlock();
	return img;
}

static int look_once(struct qcow2_instant *instant, u64 offset, u64 *bytes, bool *is_zero)
{
	struct qcow2_image *img;
	int err, srcu_idx;

	img = enter(instant, &srcu_idx);
	if (!img)
		return -EIO;
	err = look(img, instant, offset, bytes, is_zero);
	qcow2_inflight_leave(img, srcu_idx);
	return err;
}

int qcow2_view_use_bitmap(struct qcow2_instant *instant, const char *name)
{
	struct qcow2_image *img;
	int err, srcu_idx;

	img = enter(instant, &srcu_idx);
	if (!img)
		return -ENODATA;
	err = qcow2_cut_use(img, instant->cut, name);
	qcow2_inflight_leave(img, srcu_idx);
	return err;
}

int qcow2_view_map(struct qcow2_instant *instant, u64 offset, u64 end, char *result,
		   unsigned int maxlen)
{
	unsigned int noio = memalloc_noio_save();
	bool is_zero, was_zero = false;
	u64 bytes, run = 0;
	unsigned int sz = 0, looks = 0;
	int err = 0;

	result[0] = '\0';
	for (; offset < end && sz + 2 * MAX_WORD < maxlen && looks++ < MAX_LOOKS; offset += bytes) {
		err = look_once(instant, offset, &bytes, &is_zero);
		if (err)
			break;
		if (run && is_zero != was_zero) {
			DMEMIT("%llu%c ", run, was_zero ? 'z' : 'd');
			run = 0;
		}
		was_zero = is_zero;
		run += min(bytes, end - offset);
		cond_resched();
		if (fatal_signal_pending(current))
			err = -EINTR;
		if (err)
			break;
	}
	if (run)
		DMEMIT("%llu%c", run, was_zero ? 'z' : 'd');
	memalloc_noio_restore(noio);
	if (!err && !qcow2_instant_lasts(instant))
		err = -EIO;
	return err ?: 1;
}
