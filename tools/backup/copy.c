// SPDX-License-Identifier: GPL-2.0-only
/*
 * The copying of a frozen disk: data is read with direct I/O, a piece at a time, and written while the next ones are
 * read. What reads as zero is neither read nor, if the target reads as zero, written.
 */
#include <string.h>

#include "cancel.h"
#include "cmd/err.h"
#include "cmd/progress.h"
#include "pass.h"

/* In one go, where the server makes zeroes by itself. */
#define MAX_ZERO	(1ULL << 30)

static const char cannot_write[] = "cannot write to it";

static int free_piece(struct pass *p, struct piece **piece)
{
	*piece = &p->pieces[p->next++ % PASS_PIECES];
	return pass_wait(p, *piece, cannot_write);
}

static int write_piece(struct pass *p, struct piece *piece, uint64_t offset, uint64_t bytes)
{
	uint64_t padded = pass_padded(p, bytes);

	memset(piece->data + bytes, 0, padded - bytes);
	p->t->is_touched = true;
	if (nbd_aio_pwrite(p->t->nbd, piece->data, padded, offset, pass_start(piece), 0) >= 0)
		return VBLK_OK;
	piece->is_busy = false;
	return target_report(p->t, cannot_write);
}

static int copy_piece(struct pass *p, uint64_t offset, uint64_t bytes)
{
	struct piece *piece;
	int ret;

	ret = free_piece(p, &piece);
	if (!ret)
		ret = pass_spend(p, bytes);
	if (!ret)
		ret = pass_read(p, offset, piece->data, bytes);
	return ret ? ret : write_piece(p, piece, offset, bytes);
}

static int write_zeroes(struct pass *p, uint64_t offset, uint64_t bytes)
{
	struct piece *piece;
	int ret;

	ret = free_piece(p, &piece);
	if (!ret)
		ret = pass_spend(p, bytes);
	if (ret)
		return ret;
	memset(piece->data, 0, bytes);
	return write_piece(p, piece, offset, bytes);
}

static int have_zeroed(struct pass *p, uint64_t offset, uint64_t bytes)
{
	struct piece *piece;
	int ret;

	ret = free_piece(p, &piece);
	if (ret)
		return ret;
	p->t->is_touched = true;
	if (nbd_aio_zero(p->t->nbd, pass_padded(p, bytes), offset, pass_start(piece), 0) >= 0)
		return VBLK_OK;
	piece->is_busy = false;
	return target_report(p->t, cannot_write);
}

static int zero_extent(struct pass *p, const struct extent *e)
{
	uint64_t offset, bytes, end = e->offset + e->bytes;
	bool can_zero = nbd_can_zero(p->t->nbd) > 0;
	int ret = VBLK_OK;

	for (offset = e->offset; !ret && offset < end; offset += bytes) {
		progress_update(offset);
		bytes = pass_piece_bytes(p, offset, end);
		if (can_zero)
			bytes = end - offset < MAX_ZERO ? end - offset : MAX_ZERO;
		ret = can_zero ? have_zeroed(p, offset, bytes) : write_zeroes(p, offset, bytes);
		if (!ret)
			ret = target_turn(p->t, 0);
	}
	return ret;
}

static int copy_extent(struct pass *p, const struct extent *e)
{
	uint64_t offset, bytes, end = e->offset + e->bytes;
	int ret = VBLK_OK;

	if (e->is_zero)
		return p->t->reads_zero ? VBLK_OK : zero_extent(p, e);
	for (offset = e->offset; !ret && offset < end; offset += bytes) {
		progress_update(offset);
		bytes = pass_piece_bytes(p, offset, end);
		ret = copy_piece(p, offset, bytes);
		if (!ret)
			pass_have_read(p, offset + bytes);
		if (!ret)
			ret = target_turn(p->t, 0);
		p->c->data_bytes += bytes;
	}
	return ret;
}

/* What is in a range; or of it, the part of a unit that a server of large blocks takes with it. */
static int copy_range(struct pass *p, struct extents *extents, const struct extent *range)
{
	uint64_t end = range->offset + range->bytes;
	struct extent e;
	int more = 1, ret = VBLK_OK;

	extents_seek(extents, range->offset);
	while (!ret && extents->offset < end && (more = extents_next(extents, &e)) > 0) {
		if (e.bytes > end - e.offset)
			e.bytes = end - e.offset;
		ret = copy_extent(p, &e);
		if (!ret && cancel_asked())
			ret = target_turn(p->t, 0);
	}
	if (more < 0)
		ret = pass_report_lost(p->c, -more, "cannot tell where it has data");
	return ret;
}

/* The rest is in the backup below. */
static int copy_changed(struct pass *p)
{
	struct extents changed = {
		.view = p->c->view, .bitmap = p->c->bitmap, .size = p->c->size, .unit = p->t->unit
	};
	struct extents extents = {
		.view = p->c->view, .size = p->c->size, .unit = p->t->unit
	};
	struct extent range;
	int more = 1, ret = VBLK_OK;

	while (!ret && (more = extents_next(&changed, &range)) > 0) {
		if (!range.is_zero)
			ret = copy_range(p, &extents, &range);
		progress_update(range.offset + range.bytes);
		if (!ret)
			pass_have_read(p, range.offset + range.bytes);
	}
	extents_end(&changed);
	extents_end(&extents);
	if (more < 0)
		ret = pass_report_lost(p->c, -more, "cannot tell what has changed");
	return ret;
}

static int copy_extents(struct pass *p)
{
	struct extents extents = {
		.view = p->c->view, .size = p->c->size, .unit = p->t->unit
	};
	struct extent e;
	int more = 1, ret = VBLK_OK;

	while (!ret && (more = extents_next(&extents, &e)) > 0) {
		ret = copy_extent(p, &e);
		progress_update(e.offset + e.bytes);
		if (!ret)
			pass_have_read(p, e.offset + e.bytes);
		if (!ret && cancel_asked())
			ret = target_turn(p->t, 0);
	}
	extents_end(&extents);
	if (more < 0)
		ret = pass_report_lost(p->c, -more, "cannot tell where it has data");
	return ret;
}

/**
 * copy_run() - copy the disk
 *
 * Return: an exit code; what is wrong has been reported, and the target is abandoned.
 */
int copy_run(struct copy *c, struct target *t)
{
	struct pass p;
	int ret;

	c->data_bytes = 0;
	ret = pass_begin(&p, c, t, "copied");
	if (!ret)
		ret = c->bitmap ? copy_changed(&p) : copy_extents(&p);
	for (int i = 0; i < PASS_PIECES && !ret; i++)
		ret = pass_wait(&p, &p.pieces[i], cannot_write);
	/* Buffers are libnbd's until it has closed. */
	if (ret)
		target_disconnect(t);
	pass_end(&p);
	return ret;
}
