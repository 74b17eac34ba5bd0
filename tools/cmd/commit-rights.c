// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-commit: whether the image below may be written to. That it may be read below those above is no word on that: they are
 * somebody's, who has named it, and what root's rights reach he must not. As for data files, see disk/backing-policy.h.
 */
#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#include "commit.h"
#include "disk/merge-note.h"
#include "disk/open-as.h"
#include "err.h"

/* Root may write anywhere: his image is a reason for its own directory only. */
static bool root_means(const struct live_image *namer, const struct live_image *base)
{
	return S_ISREG(base->st.st_mode) && commit_is_beside(namer->path, base->path);
}

static bool may_write(uid_t uid, const struct live_image *base)
{
	struct attempt a = { .path = base->path, .kind = BACKING_ANY, .is_writable = true, .allows_devices = true };
	struct verdict v;
	struct stat st;
	int fd = open_as_user(uid, &a, &v);
	bool may = fd >= 0 && fstat(fd, &st) == 0 && image_is_same(&st, &base->st);

	if (fd >= 0)
		close(fd);
	return may;
}

static int report_denied(const struct commit *m, const struct live_image *above)
{
	const struct live_image *base = &m->c.chain.list[commit_base(m)];
	const struct passwd *pw = getpwuid(above->st.st_uid);

	if (above->st.st_uid == 0)
		err_report(VBLK_DENIED, m->c.a.d.name,
			   "%s: outside of the directory of root's image, it is written to only if it is named with --base",
			   base->path);
	else
		err_report(VBLK_DENIED, m->c.a.d.name,
			   "%s: %s, who owns %s, may not write to it, so it is written to only if it is named with --base",
			   base->path, pw ? pw->pw_name : "the user", above->path);
	err_hint_command("vblk-commit", "--base", base->path, m->c.a.d.name, NULL);
	return VBLK_DENIED;
}

/**
 * commit_check_rights() - whether those who own the images above may write to the base, or root has named it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_check_rights(const struct commit *m, const struct job_args *args)
{
	const struct live_image *list = m->c.chain.list, *base = &list[commit_base(m)];
	size_t first, into;

	/* Or it was, when it got what it has of those above: another range is refused then. */
	if (args->base || merge_note_find(&m->c.chain, &first, &into))
		return VBLK_OK;
	for (const struct live_image *img = base - 1; img >= list; img--) {
		bool is_root = img->st.st_uid == 0;

		/* Those further up name others. */
		if (is_root ? img == base - 1 && !root_means(img, base) : !may_write(img->st.st_uid, base))
			return report_denied(m, img);
	}
	return VBLK_OK;
}
