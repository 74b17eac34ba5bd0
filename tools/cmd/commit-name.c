// SPDX-License-Identifier: GPL-2.0-only
/* vblk-commit: what the header of the image above those that are merged names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "disk/backing-set.h"
#include "dm-qcow2/format/disk.h"
#include "err.h"

/** commit_is_beside() - whether two paths are of one directory */
bool commit_is_beside(const char *a, const char *b)
{
	size_t n = strrchr(a, '/') - a;

	return n == (size_t)(strrchr(b, '/') - b) && !memcmp(a, b, n);
}

/**
 * commit_path_of_base() - a path of the image that the others go into, which still is its own behind the next boot
 * @path: PATH_MAX
 *
 * Of a block device, what the header above says: the kernel's own name may be another one's then.
 */
void commit_path_of_base(const struct commit *m, const struct live_image *into, char *path)
{
	const struct live_image *lowest = &m->c.chain.list[commit_base(m) - 1];
	char *name = S_ISBLK(into->st.st_mode) ? backing_get(lowest) : NULL;

	if (!name || backing_resolve(name, lowest->path, &into->st, path))
		strcpy(path, into->path);
	free(name);
}

/**
 * commit_name_base() - what it is going to name
 * @into: the image that the others go into
 * @name: set to the name, PATH_MAX
 *
 * As the lowest of those that are merged names it, if that means the same there: a relative name stays relative, and what
 * was stable over a boot stays so. Else its path.
 */
void commit_name_base(const struct commit *m, const struct live_image *into, char *name)
{
	const struct live_image *lowest = &m->c.chain.list[commit_base(m) - 1];
	const struct live_image *above = m->first ? &m->c.chain.list[m->first - 1] : NULL;
	char *old = backing_get(lowest);

	/* An overlay that is not there yet gets what fits there for certain. */
	if (old && strlen(old) < PATH_MAX &&
	    (*old == '/' || (above && commit_is_beside(above->path, lowest->path))) &&
	    backing_means(old, above ? above->path : lowest->path, &into->st))
		strcpy(name, old);
	else
		commit_path_of_base(m, into, name);
	free(old);
}

/** commit_is_named() - whether the image above names already what the others go into */
bool commit_is_named(const struct commit *m)
{
	const struct live_image *into = m->is_below ? &m->lower.list[0] :
						      &m->c.chain.list[commit_base(m)];
	const struct live_image *above = &m->c.chain.list[m->first - 1];
	char *name = m->first ? backing_get(above) : NULL;
	bool is_so = name && backing_means(name, above->path, &into->st);

	free(name);
	return is_so;
}

/**
 * commit_check_name() - whether there is room for it
 *
 * Return: an exit code; what is wrong has been reported.
 */
int commit_check_name(const struct commit *m, const struct live_image *into)
{
	const struct live_image *above = m->first ? &m->c.chain.list[m->first - 1] : NULL;
	struct backing_place place;
	char name[PATH_MAX];
	int err = 0;

	commit_name_base(m, into, name);
	if (!above && strlen(name) > QCOW2_MAX_BACKING_NAME_BYTES)
		err = -ENAMETOOLONG;
	if (above)
		err = backing_find_room(above, name, into->format, &place);
	if (err == -ENOSPC || err == -ENAMETOOLONG)
		return err_report(VBLK_UNSUPPORTED, m->c.a.d.name,
				  "the header of %s has no room for the name %s",
				  above ? above->path : "an overlay", name);
	return err ? err_errno(-err, m->c.a.d.name, "cannot read the header of %s", above->path) :
		     VBLK_OK;
}
