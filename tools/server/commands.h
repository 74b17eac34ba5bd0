/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_COMMANDS_H
#define VBLK_COMMANDS_H

#include <json-c/json.h>
#include <stdbool.h>

struct server;

json_object *commands_answer(void *server, json_object *request);
void commands_let_go(void *server);
bool commands_want_pause(const struct server *s);

#endif
