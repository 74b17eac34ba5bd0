/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The replayed disk as the image's users see it: the image file on it after file-system recovery, or the disk itself.
 *
 * Recovery writes. It gets a dm snapshot of the target to write on, made anew for each state, so that the target stays the
 * replayed state.
 */
#ifndef CRASH_VIEW_H
#define CRASH_VIEW_H

struct view {
	const char *fs;	    /* "ext4", "xfs", or NULL: the image is the disk */
	const char *target; /* the replayed disk */
	const char *cow;    /* scratch device for what recovery writes */
	const char *name;   /* of the snapshot */
	const char *mount;  /* directory */
	char node[64];	    /* the snapshot's device node */
};

void view_open(struct view *v);
void view_close(struct view *v);

/* Make the image visible; NULL, or why the file system could not be mounted. */
const char *view_show(struct view *v);
void view_hide(struct view *v);

#endif
