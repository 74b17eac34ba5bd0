/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_DM_H
#define VBLK_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DMDEV_DIR	"/dev/mapper/"
#define DMDEV_PREFIX	"VBLK-"		/* of the UUID of every device of ours */
#define DMDEV_TARGET	"qcow2"
#define DMDEV_VIEW_TARGET	"qcow2-view"

/**
 * struct dmdev - a device-mapper device as the kernel describes it
 * @name: name under /dev/mapper
 * @uuid: DMDEV_PREFIX and the identity of the image
 * @dev: device number
 * @open_count: how many have it open, mounts and the kernel among them
 * @is_live: has an active table
 * @is_read_only: the table is read-only
 * @is_suspended: I/O waits until somebody resumes it
 */
struct dmdev {
	char name[128];
	char uuid[129];
	dev_t dev;
	int open_count;
	bool is_live;
	bool is_read_only;
	bool is_suspended;
};

void dmdev_be_quiet(void);
int dmdev_init(void);
void dmdev_release(void);
int dmdev_find_name(const char *name, struct dmdev *d);
int dmdev_find_uuid(const char *uuid, struct dmdev *d);
int dmdev_find_number(dev_t dev, struct dmdev *d);
int dmdev_list(bool ours_only, struct dmdev **list, size_t *n);
bool dmdev_is_ours(const struct dmdev *d);

int dmdev_target_present(void);
int dmdev_create(const char *name, const char *uuid);
int dmdev_load(const char *name, uint64_t sectors, const char *params,
	       bool read_only);
int dmdev_load_view(const char *name, uint64_t sectors, dev_t origin);
int dmdev_resume(const char *name, bool hide_from_udev);
int dmdev_switch(const char *name, bool is_guests);
int dmdev_suspend(const char *name, bool is_guests);
int dmdev_clear(const char *name);
int dmdev_remove(const char *name);
void dmdev_add_word(char *message, const char *word);
int dmdev_message(const char *name, const char *text);
int dmdev_ask(const char *name, const char *text, char **answer);

int dmdev_table(const char *name, uint64_t *sectors, char **params);
int dmdev_status(const char *name, uint64_t *sectors, char **params);
int dmdev_view_status(const char *name, uint64_t *sectors, char **params);

#endif
