// SPDX-License-Identifier: GPL-2.0-only
/*
 * A copy read again, and compared with the frozen disk: all of either. That something reads as zero is not taken from
 * what the copying went by.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/err.h"
#include "cmd/progress.h"
#include "pass.h"

#define ALIGNMENT	4096

static const char cannot_read[] = "cannot read the copy";

static struct piece *piece_at(struct pass *p, uint64_t offset)
{
	return &p->pieces[offset / p->max_bytes % PASS_PIECES];
}

static int ask(struct pass *p, uint64_t offset)
{
	uint64_t bytes = pass_padded(p, pass_piece_bytes(p, offset, p->c->size));
	struct piece *piece = piece_at(p, offset);

	if (nbd_aio_pread(p->t->nbd, piece->data, bytes, offset, pass_start(piece), 0) >= 0)
		return VBLK_OK;
	piece->is_busy = false;
	return target_report(p->t, cannot_read);
}

static int compare(struct pass *p, uint64_t offset, char *data)
{
	uint64_t bytes = pass_piece_bytes(p, offset, p->c->size);
	struct piece *piece = piece_at(p, offset);
	int ret;

	ret = pass_spend(p, bytes);
	if (!ret)
		ret = pass_read(p, offset, data, bytes);
	if (!ret)
		ret = pass_wait(p, piece, cannot_read);
	if (!ret && memcmp(data, piece->data, bytes) != 0)
		ret = err_report(VBLK_DAMAGED, p->t->name,
				 "differs from the disk in the %" PRIu64 " bytes at %" PRIu64,
				 bytes, offset);
	return ret;
}

/* The next ones are asked for while one is compared. */
static int compare_all(struct pass *p, char *data)
{
	uint64_t asked = 0, offset, size = p->c->size;
	int ret = VBLK_OK;

	for (offset = 0; !ret && offset < size; offset += p->max_bytes) {
		progress_update(offset);
		for (; !ret && asked < size && asked - offset < PASS_PIECES * p->max_bytes;
		     asked += p->max_bytes)
			ret = ask(p, asked);
		if (!ret)
			ret = compare(p, offset, data);
		if (!ret)
			ret = target_turn(p->t, 0);
	}
	if (!ret)
		progress_update(size);
	return ret;
}

/**
 * copy_verify() - compare the target with the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int copy_verify(struct copy *c, struct target *t)
{
	char *data = NULL;
	struct pass p;
	int ret;

	ret = pass_begin(&p, c, t, "verified");
	if (!ret) {
		data = aligned_alloc(ALIGNMENT, p.max_bytes);
		ret = data ? compare_all(&p, data) : err_report(VBLK_FAILED, c->disk, "out of memory");
	}
	/* Buffers are libnbd's until it has closed. */
	if (ret)
		target_disconnect(t);
	free(data);
	pass_end(&p);
	return ret;
}
