// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading what is below the top of a chain into memory.
 */
#include "base.h"
#include "below.h"
#include "compressed.h"

/* Return: how much of it is on its way now, or a negative errno. */
static int read_some(struct qcow2_batch *b, struct qcow2_base *base, u64 guest_off, void *buf,
		     u32 bytes)
{
	struct qcow2_below run;
	int err;

	switch (qcow2_below_find(base, guest_off, bytes, &run)) {
	case QCOW2_BELOW_ZERO:
		memset(buf, 0, run.bytes);
		return run.bytes;
	case QCOW2_BELOW_DATA:
	case QCOW2_BELOW_TAIL:
		qcow2_batch_read(b, &run.img->file,
				 &(struct qcow2_iovec) { run.where, buf, run.bytes });
		return run.bytes;
	case QCOW2_BELOW_COMPRESSED:
		err = qcow2_compressed_read(run.img, run.where, guest_off, buf, run.bytes);
		return err ?: run.bytes;
	case QCOW2_BELOW_MISS:
		return qcow2_below_load(base, guest_off);
	default:
		return -EIO;
	}
}

int qcow2_below_read(struct qcow2_batch *b, struct qcow2_base *base, u64 guest_off, void *buf,
		     u32 bytes)
{
	int done;

	for (; bytes; bytes -= done, buf += done, guest_off += done) {
		done = read_some(b, base, guest_off, buf, bytes);
		if (done < 0)
			return done;
	}
	return 0;
}
