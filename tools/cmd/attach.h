/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_ATTACH_H
#define VBLK_ATTACH_H

#include <stdbool.h>

#include "attached.h"
#include "disk/chain.h"
#include "disk/image.h"
#include "disk/layers.h"
#include "out.h"
#include "qemu.h"
#include "server/server.h"

/**
 * struct attach - one attach on its way
 * @config: the file that has the options, or NULL
 * @image_arg: the image, as it was given
 * @name_arg: the name, likewise, or NULL
 * @img: the image
 * @chain: it, and what is below it; valid once open
 * @policy: what may be opened below it
 * @backing: what the user has named for that
 * @nr_backing: how many there are
 * @name: of a new device; the user's, or made from the image's file name
 * @serving: how it is to be served; unused with @no_vhost
 * @socket_arg: the user's socket path, or NULL
 * @has_socket_access: the user has said whose the socket is to be
 * @has_poll_us: the user has given that
 * @asked: what the user has given of @serving, 0 or "" for the rest
 * @reconnect: of the QEMU that the user has named
 * @cache_mb: 0 for the target's own default
 * @low_space: how little space the host has left when an event is sent
 * @has_low_space: the user has given that
 * @discard: what becomes of discarded clusters, a word of the target's; NULL for what suits the image
 * @is_new: the device is ours, not one of before
 * @server: opened in this process; only with @foreground
 * @result: what is printed in the end
 * @layers: its images
 */
struct attach {
	const char *config;
	const char *image_arg;
	const char *name_arg;
	struct image img;
	struct chain chain;
	struct backing_policy policy;
	const char *backing[MAX_CHAIN];
	size_t nr_backing;
	char name[128];
	struct serving serving;
	const char *socket_arg;
	const char *serial_arg;
	bool has_socket_access;
	bool has_poll_us;
	struct serving asked;
	enum qemu_reconnect reconnect;
	unsigned int cache_mb;
	uint64_t low_space;
	bool has_low_space;
	const char *discard;
	bool read_only;
	bool no_vhost;
	bool foreground;
	bool help;
	bool dry_run;
	enum out_format format;
	bool is_new;
	struct server *server;
	struct attached result;
	struct layers layers;
};

/* attach-options.c */
extern const char attach_help[];
int attach_parse(struct attach *a, int argc, char **argv);
int attach_set(struct attach *a, const char *key, char *value);
int attach_check_args(struct attach *a, const char *name_arg);
int attach_choose_rest(struct attach *a);

/* attach-config.c */
int attach_read_config(struct attach *a);

/* attach-plan.c */
int attach_open_images(struct attach *a);
void attach_close_images(struct attach *a);
bool attach_keeps_space(const struct attach *a);
char *attach_params(const struct attach *a, bool with_paths);
int attach_plan(struct attach *a);

/* attach-create.c */
int attach_create(struct attach *a);
void attach_remove(struct attach *a);

/* attach-serve.c */
int attach_start_server(struct attach *a, bool takes_over);
int attach_take_over(struct attach *a, const char *name_arg);

#endif
