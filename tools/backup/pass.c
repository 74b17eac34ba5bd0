// SPDX-License-Identifier: GPL-2.0-only
/* One walk over a frozen disk and the copy of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cancel.h"
#include "cmd/err.h"
#include "cmd/progress.h"
#include "disk/dm.h"
#include "pass.h"

#define PIECE_BYTES	(1ULL << 20)
#define ALIGNMENT	4096UL
#define HUGE_PAGE	(2UL << 20)
#define SECOND_NS	1000000000ULL
#define MS_NS		1000000ULL

/* So much of what a slow target has kept from being read is made good at once. */
#define MAX_DEBT_NS	(SECOND_NS / 10)

/* Not for each piece. */
#define PASSED_BYTES	(8ULL << 20)

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

/* With a bandwidth, several a second. */
static uint64_t choose_piece_bytes(const struct copy *c, const struct target *t)
{
	uint64_t bytes = PIECE_BYTES < t->max_bytes ? PIECE_BYTES : t->max_bytes;

	if (c->bandwidth && c->bandwidth / 8 < bytes)
		bytes = c->bandwidth / 8;
	bytes &= ~(t->unit - 1);
	return bytes ?: t->unit;
}

/* In large pages, if there are any: direct I/O looks each page up. */
static bool get_memory(struct pass *p)
{
	size_t piece_bytes = (p->max_bytes + ALIGNMENT - 1) & -ALIGNMENT;
	size_t bytes = (PASS_PIECES * piece_bytes + HUGE_PAGE - 1) & -HUGE_PAGE;

	p->memory = aligned_alloc(HUGE_PAGE, bytes);
	if (!p->memory)
		return false;
	madvise(p->memory, bytes, MADV_HUGEPAGE);
	for (int i = 0; i < PASS_PIECES; i++)
		p->pieces[i].data = p->memory + i * piece_bytes;
	return true;
}

/**
 * pass_begin() - get ready
 * @verb: "copied", say
 *
 * pass_end() is due in either case. Return: an exit code; what is wrong has been reported.
 */
int pass_begin(struct pass *p, struct copy *c, struct target *t, const char *verb)
{
	*p = (struct pass) { .c = c, .t = t };
	progress_start(verb, c->size);
	p->max_bytes = choose_piece_bytes(c, t);
	return get_memory(p) ? VBLK_OK : err_report(VBLK_FAILED, c->disk, "out of memory");
}

/** pass_end() - when no command is in flight any more, or the connection is closed */
void pass_end(struct pass *p)
{
	progress_end();
	free(p->memory);
}

/**
 * pass_spend() - wait until so much may be read of the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int pass_spend(struct pass *p, uint64_t bytes)
{
	uint64_t at;
	int ret;

	if (!p->c->bandwidth)
		return VBLK_OK;
	for (at = now(); at < p->due; at = now()) {
		ret = target_turn(p->t, (p->due - at) / MS_NS > CANCEL_POLL_MS ?
				  CANCEL_POLL_MS : (int)((p->due - at) / MS_NS) + 1);
		if (ret)
			return ret;
	}
	if (p->due + MAX_DEBT_NS < at)
		p->due = at - MAX_DEBT_NS;
	p->due += (double)bytes / p->c->bandwidth * SECOND_NS;
	return VBLK_OK;
}

/* The last word of its status: Documentation/dm-qcow2.rst, "Frozen disks". */
static void read_state(const char *view, char *state, size_t size)
{
	uint64_t sectors;
	char *params, *word;

	state[0] = '\0';
	if (dmdev_view_status(view, &sectors, &params))
		return;
	word = strrchr(params, ' ');
	snprintf(state, size, "%s", word ? word + 1 : params);
	free(params);
}

/**
 * pass_report_lost() - the device that shows the disk has failed: say why
 * @error: a positive errno
 * @what: what has failed
 *
 * Return: an exit code.
 */
int pass_report_lost(const struct copy *c, int error, const char *what)
{
	char state[32];

	read_state(c->view, state, sizeof(state));
	if (!strcmp(state, "no_memory")) {
		err_report(VBLK_FAILED, c->disk,
			   "the guest has written more meanwhile than the memory of the instant holds");
		err_hint("more of it: --memory SIZE");
		return VBLK_FAILED;
	}
	if (!strcmp(state, "no_space"))
		return err_report(VBLK_FAILED, c->disk,
				  "the guest has needed the space that the instant took");
	if (*state && strcmp(state, "frozen") != 0)
		return err_report(VBLK_FAILED, c->disk, "the disk was %s meanwhile", state);
	if (error == EINVAL)
		return err_report(VBLK_UNSUPPORTED, c->view, "%s: the module that is loaded is older",
				  what);
	return err_errno(error, c->view, "%s", what);
}

/**
 * pass_read() - read of the disk
 *
 * Return: an exit code; what is wrong has been reported.
 */
int pass_read(struct pass *p, uint64_t offset, char *data, uint64_t bytes)
{
	uint64_t done;
	ssize_t n;

	for (done = 0; done < bytes; done += n) {
		n = pread(p->c->fd, data + done, bytes - done, offset + done);
		if (n <= 0)
			return pass_report_lost(p->c, n ? errno : EIO, "cannot read it");
	}
	return VBLK_OK;
}

/**
 * pass_have_read() - nobody will read the disk before an offset again
 *
 * The guest's writes there cost what they cost without a backup, if the module that is loaded knows that.
 */
void pass_have_read(struct pass *p, uint64_t end)
{
	char message[32];

	if (p->c->is_read_twice || end < p->next_passed)
		return;
	snprintf(message, sizeof(message), "passed %ju", (uintmax_t)end);
	p->next_passed = dmdev_message(p->c->view, message) ? UINT64_MAX : end + PASSED_BYTES;
}

/** pass_piece_bytes() - how much of what begins at an offset is one piece; they end alike everywhere */
uint64_t pass_piece_bytes(const struct pass *p, uint64_t offset, uint64_t end)
{
	uint64_t bytes = p->max_bytes - offset % p->max_bytes;

	return bytes < end - offset ? bytes : end - offset;
}

/** pass_padded() - so much as the server takes: the end of the disk may be in a block of its */
uint64_t pass_padded(const struct pass *p, uint64_t bytes)
{
	return (bytes + p->t->min_bytes - 1) & ~(p->t->min_bytes - 1);
}

/**
 * pass_wait() - wait until a piece is ours
 * @what: what has failed if its last command has
 *
 * Return: an exit code; what is wrong has been reported.
 */
int pass_wait(struct pass *p, struct piece *piece, const char *what)
{
	int ret = VBLK_OK;

	while (!ret && piece->is_busy)
		ret = target_turn(p->t, CANCEL_POLL_MS);
	return ret || !piece->error ? ret : err_errno(piece->error, p->t->name, "%s", what);
}

/* Of libnbd: 1 to forget the command. */
static int ended(void *user_data, int *error)
{
	struct piece *piece = user_data;

	piece->error = *error;
	piece->is_busy = false;
	return 1;
}

/** pass_start() - for a command with a piece: it is libnbd's until that has ended */
nbd_completion_callback pass_start(struct piece *piece)
{
	piece->is_busy = true;
	return (nbd_completion_callback) { .callback = ended, .user_data = piece };
}
